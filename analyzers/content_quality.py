"""Judges the technical quality of the picture once a second, at (nearly) recorded resolution, and says what spoils it.

- sharpness: 1 less the blur effect of Crete et al. 2007 (how much a further blur takes away of the differences between
  neighbours), spread to 0..1; of the sharper half of what has edges, since a soft background is
  no fault.
- noise: standard deviation in levels (Immerkaer 1996), of the calmest fifth of the picture, since texture looks
  like noise.
- exposure: -1 too dark .. 0 right .. 1 too bright, from CIELAB L* and the clipped share; black bars are left out.
- blockiness: how much more neighbours differ across the coder's 8 x 8 grid than beside it (after Wang, Bovik, Evan
  2000), 0..1.
- banding: share of the picture where a smooth surface falls into plain steps of two and more levels (the idea of CAMBI,
  Tandon et al. 2021), 0..1.

A picture without edges has nothing to be sharp: its sharpness is None and it is not called blurry. A plain one (black,
white, one colour) is not called dark or bright either; it is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.analyzer import Analyzer, Profile
from pipeline.errors import NotApplicable
from pipeline.results import ModelInfo, Number, Report, Score, Segment, Summary, Upstream
from pipeline.types import NATIVE, AnalyzerSpec, FrameBatch

Gray = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Cause = Literal["blurry", "noisy", "underexposed", "overexposed", "blocky", "banding", "plain"]
Points = Annotated[Number, Field(ge=0, le=100)]

TILE_PX: Final = 32
"""Side of the tiles that are judged apart."""
REBLUR_PX: Final = 9
"""Of the further blur (Crete et al.: 9)."""
BLUR_RANGE: Final = (0.78, 0.30)
"""Blur effects that count as sharpness 0 and 1: a photo blurred with sigma 5 px, and one that is not."""
EDGE_MIN: Final = 2.0
"""Levels of mean difference between neighbours from which a tile has something to be sharp."""
STRUCTURE_SHARE_MIN: Final = 0.005
"""Share of such tiles below which nothing in the picture can be sharp."""
PLAIN_SHARE, PLAIN_LEVELS = 0.9, 3
"""Share of the pixels within so many levels of their median that makes a picture plain; a caption may lie on it."""
SHARP_QUANTILE, CALM_QUANTILE = 0.25, 0.1
"""Which tile speaks for the picture: the median of its sharper half (the sharpest are captions), of its calm fifth."""
BAR_LEVEL: Final = 24
"""Rows and columns that nowhere exceed it are black bars."""
CLIPPED: Final = (4, 251)
"""Levels at and beyond which detail is lost."""
GRID_PX: Final = 8
"""Side of the coder's blocks (JPEG, MPEG-2, H.264: 8, and multiples)."""
BLOCK_STEP_MAX: Final = 24
"""Levels; larger steps are edges of things and no blocks."""
UNSEEN_STEP: Final = 1.5
"""Levels by which neighbours may differ unseen; on smooth surfaces a grid must exceed this to count."""
BAND_STEP: Final = (2, 10)
"""Steps in levels that show as bands; smaller ones are not seen, larger ones are edges."""

# Where a fault begins and where it is complete; score = 100 x product of (1 - weight x fault).
FAULTS: Final[dict[Cause, tuple[float, float, float]]] = {
    "blurry": (0.35, 0.05, 0.7),  # sharpness
    "noisy": (4.0, 20.0, 0.5),  # levels
    "underexposed": (-0.55, -0.9, 0.7),  # exposure
    "overexposed": (0.5, 0.9, 0.7),  # exposure
    "blocky": (0.2, 0.6, 0.6),
    "banding": (0.05, 0.5, 0.3),
}
CAUSES: Final[tuple[Cause, ...]] = (*FAULTS, "plain")
MEANT: Final[tuple[Cause, ...]] = ("blurry", "underexposed", "overexposed")
"""No faults of a plain picture."""
CAUSE_MIN: Final = 0.15
"""A fault is named from this degree on."""


class QualitySegment(Segment):
    """The picture of about a second; see the head of this file."""

    score: Points
    sharpness: Score | None
    noise: Number
    exposure: Number
    blockiness: Score
    banding: Score
    causes: list[Cause]


class QualitySummary(Summary):
    """Means over the time that is not plain; causes that hold for at least a fifth of it; the worst moment's score."""

    score: Points
    sharpness: Score | None
    noise: Number
    exposure: Number
    blockiness: Score
    banding: Score
    causes: list[Cause]
    worst_score: Points


class QualityReport(Report[QualitySegment, QualitySummary]):
    """Segments that cover the video."""


class Quality(NamedTuple):
    """What was measured on one picture; sharpness is NaN without edges, `even` the share near its median level."""

    sharpness: float
    noise: float
    exposure: float
    blockiness: float
    banding: float
    even: float


@dataclass(frozen=True)
class QualityPart:
    """The measures of one chunk's pictures."""

    pts_s: npt.NDArray[np.float64]
    end_s: float
    measured: list[Quality]


