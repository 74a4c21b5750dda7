"""Reads a media file: what it is (`probe`), and ONE decode pass that makes every wanted view and the sound (`decode`).

Both believe the packets and not the headers: durations and frame counts come from presentation timestamps, sizes are
checked again on every decoded frame, and damaged packets are skipped and reported. Both may crash on a hostile file, so
callers run them in a process that may (pipeline/isolate.py, or a Ray task).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer

from pipeline.errors import MediaLimit, MediaMissing, MediaUnreadable
from pipeline.results import VideoFacts
from pipeline.settings import Limits
from pipeline.types import SAMPLE_RATE_HZ, AudioTrack, FrameBatch, View
from pipeline.views import ViewMaker, clockwise, upright_size

CHUNK_S: Final = 1.0
"""Length of a chunk. Longer: the first chunk comes later. Shorter: more calls per second of video."""
AUDIO_PART_S: Final = 600.0
"""Longest stretch of sound in one `AudioTrack` (38 MB), so that memory does not grow with the video."""
SOUND_MAX: Final = 4.0
"""Samples beyond are a broken stream. FFmpeg adds channels at -3 dB each, so loud stereo reaches 1.41 and 5.1 more:
cutting that off at 1 would distort every well-mastered song."""
AUDIO_GAP_S: Final = 0.1
"""Shorter holes between audio packets are timestamp jitter; longer ones become silence."""

# The demuxers that may open a file, by their FFmpeg names. Playlists (hls, dash, concat), image sequences, devices and
# anything that opens other files are absent on purpose.
_DEMUXERS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,wav,mp3,flac,aac,aiff,h264,hevc,ivf,mpjpeg,gif"
)
_OPEN_OPTIONS: Final = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
_PLAYLIST_MARKS: Final = (b"#EXTM3U", b"ffconcat", b"<MPD", b"[playlist]")


@dataclass(frozen=True)
class DecodeStats:
    """The end of a decode pass: what was really in the file, and what it cost."""

    frames: int = 0
    passes: int = 1
    bad_packets: int = 0
    lost: list[tuple[float, float]] = field(default_factory=list)
    video_end_s: float = 0.0
    audio_end_s: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0


@dataclass(slots=True)
class _Clock:
    """Maps a stream's timestamps to seconds on the container's clock, which starts at 0."""

    zero_s: float
    time_base: float

    def seconds(self, pts: int) -> float:
        return pts * self.time_base - self.zero_s


def probe(path: str | Path, limits: Limits | None = None) -> VideoFacts:
    """Measure a file by reading all of its packets (without decoding more than one picture).

    Raises:
        MediaMissing: there is no such file.
        MediaUnreadable: it is no known container, or holds no decodable picture or sound.
        MediaLimit: something exceeds `limits`.
    """
    limits = limits or Limits()
    path = Path(path)
    size = _check_file(path, limits)
    with ThreadPoolExecutor(1) as hashing, _open(path) as container:
        digest = hashing.submit(_sha256, path)  # hashing leaves the interpreter free to read packets
        if len(container.streams) > limits.streams_max:
            raise MediaLimit("number of streams", len(container.streams), limits.streams_max, "limits.streams_max")
        video, audio = _pick_streams(container)
        if video is None and audio is None:
            raise MediaUnreadable(f"{path.name} has no picture and no sound that can be decoded")
        if container.duration:
            _check_duration(container.duration / av.time_base, "the duration that the header claims", limits)
        if video is not None:
            _check_size(video.codec_context.width, video.codec_context.height, limits)
        zero_s = _zero_s(container)
        scan = _scan(container, video, audio, zero_s, limits)
        width = height = rotation = 0
        if video is not None:
            width, height, rotation = _first_picture(container, video, limits) or _first_picture_anew(path, limits)
    if video is not None:
        pixels = scan.video_packets * width * height
        if pixels > limits.decoded_pixels_max:
            raise MediaLimit("frames x width x height", pixels, limits.decoded_pixels_max, "limits.decoded_pixels_max")
        fps = scan.video_packets / max(scan.video_s, 1e-6) if scan.video_packets > 1 else 0.0
        if fps > limits.fps_max:
            raise MediaLimit("frame rate", f"{fps:.1f} fps", limits.fps_max, "limits.fps_max")
    has_video, has_audio = width > 0, audio is not None and scan.audio_packets > 0
    if not has_video and not has_audio:
        raise MediaUnreadable(f"{path.name} has no picture and no sound that can be decoded")
    duration_s = max(scan.video_s if has_video else 0.0, scan.audio_s if has_audio else 0.0)
    return VideoFacts(
        source=str(path),
        sha256=digest.result(),
        bytes=size,
        duration_s=duration_s,
        width=width,
        height=height,
        rotation=rotation,
        fps=scan.video_packets / scan.video_s if has_video and scan.video_s > 0 else 0.0,
        frames=scan.video_packets if has_video else 0,
        video_codec=video.codec_context.name if video is not None and has_video else None,
        audio_codec=audio.codec_context.name if audio is not None and has_audio else None,
        has_video=has_video,
        has_audio=has_audio,
        container=container.format.name,
    )


def decode(
    path: str | Path,
    *,
    video_id: str,
    views: Sequence[View] = (),
    audio: bool = False,
    limits: Limits | None = None,
    chunk_s: float = CHUNK_S,
    threads: int = 1,
) -> Iterator[AudioTrack | FrameBatch | DecodeStats]:
    """Decode each wanted stream once. Yields the sound first, then frame batches in time order, then `DecodeStats`.

    See `decode_groups`, whose groups this yields one item after the other.
    """
    for group in decode_groups(
        path, video_id=video_id, views=views, audio=audio, limits=limits, chunk_s=chunk_s, threads=threads
    ):
        if isinstance(group, DecodeStats):
            yield group
        else:
            yield from group


def decode_groups(
    path: str | Path,
    *,
    video_id: str,
    views: Sequence[View] = (),
    audio: bool = False,
    limits: Limits | None = None,
    chunk_s: float = CHUNK_S,
    threads: int = 1,
) -> Iterator[Sequence[AudioTrack | FrameBatch] | DecodeStats]:
    """Decode each wanted stream once. What becomes ready at the same moment comes as one group; `DecodeStats` ends it.

    The sound comes first because its analyzers are few and long, and reading it costs a few milliseconds per second.
    The sequence depends on the file and the arguments alone.

    Args:
        path: a file that `probe` has accepted.
        video_id: put into every item.
        views: distinct views; each is made once.
        audio: whether the sound is wanted.
        limits: checked again on what is really decoded.
        chunk_s: target length of a frame batch in seconds.
        threads: of the picture's decoder and of scaling. They change no pixel of an intact file.

    Raises:
        MediaUnreadable, MediaLimit: as `probe`, found only now.
    """
    limits = limits or Limits()
    if len(set(views)) != len(views):
        raise ValueError(f"views must be distinct, got {[view.name for view in views]}")
    cpu_start, wall_start = time.process_time(), time.perf_counter()
    losses = _Losses()
    audio_end_s = video_end_s = 0.0
    frames = 0
    if audio:
        for track in _decode_audio(Path(path), video_id, losses):
            audio_end_s = track.end_s
            yield (track,)
    if views:
        maker = ViewMaker(video_id, tuple(views), chunk_s, threads)
        for pts_s, frame in _decode_frames(Path(path), losses, limits, threads):
            frames += 1
            if ready := maker.add(pts_s, frame):
                yield ready
        if frames == 0:
            raise MediaUnreadable(f"{Path(path).name}: no picture could be decoded ({losses.bad} damaged packets)")
        yield maker.finish()
        video_end_s = maker.end_s
    yield DecodeStats(
        frames=frames,
        bad_packets=losses.bad,
        lost=losses.spans,
        video_end_s=video_end_s,
        audio_end_s=audio_end_s,
        cpu_s=time.process_time() - cpu_start,
        wall_s=time.perf_counter() - wall_start,
    )


# --- opening and checking ---------------------------------------------------------------------------------------------


def _check_file(path: Path, limits: Limits) -> int:
    try:
        if not path.is_file():
            raise MediaMissing(f"there is no file {path}" if not path.exists() else f"{path} is not a file")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    except PermissionError as error:
        raise MediaMissing(f"{path} may not be read: {error.strerror}") from error
    if size == 0:
        raise MediaUnreadable(f"{path.name} is empty (0 bytes)")
    if size > limits.bytes_max:
        raise MediaLimit("size in bytes", size, limits.bytes_max, "limits.bytes_max")
    if any(head.startswith(mark) for mark in _PLAYLIST_MARKS):
        raise MediaUnreadable(f"{path.name} is a playlist and not a video; give the video file itself")
    return size


def _open(path: Path) -> InputContainer:
    try:
        container: InputContainer = av.open(str(path), options=dict(_OPEN_OPTIONS), metadata_errors="ignore")
        return container
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaUnreadable(
            f"{path.name} cannot be opened as a video or sound file ({reason}); "
            "it may be another kind of file, or cut off before its index was written"
        ) from error


def _pick_streams(container: InputContainer) -> tuple[Any, Any]:
    """The first real video stream (not a cover picture) and the first audio stream whose codecs are known, or None."""
    video = audio = None
    for stream in container.streams:
        context = getattr(stream, "codec_context", None)
        if context is None:
            continue
        if video is None and stream.type == "video" and not stream.disposition & stream.disposition.attached_pic:
            video = stream
        if audio is None and stream.type == "audio" and context.sample_rate:
            audio = stream
    return video, audio


def _zero_s(container: InputContainer) -> float:
    """Players start the clock at the container's first timestamp, unless it is negative (encoder delay)."""
    return float(max(0.0, (container.start_time or 0) / av.time_base))


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels_max or max(width, height) > limits.side_max:
        raise MediaLimit(
            "width x height", f"{width} x {height}", f"{limits.pixels_max} pixels", "limits.pixels_max, limits.side_max"
        )


