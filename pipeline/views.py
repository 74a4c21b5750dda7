"""Makes the views of a video from its decoded frames, each frame scaled once for each view that takes it.

Rotation, sample aspect ratio and colour matrix are applied, so that every view is upright, square-pixelled RGB.
Colour: BT.709 is assumed for an untagged picture of 720 lines and more and BT.601 below, as players do (ITU-R BT.709,
BT.601). HDR transfer curves are passed through without tone mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from pipeline.types import FrameBatch, View

ASPECT_MAX: Final = 4.0
"""A view's long side is at most this many short sides; an even wider video gets a smaller short side."""


def clockwise(frame: Any) -> int:
    """Turn in degrees, clockwise, that shows the frame upright. FFmpeg states it counterclockwise."""
    return int(-round(frame.rotation / 90) * 90 % 360)


def upright_size(frame: Any) -> tuple[int, int]:
    """Width and height in square pixels, as shown."""
    aspect = getattr(frame, "sample_aspect_ratio", None)
    width = round(frame.width * float(aspect)) if aspect else frame.width
    return (frame.height, width) if clockwise(frame) % 180 else (width, frame.height)


def view_size(view: View, width: int, height: int) -> tuple[int, int]:
    """Width and height in pixels of a view of an upright video of that size. Never enlarges, never below 1."""
    short, long = min(width, height), max(width, height)
    scale = min(1.0, view.short_side / short, view.short_side * ASPECT_MAX / long)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _colorspace(frame: Any) -> Colorspace:
    matrix = int(frame.colorspace)
    known = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601}
    known |= {7: Colorspace.SMPTE240M, 9: Colorspace.BT2020}
    return known.get(matrix, Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601)


def _picture(reformatter: VideoReformatter, frame: Any, width: int, height: int, threads: int) -> npt.NDArray[np.uint8]:
    """The frame as upright RGB [height, width, 3]."""
    turn = clockwise(frame)
    turned = turn % 180 != 0
    scaled = reformatter.reformat(
        frame,
        width=height if turned else width,
        height=width if turned else height,
        format="rgb24",
        src_colorspace=_colorspace(frame),
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.JPEG,
        interpolation="BILINEAR",
        threads=threads,
    )
    pixels = np.asarray(scaled.to_ndarray(), np.uint8)
    return np.rot90(pixels, -(turn // 90)) if turn else pixels


class _Sampler:
    """Which frames a view takes: the first at or after each tick of its rate, in presentation time."""

    def __init__(self, fps: float | None) -> None:
        self._fps = fps
        self._tick = 0

    def takes(self, pts_s: float) -> bool:
        if self._fps is None:
            return True
        # A timestamp a hair before its tick (1/30 s in a 1/90000 time base) belongs to it.
        position = pts_s * self._fps + 1e-3
        if position < self._tick:
            return False
        self._tick = int(position) + 1
        return True


class _ViewBuilder:
    """Collects the frames of one view into chunks on the clock's grid."""

    def __init__(self, video_id: str, view: View, chunk_s: float, threads: int) -> None:
        self._video_id, self._view, self._chunk_s, self._threads = video_id, view, chunk_s, threads
        self._sampler = _Sampler(view.fps)
        self._frames: list[npt.NDArray[np.uint8]] = []
        self._pts: list[float] = []
        self._lead_in = 0
        self._grid: int | None = None
        self._index = 0
        self._size: tuple[int, int] | None = None
        # One for each view: it keeps the scaler's tables, which `frame.reformat` would compute for every frame.
        self._reformatter = VideoReformatter()

    def add(self, pts_s: float, frame: Any) -> Iterator[FrameBatch]:
        if not self._sampler.takes(pts_s):
            return
        grid = int(pts_s / self._chunk_s + 1e-6)
        # The first chunk goes on until it has what the next one repeats: one frame a second and lead_in 2.
        enough = len(self._frames) > self._lead_in and len(self._frames) >= self._view.lead_in
        if self._grid is not None and grid > self._grid and enough:
            yield self._batch(end_s=pts_s, last=False)
            kept = min(self._view.lead_in, len(self._frames))
            self._frames, self._pts = self._frames[len(self._frames) - kept :], self._pts[len(self._pts) - kept :]
            self._lead_in, self._index = kept, self._index + 1
        self._grid = grid
        # The first frame fixes the size: a stream that changes resolution midway is scaled to it.
        self._size = self._size or view_size(self._view, *upright_size(frame))
        self._frames.append(_picture(self._reformatter, frame, *self._size, self._threads))
        self._pts.append(pts_s)

    def finish(self, end_s: float) -> Iterator[FrameBatch]:
        if self._frames:
            yield self._batch(end_s=end_s, last=True)

    def _batch(self, *, end_s: float, last: bool) -> FrameBatch:
        return FrameBatch(
            video_id=self._video_id,
            view=self._view,
            index=self._index,
            frames=np.stack(self._frames),
            pts_s=np.array(self._pts, np.float64),
            last=last,
            end_s=end_s,
        )


class ViewMaker:
    """Feeds each decoded frame to the views that take it.

    Args:
        video_id: put into every batch.
        views: distinct views.
        chunk_s: target length of a batch in seconds.
        threads: for scaling one picture; they change no pixel.
    """

    def __init__(self, video_id: str, views: tuple[View, ...], chunk_s: float, threads: int = 1) -> None:
        self._builders = [_ViewBuilder(video_id, view, chunk_s, threads) for view in views]
        self._last_s = 0.0
        self.end_s = 0.0

    def add(self, pts_s: float, frame: Any) -> list[FrameBatch]:
        """Batches that are complete with this frame, which may be none."""
        duration = getattr(frame, "duration", None)
        step_s = float(duration * frame.time_base) if duration else pts_s - self._last_s
        self.end_s, self._last_s = pts_s + max(step_s, 0.0), pts_s
        return [batch for builder in self._builders for batch in builder.add(pts_s, frame)]

    def finish(self) -> list[FrameBatch]:
        """What is left when the video has ended."""
        return [batch for builder in self._builders for batch in builder.finish(self.end_s)]