class ContentQuality(Analyzer[QualityPart, QualityReport]):
    """Sharpness, noise, exposure, blockiness, banding."""

    spec = AnalyzerSpec("content_quality", version="1", needs=NATIVE)
    tiles = True

    def load(self, device: str, profile: Profile) -> None:
        """Nothing to read: the measures are classical."""
        import cv2

        cv2.setNumThreads(1)
        self.model = ModelInfo(
            id="blur effect, Immerkaer noise, exposure, grid differences, banding",
            revision=self.spec.version,
            backend=f"opencv {cv2.__version__}",
        )

    def analyze(self, item: FrameBatch) -> QualityPart:
        """Measure each picture."""
        return QualityPart(np.array(item.pts_s), item.end_s, [measure(frame) for frame in item.frames])

    def summarize(self, parts: Sequence[QualityPart], upstream: Upstream) -> QualityReport:
        """One segment per picture, until the next one."""
        if not parts:
            raise NotApplicable("no picture was decoded")
        measured = [one for part in parts for one in part.measured]
        starts = [0.0, *(float(time) for part in parts for time in part.pts_s)][: len(measured) + 1]
        bounds = np.array([0.0, *starts[2:], parts[-1].end_s])
        segments = []
        for one, start, end in zip(measured, bounds, bounds[1:], strict=False):
            score, causes = judge(one)
            segments.append(QualitySegment(start=start, end=end, score=score, causes=causes, **_fields(one)))
        lengths = np.maximum(np.diff(bounds), 1e-6)
        shown = np.array([one.even < PLAIN_SHARE for one in measured])
        weights = lengths * shown if shown.any() else lengths
        weights = weights / weights.sum()
        table = np.array(measured, np.float64)
        sharp = weights * ~np.isnan(table[:, 0])
        mean = Quality(*(float(value) for value in weights @ np.nan_to_num(table)))
        sharpness = float(sharp @ np.nan_to_num(table[:, 0]) / sharp.sum()) if sharp.sum() else float("nan")
        mean = mean._replace(sharpness=sharpness)
        held = {
            cause: sum(float(weight) for weight, one in zip(weights, segments, strict=True) if cause in one.causes)
            for cause in CAUSES
        }
        summary = QualitySummary(
            score=float(weights @ [segment.score for segment in segments]),
            causes=sorted((cause for cause in CAUSES if held[cause] >= 0.2), key=lambda cause: -held[cause]),
            worst_score=min(segment.score for segment in segments),
            **_fields(mean),
        )
        return QualityReport(segments=segments, summary=summary)


def _fields(one: Quality) -> dict[str, Any]:
    fields = one._asdict()
    del fields["even"]
    return {**fields, "sharpness": None if np.isnan(one.sharpness) else one.sharpness}


def judge(one: Quality) -> tuple[float, list[Cause]]:
    """Score 0..100 and what spoils it, worst first."""
    values: dict[Cause, float] = {
        "blurry": one.sharpness, "noisy": one.noise, "underexposed": one.exposure, "overexposed": one.exposure,
        "blocky": one.blockiness, "banding": one.banding,
    }  # fmt: skip
    plain = one.even >= PLAIN_SHARE
    score, degrees = 100.0, {}
    for cause, (begins, complete, weight) in FAULTS.items():
        if (np.isnan(one.sharpness) and cause == "blurry") or (plain and cause in MEANT):
            continue  # a black or white picture is meant, a smooth one may be sharp
        degree = float(np.clip((values[cause] - begins) / (complete - begins), 0, 1))
        score *= 1 - weight * degree
        if degree >= CAUSE_MIN:
            degrees[cause] = weight * degree
    return score, sorted(degrees, key=lambda cause: -degrees[cause]) + (["plain"] if plain else [])


# --- measures ---------------------------------------------------------------------------------------------------------


def measure(frame: npt.NDArray[np.uint8]) -> Quality:
    """All measures of one RGB picture [H, W, 3]."""
    import cv2

    gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
    gray = _without_bars(gray)
    height, width = gray.shape
    wanted = [max(0, 2 * TILE_PX - side) for side in (height, width)]
    if any(wanted):  # too small for tiles: mirrored on, which changes no level
        gray = np.pad(gray, ((0, wanted[0]), (0, wanted[1])), mode="symmetric")
    across, down = (cv2.absdiff(gray[:, 1:], gray[:, :-1]), cv2.absdiff(gray[1:], gray[:-1]))
    return Quality(
        sharpness=sharpness_of(gray),
        noise=noise_of(gray),
        exposure=exposure_of(gray),
        blockiness=blockiness_of(across, down),
        banding=banding_of(gray, across, down),
        even=even_share(gray),
    )