def _check_duration(duration_s: float, what: str, limits: Limits) -> None:
    if duration_s > limits.duration_s_max:
        raise MediaLimit(what, f"{duration_s:.0f} s", f"{limits.duration_s_max:.0f} s", "limits.duration_s_max")


@dataclass(slots=True)
class _Scan:
    video_packets: int = 0
    audio_packets: int = 0
    video_s: float = 0.0
    audio_s: float = 0.0


def _scan(container: InputContainer, video: Any, audio: Any, zero_s: float, limits: Limits) -> _Scan:
    """Count packets and find where each stream ends."""
    scan = _Scan()
    first_pts_s: float | None = None
    streams = [stream for stream in (video, audio) if stream is not None]
    try:
        for packet in container.demux(streams):
            if packet.size == 0 or packet.pts is None or packet.is_discard:
                continue
            base = float(packet.time_base)
            pts_s = packet.pts * base - zero_s
            end_s = pts_s + (packet.duration or 0) * base
            if packet.stream is video:
                scan.video_packets += 1
                first_pts_s = pts_s if first_pts_s is None else min(first_pts_s, pts_s)
                scan.video_s = max(scan.video_s, end_s)
                if scan.video_packets > limits.frames_max:
                    raise MediaLimit(
                        "number of frames", f"over {limits.frames_max}", limits.frames_max, "limits.frames_max"
                    )
            else:
                scan.audio_packets += 1
                scan.audio_s = max(scan.audio_s, end_s)
    except av.error.FFmpegError:
        # The rest of the file cannot be read; what came before can. `decode` meets the same end and reports the loss.
        if scan.video_packets + scan.audio_packets == 0:
            raise MediaUnreadable("not one packet of the file can be read") from None
    _check_duration(max(scan.video_s, scan.audio_s), "the duration", limits)
    return scan


