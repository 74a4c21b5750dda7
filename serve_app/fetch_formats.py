"""Which of a post's files to fetch, and joining picture and sound that come apart. No FFmpeg program is needed."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

PROTOCOLS: Final = ("https", "m3u8_native")
"""What is fetched by Python alone: one file, or the pieces of an HLS playlist."""
WHOLE_HEIGHT_ENOUGH: Final = 1280
"""Pictures of a file with both, in lines; below (a Short at 360 x 640) text is hard to read, and larger pictures
without sound are worth a second request.
"""
_DEMUXERS: Final = {".mp4": "mp4", ".m4a": "mp4", ".mov": "mp4", ".webm": "matroska", ".mkv": "matroska"}

Format = dict[str, Any]
"""One entry of yt-dlp's `formats`."""


def choose(formats: Sequence[Format], height_max: int) -> list[Format]:
    """The one file, or the picture's and the sound's, to fetch; empty if there is no picture at all.

    Args:
        formats: yt-dlp's, worst first. Unknown codecs count as there, as yt-dlp's own selectors do.
        height_max: in pixels; higher pictures are taken only if there are no others.
    """
    usable = [entry for entry in formats if entry.get("protocol") in PROTOCOLS and not entry.get("has_drm")]
    pictures = [entry for entry in usable if entry.get("vcodec") != "none"]
    low = [entry for entry in pictures if (entry.get("height") or 0) <= height_max]
    # Of those that are all too high the lowest.
    pictures = low or sorted(pictures, key=lambda entry: -int(entry["height"]))
    whole = [entry for entry in pictures if entry.get("acodec") != "none"]
    apart = [entry for entry in pictures if entry.get("acodec") == "none" and _can_join(entry)]
    sounds = [entry for entry in usable if entry.get("vcodec") == "none" and entry.get("acodec") != "none"]
    sounds = [entry for entry in sounds if _can_join(entry)]
    if whole and not (apart and sounds and _height(whole[-1]) < min(WHOLE_HEIGHT_ENOUGH, _height(apart[-1]))):
        return whole[-1:]
    if apart and sounds:
        return [apart[-1], sounds[-1]]
    return pictures[-1:]


def join(picture: Path, sound: Path) -> Path:
    """Put the picture of one file and the sound of another into one, packets as they are; beside the first.

    Raises:
        av.error.FFmpegError: one is no such file, or the packets fit no common container.
    """
    import av

    webm = {picture.suffix, sound.suffix} <= {".webm", ".mkv"}
    joined = picture.with_name(f"joined{'.webm' if webm else '.mp4'}")
    with (
        _open(picture) as pictures,
        _open(sound) as sounds,
        av.open(str(joined), "w") as output,
    ):
        sources = (pictures.streams.video[0], sounds.streams.audio[0])
        packets = heapq.merge(*(_packets(source) for source in sources), key=lambda entry: entry[0])
        targets = {source.type: output.add_stream_from_template(source) for source in sources}
        for _, packet in packets:
            packet.stream = targets[packet.stream.type]
            output.mux(packet)
    picture.unlink()
    sound.unlink()
    return joined


def _open(path: Path) -> Any:
    """A file as what its name says and nothing else: a playlist in it would make FFmpeg open other things."""
    import av

    return av.open(str(path), format=_DEMUXERS[path.suffix], options={"protocol_whitelist": "file"})


def _packets(stream: Any) -> Iterator[tuple[float, Any]]:
    """A stream's packets with their decoding times in seconds."""
    for packet in stream.container.demux(stream):
        if packet.dts is not None:
            yield float(packet.dts * packet.time_base), packet


def _can_join(entry: Format) -> bool:
    return f".{entry.get('ext')}" in _DEMUXERS


def _height(entry: Format) -> int:
    return int(entry.get("height") or WHOLE_HEIGHT_ENOUGH)