def _without_bars(gray: Gray) -> Gray:
    """The picture inside of black bars; a black picture as it is."""
    rows = np.flatnonzero(gray.max(axis=1) > BAR_LEVEL)
    columns = np.flatnonzero(gray.max(axis=0) > BAR_LEVEL)
    if len(rows) < 16 or len(columns) < 16:
        return gray
    return gray[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _tiles(values: npt.NDArray[Any]) -> Floats:
    """Mean of each whole tile of [H, W], as [rows, columns]."""
    import cv2

    rows, columns = max(1, values.shape[0] // TILE_PX), max(1, values.shape[1] // TILE_PX)
    inner = np.asarray(values[: rows * TILE_PX, : columns * TILE_PX], np.float32)
    return np.asarray(cv2.resize(inner, (columns, rows), interpolation=cv2.INTER_AREA))


def sharpness_of(gray: Gray) -> float:
    """0..1, of the sharper half of the tiles that have edges, in the blurrier direction; NaN if (nearly) none has."""
    blurs = [blur for blur in (_blur_across(gray), _blur_across(np.ascontiguousarray(gray.T))) if blur is not None]
    if not blurs:
        return float("nan")
    return float(np.clip((BLUR_RANGE[0] - max(blurs)) / (BLUR_RANGE[0] - BLUR_RANGE[1]), 0, 1))


def _blur_across(gray: Gray) -> float | None:
    """The blur effect along rows, from every second row of tiles; None without edges."""
    import cv2

    rows = max(1, gray.shape[0] // (2 * TILE_PX))
    bands = gray[: rows * 2 * TILE_PX].reshape(rows, 2 * TILE_PX, -1)[:, :TILE_PX].reshape(rows * TILE_PX, -1)
    again = cv2.blur(bands, (REBLUR_PX, 1))
    before, after = (cv2.absdiff(picture[:, 1:], picture[:, :-1]) for picture in (bands, again))
    strength = _tiles(before)
    told = strength >= EDGE_MIN
    if told.mean() < STRUCTURE_SHARE_MIN:
        return None
    lost = _tiles(cv2.subtract(before, after))  # saturates at 0, as max(0, ...) does
    return float(np.quantile(1 - lost[told] / strength[told], SHARP_QUANTILE))


def noise_of(gray: Gray) -> float:
    """Standard deviation in levels, of the calmest fifth of the tiles that are not clipped; 0 if all are."""
    import cv2

    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = cv2.convertScaleAbs(cv2.filter2D(gray, cv2.CV_16S, mask))  # saturates at 255, far above calm tiles
    sigma = _tiles(response) * np.sqrt(np.pi / 2) / 6
    level = _tiles(gray)
    usable = sigma[(level > 12) & (level < 243)]
    return float(np.quantile(usable, CALM_QUANTILE)) if usable.size else 0.0


def exposure_of(gray: Gray) -> float:
    """-1 too dark .. 1 too bright: L* of the mean against middle gray (50), pushed out by the clipped share."""
    import cv2

    levels = np.arange(256) / 255
    share = cv2.calcHist([gray], [0], None, [256], [0, 256]).reshape(-1) / gray.size
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    light = np.where(linear > 0.008856, 116 * np.cbrt(linear) - 16, 903.3 * linear)
    mean = float(share @ light)
    dark, bright = float(share[: CLIPPED[0] + 1].sum()), float(share[CLIPPED[1] :].sum())
    return float(np.clip((mean - 50) / 50 + 0.5 * (bright - dark), -1, 1))


def even_share(gray: Gray) -> float:
    """Share of the pixels within three levels of their median."""
    some = gray[::2, ::2].astype(np.int16)
    return float((np.abs(some - int(np.median(some))) <= PLAIN_LEVELS).mean())


def blockiness_of(across: npt.NDArray[Any], down: npt.NDArray[Any]) -> float:
    """0..1: how much differences of neighbours [H, W-1] and [H-1, W] stand out on some 8 x 8 grid."""
    import cv2

    found = []
    for differences, axis in ((across, 0), (down, 1)):
        low = cv2.min(differences, BLOCK_STEP_MAX)
        profile = cv2.reduce(low, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).reshape(-1).astype(np.float64)
        count = len(profile) // GRID_PX * GRID_PX
        if count < 4 * GRID_PX:
            return 0.0
        phases = profile[:count].reshape(-1, GRID_PX)
        beside = (np.roll(profile[:count], 1) + np.roll(profile[:count], -1)).reshape(-1, GRID_PX) / 2
        # The median over the grid's lines: one strong line is an edge, a grid shows everywhere.
        excess = np.median((phases - beside) / (beside + UNSEEN_STEP), axis=0)
        found.append(float(excess.max() - np.median(excess)))
    return float(np.clip(np.mean(found), 0, 1))


def banding_of(gray: Gray, across: npt.NDArray[Any], down: npt.NDArray[Any]) -> float:
    """0..1: share of the tiles that are plain but for steps of two and more levels."""
    height, width = across.shape[0] - 1, down.shape[1] - 1
    step = np.maximum(across[:height, :width], down[:height, :width])
    flat = _tiles((step == 0).astype(np.float32))
    stepped = _tiles(((step >= BAND_STEP[0]) & (step <= BAND_STEP[1])).astype(np.float32))
    other = 1 - flat - stepped
    # Steps cross a tile as lines: between one and eight of its 32 rows.
    banded = (stepped >= 1 / TILE_PX) & (stepped <= 8 / TILE_PX) & (other <= 0.5 * stepped)
    return float(banded.mean())