def _first_picture(container: InputContainer, video: Any, limits: Limits) -> tuple[int, int, int] | None:
    """Upright width and height, and the rotation, of the first picture; None where going back to it fails."""
    try:
        container.seek(0)
        for frame in _decoded(container, video, _Losses()):
            _check_size(frame.width, frame.height, limits)
            return *upright_size(frame), clockwise(frame)
    except av.error.FFmpegError:
        return None
    return None


def _first_picture_anew(path: Path, limits: Limits) -> tuple[int, int, int]:
    """The same of the first picture that decodes when the file is read from its start; zeros if there is none."""
    for _, frame in _decode_frames(path, _Losses(), limits):
        width, height = upright_size(frame)
        return width, height, clockwise(frame)
    return 0, 0, 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- decoding ---------------------------------------------------------------------------------------------------------


class _Losses:
    """Damaged packets, and the stretches of time in which pictures are missing because of them."""

    def __init__(self) -> None:
        self.bad = 0
        self.spans: list[tuple[float, float]] = []
        self._pending = False

    def packet(self) -> None:
        self.bad += 1
        self._pending = True

    def good(self, last_s: float, now_s: float) -> None:
        if self._pending:
            self.spans.append((max(0.0, last_s), now_s))
            self._pending = False


def _packets(container: InputContainer, stream: Any, losses: _Losses) -> Iterator[Any]:
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        losses.packet()


def _decoded(container: InputContainer, stream: Any, losses: _Losses, threads: int = 1) -> Iterator[Any]:
    """Frames of one stream; damaged packets are skipped and counted."""
    stream.codec_context.thread_count = threads
    stream.codec_context.thread_type = "NONE" if threads == 1 else "FRAME"
    for packet in _packets(container, stream, losses):
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            losses.packet()
            continue
        for frame in frames:
            if frame.is_corrupt:
                losses.packet()
            elif frame.pts is not None:
                yield frame


