"""Windows of one second every half second, out of chunks that know nothing of each other.

Time is cut into pieces of half a second; two neighbours make a window. A chunk answers the windows that end in it, so
that every window of a video is answered once; for the one that began in the chunk before, the view repeats the last
half second (`lead_in`). A piece is the first and the last frame of its half second, one frame twice where there is
only one, and the frame before where there is none (variable frame rates, frozen pictures).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from analyzers.models.vlm.family import Piece
from pipeline.types import FrameBatch, View

DESCRIBE: Final = View("describe", 4, 336, lead_in=2)
"""4 fps, 336 px, the half second before repeated: what the windows are cut from."""
PIECE_S: Final = 0.5
"""Length of a piece and step of the windows, in seconds; a window is two pieces."""
TAIL_S: Final = 0.25
"""A rest behind the last frame's half second that is shorter makes no piece of its own: the last window covers it."""
_TICK: Final = 1e-3
"""The sampler's tolerance: a frame this part of a tick before its tick belongs to it (pipeline/views.py)."""


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of a video that is described.

    Args:
        start_s: where it starts.
        end_s: where it ends; later than the pieces if the picture stands still behind them.
        pieces: of two frames each; two pieces, or one in a video of half a second.
    """

    start_s: float
    end_s: float
    pieces: tuple[Piece, ...]


def bin_of(time_s: float) -> int:
    """The half second that a frame's time lies in."""
    return int(time_s * 4 + _TICK) // 2


def windows_of(batch: FrameBatch) -> list[Window]:
    """The windows that end in a chunk of `DESCRIBE`. All chunks of a video together: each window once, no gap."""
    bins = [bin_of(float(pts_s)) for pts_s in batch.pts_s]
    first = bins[batch.lead_in]
    after = _bins_end(batch, bins[-1])
    occupied = set(bins)
    pieces: dict[int, Piece] = {}
    made: list[Window] = []
    for last in range(first, after):
        if batch.index == 0 and last == first and after > first + 1:
            continue  # the first window needs two pieces, if there are two
        alone = batch.index == 0 and last == first
        if last not in occupied and last - 1 not in occupied and made:
            continue  # nothing new for a second: the window before goes on, see below
        numbers = (last,) if alone else (last - 1, last)
        for number in numbers:
            if number not in pieces:
                pieces[number] = _piece(batch, bins, number)
        looked_at = tuple(pieces[number] for number in numbers)
        made.append(Window(numbers[0] * PIECE_S, (last + 1) * PIECE_S, looked_at))
    return _closed(made, batch, after)


def _bins_end(batch: FrameBatch, last_bin: int) -> int:
    """The first half second that this chunk does not answer for."""
    if not batch.last:
        return bin_of(batch.end_s)
    rest_s = batch.end_s - (last_bin + 1) * PIECE_S
    return last_bin + 1 + (math.ceil(rest_s / PIECE_S - _TICK) if rest_s >= TAIL_S else 0)


def _piece(batch: FrameBatch, bins: list[int], number: int) -> Piece:
    inside = [place for place, found in enumerate(bins) if found == number]
    if not inside:
        # Before it, or in a chunk whose lead-in starts later than that, its first frame.
        inside = [max((place for place, found in enumerate(bins) if found < number), default=0)]
    return Piece(batch.frames[[inside[0], inside[-1]]])


def _closed(made: list[Window], batch: FrameBatch, after: int) -> list[Window]:
    """Windows from the chunk's own start to its own end: a picture that stands still prolongs the window before."""
    closed = []
    for place, window in enumerate(made):
        start_s = max(window.start_s, float(batch.pts_s[0])) if batch.index == 0 and place == 0 else window.start_s
        end_s = window.end_s
        if place + 1 < len(made):
            end_s = max(end_s, made[place + 1].start_s + PIECE_S)
        elif batch.last:
            end_s = batch.end_s
        else:
            end_s = after * PIECE_S
        closed.append(Window(start_s, max(end_s, start_s), window.pieces))
    return closed
