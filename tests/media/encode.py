"""Writes a clip from arrays, with whatever a test needs: variable rate, rotation, sound, codecs, odd sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace

TIME_BASE = Fraction(1, 90_000)
SOUND_CODECS = {".webm": "libopus", ".mkv": "libopus", ".wav": "pcm_s16le", ".avi": "pcm_s16le"}


@dataclass(frozen=True)
class Clip:
    """A media file and what is true of it."""

    path: Path
    truth: dict[str, Any] = field(default_factory=dict)


def write_clip(
    path: Path,
    frames: Iterable[npt.NDArray[np.uint8]] | None,
    *,
    fps: float = 30.0,
    pts_s: Sequence[float] | None = None,
    sound: npt.NDArray[np.float32] | None = None,
    sound_rate: int = 48_000,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    sound_codec: str | None = None,
) -> Path:
    """Encode RGB frames [H, W, 3] uint8 and mono sound [T] float32 into the container that the suffix names.

    Args:
        path: where to; its folder must exist.
        frames: None for sound only. All of one size; odd sizes need a `pix_fmt` such as yuv444p.
        fps: constant rate, unless `pts_s` gives each frame's time.
        pts_s: presentation time of each frame in seconds.
        sound: samples in -1..1; None for no sound stream.
        rotation: clockwise turn in degrees that a player applies (stored as metadata only).
        options: encoder options; x264 defaults to a fast preset and crf 18.
    """
    if options is None:
        options = {"preset": "veryfast", "crf": "18"} if codec in ("libx264", "libx265") else {}
    with av.open(str(path), "w") as container:
        video = audio = None
        frames_iter = iter(frames) if frames is not None else iter(())
        first = next(frames_iter, None)
        if first is not None:
            video = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
            video.height, video.width = first.shape[:2]
            video.pix_fmt = pix_fmt
            video.codec_context.time_base = TIME_BASE
            video.codec_context.thread_count = 1
            if rotation:
                video.set_display_rotation(-rotation)
        if sound is not None:
            codec_name = sound_codec or SOUND_CODECS.get(path.suffix, "aac")
            audio = container.add_stream(codec_name, rate=sound_rate, layout="mono")
        if first is not None and video is not None:
            _encode_frames(container, video, first, frames_iter, fps, pts_s)
        if sound is not None and audio is not None:
            _encode_sound(container, audio, sound, sound_rate)
    return path


def _encode_frames(container: Any, stream: Any, first: Any, rest: Iterable[Any], fps: float, pts_s: Any) -> None:
    # The decoder, as players do, takes an untagged picture of 720 lines and more for BT.709, a smaller one for BT.601.
    matrix = Colorspace.ITU709 if first.shape[0] >= 720 else Colorspace.ITU601
    is_yuv = stream.pix_fmt.startswith("yuv")

    def all_frames() -> Iterable[Any]:
        yield first
        yield from rest

    for number, pixels in enumerate(all_frames()):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        if is_yuv:
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=matrix)
        frame.pts = round((pts_s[number] if pts_s is not None else number / fps) / TIME_BASE)
        frame.time_base = TIME_BASE
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _encode_sound(container: Any, stream: Any, sound: npt.NDArray[np.float32], rate: int) -> None:
    size = stream.frame_size or 0
    resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate, frame_size=size)
    step = rate
    for start in range(0, len(sound), step):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound[None, start : start + step], dtype=np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        for piece in resampler.resample(frame):
            container.mux(stream.encode(piece))
    for piece in resampler.resample(None):
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))