def _decode_frames(path: Path, losses: _Losses, limits: Limits, threads: int = 1) -> Iterator[tuple[float, Any]]:
    """(seconds, frame) in strictly increasing time."""
    with _open(path) as container:
        stream, _ = _pick_streams(container)
        if stream is None:
            return
        clock = _Clock(_zero_s(container), float(stream.time_base))
        last_s = -1.0
        pixels = 0
        for frame in _decoded(container, stream, losses, threads):
            pts_s = clock.seconds(frame.pts)
            if pts_s <= last_s or pts_s < 0:
                continue
            _check_size(frame.width, frame.height, limits)
            pixels += frame.width * frame.height
            if pixels > limits.decoded_pixels_max:
                raise MediaLimit("decoded pixels", pixels, limits.decoded_pixels_max, "limits.decoded_pixels_max")
            _check_duration(pts_s, "the duration", limits)
            losses.good(last_s, pts_s)
            yield pts_s, frame
            last_s = pts_s


class _Mono:
    """Samples of decoded sound as mono float32 at 16 kHz.

    Frames (20 ms) are collected to a second before they are resampled and copied out: a call costs as much as its work.
    """

    def __init__(self) -> None:
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        self._fifo = av.AudioFifo()
        self._shape: tuple[str, str, int] | None = None

    def add(self, frame: Any) -> Iterator[npt.NDArray[np.float32]]:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._shape not in (None, shape):
            yield from self.flush()  # a stream may change its channels midway
        self._shape = shape
        frame.pts = None  # the resampler would otherwise fill or cut by itself
        self._fifo.write(frame)
        if self._fifo.samples >= frame.sample_rate:
            yield from self.flush()

    def flush(self) -> Iterator[npt.NDArray[np.float32]]:
        """What was collected."""
        if self._fifo.samples:
            for out in self._resampler.resample(self._fifo.read()):
                yield out.to_ndarray().reshape(-1)
            self._fifo = av.AudioFifo()

    def finish(self) -> Iterator[npt.NDArray[np.float32]]:
        """The rest, with what the resampler's filter held back."""
        yield from self.flush()
        for out in self._resampler.resample(None):
            yield out.to_ndarray().reshape(-1)


def _decode_audio(path: Path, video_id: str, losses: _Losses) -> Iterator[AudioTrack]:
    """The sound as mono 16 kHz parts of at most `AUDIO_PART_S`; holes become silence. At least one, maybe empty."""
    part_size = int(AUDIO_PART_S * SAMPLE_RATE_HZ)
    pending: list[npt.NDArray[np.float32]] = []
    held = index = early = 0
    start_s = end_s = 0.0
    begun = False

    def take(count: int) -> npt.NDArray[np.float32]:
        nonlocal pending, held
        joined = np.concatenate(pending) if pending else np.zeros(0, np.float32)
        pending, held = [joined[count:]], len(joined) - count
        return np.clip(np.nan_to_num(joined[:count]), -SOUND_MAX, SOUND_MAX)

    def keep(pieces: Iterator[npt.NDArray[np.float32]]) -> None:
        nonlocal held, early
        for samples in pieces:
            kept = samples[early:]
            early -= len(samples) - len(kept)
            pending.append(kept)
            held += len(kept)

    with _open(path) as container:
        _, stream = _pick_streams(container)
        if stream is not None:
            zero_s = _zero_s(container)
            mono = _Mono()
            for frame in _decoded(container, stream, losses):
                pts_s = frame.pts * float(frame.time_base) - zero_s
                losses.good(pts_s, pts_s)
                if not begun:
                    begun, start_s, end_s = True, max(0.0, pts_s), pts_s
                    early = int(max(0.0, -pts_s) * SAMPLE_RATE_HZ)  # an encoder's delay, before the clock's zero
                hole_s = pts_s - end_s
                if hole_s > AUDIO_GAP_S:
                    keep(mono.flush())
                    keep(iter((np.zeros(int(hole_s * SAMPLE_RATE_HZ), np.float32),)))
                    end_s = pts_s
                end_s += frame.samples / frame.sample_rate
                keep(mono.add(frame))
                while held > part_size:
                    yield AudioTrack(
                        video_id, take(part_size), SAMPLE_RATE_HZ, start_s + index * AUDIO_PART_S, index, last=False
                    )
                    index += 1
            keep(mono.finish())
    yield AudioTrack(video_id, take(held), SAMPLE_RATE_HZ, start_s + index * AUDIO_PART_S, index, last=True)
