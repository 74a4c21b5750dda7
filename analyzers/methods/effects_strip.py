"""What the effect detectors share: the found effect, the strip of frames cut into shots, runs of frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.methods.effects_features import Features
from analyzers.methods.effects_traces import DIFF_SCALE
from analyzers.methods.transitions import Film, find_cuts, find_dissolves

Kind = Literal[
    "fade_in", "fade_out", "flash", "freeze_frame", "slow_motion", "speed_ramp", "zoom_punch", "blur_in", "blur_out",
    "split_screen", "letterbox", "black_and_white", "overlay_graphic", "glitch", "shake",
]  # fmt: skip

STILL_LEVELS: Final = 0.75
"""Change of a block, in levels, up to which it stands still: coding leaves less, the quietest sensor more."""
STILL_SHARE: Final = 0.97
"""Share of such blocks that makes a frame the same as the one before."""
MOVED_LEVELS: Final = 2.0
MOVED_SHARE: Final = 0.2
"""Share of blocks that change by more than `MOVED_LEVELS` from which the picture moves."""


class Effect(NamedTuple):
    """One effect.

    Args:
        kind: which.
        start_s, end_s: half-open.
        score: 0..1, how far the measured figures are beyond what decides.
        amount: how much, in the kind's measure (see analyzers/visual_effects.py); None if it has none.
        box: where in the picture, x0 y0 x1 y1 in 0..1; None for all of it.
    """

    kind: Kind
    start_s: float
    end_s: float
    score: float
    amount: float | None = None
    box: tuple[float, float, float, float] | None = None


class Strip:
    """The frames of a video, their shots, and what all detectors ask of them.

    Args:
        features: of all frames.
        end_s: the video's end.
    """

    def __init__(self, features: Features, end_s: float) -> None:
        self.f, self.end_s = features, max(end_s, float(features.pts_s[-1]))
        f = features
        self.film = Film(f.pts_s, self.end_s, f.grid, f.step, f.moved, f.changed, f.plain)
        self.count = len(f.pts_s)
        self.ends_s = np.append(f.pts_s[1:], self.end_s)
        self.lasts_s = np.concatenate([[0.1], np.maximum(np.diff(f.pts_s), 1e-3)])
        cuts = [int(np.searchsorted(f.pts_s, cut.time_s - 1e-6)) for cut in find_cuts(self.film)]
        cuts = [at for at in cuts if f.zoom[at] == 0]  # the same picture enlarged is no new shot
        bounds = [0, *cuts, self.count]
        self.shots = [(a, b) for a, b in itertools.pairwise(bounds) if b > a]
        self.shot_of = np.concatenate([np.full(b - a, number) for number, (a, b) in enumerate(self.shots)])
        self.blends = [(blend.start_s, blend.end_s) for blend in find_dissolves(self.film)]
        self.first_of_shot = np.zeros(self.count, bool)
        self.first_of_shot[[a for a, _ in self.shots]] = True
        blocks = f.diff.reshape(self.count, -1)
        self.still = ((blocks <= STILL_LEVELS * DIFF_SCALE).mean(axis=1) >= STILL_SHARE) & ~self.first_of_shot
        self.moving = ((blocks >= MOVED_LEVELS * DIFF_SCALE).mean(axis=1) >= MOVED_SHARE) & ~self.first_of_shot
        self.activity = np.minimum(blocks, 255).mean(axis=1) / DIFF_SCALE

    def span(self, first: int, last: int) -> tuple[float, float]:
        """When frames `first` to `last` (both included) are shown."""
        return float(self.f.pts_s[first]), float(self.ends_s[last])

    def blended(self, start_s: float, end_s: float, margin_s: float = 0.0) -> bool:
        """Whether a dissolve touches that stretch."""
        return any(start_s - margin_s < b and end_s + margin_s > a for a, b in self.blends)

    def near(self, first: int, last: int, reach_s: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Frames of the same shot within `reach_s` before `first`, and after `last`."""
        pts_s = self.f.pts_s
        before = np.arange(int(np.searchsorted(pts_s, pts_s[first] - reach_s - 1e-6)), first)
        after = np.arange(last + 1, int(np.searchsorted(pts_s, pts_s[last] + reach_s + 1e-6, side="right")))
        before = before[(self.shot_of[before] == self.shot_of[first]) & ~self.first_of_shot[before]]
        after = after[self.shot_of[after] == self.shot_of[last]]
        return before, after


def runs(mask: npt.NDArray[np.bool_], gap: int = 0) -> Iterator[tuple[int, int]]:
    """First and last index of each run of true values; runs with up to `gap` false ones between them are one."""
    places = np.flatnonzero(mask)
    if not len(places):
        return
    breaks = np.flatnonzero(np.diff(places) > gap + 1)
    for first, last in zip(np.append(0, breaks + 1), np.append(breaks, len(places) - 1), strict=True):
        yield int(places[first]), int(places[last])


def beyond(value: float, bar: float, full: float) -> float:
    """A score: 0.5 where a figure just decides (`bar`), 1 at `full` and beyond; either may be the larger."""
    return float(np.clip(0.5 + 0.5 * (value - bar) / (full - bar), 0.5, 1.0))
