"""Says which colours a video has, how bright, contrasty, saturated and warm it is, and where its grading changes.

Each frame becomes a small colour table: counts and mean CIELAB colours of 16 x 16 x 16 cells of sRGB. Tables add up, so
the palette of any stretch is a weighted k-means over its table, which depends on nothing random. All is CIELAB (D65):

- brightness: mean L* / 100.
- contrast: L* of the 95th less that of the 5th percentile, / 100.
- saturation: mean of C / sqrt(C^2 + L^2) (Luebbe 2010), 0 gray.
- warmth: mean of the chroma towards orange (hue 60 degrees) / 50, -1 cold (blue) to 1 warm, 0 neutral.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.methods.color_names import ciede2000, color_name, to_hex, to_lab
from pipeline.analyzer import Analyzer, Profile
from pipeline.errors import NotApplicable
from pipeline.results import Document, ModelInfo, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch

Floats = npt.NDArray[np.float64]
Aspect = Literal["brightness", "contrast", "saturation", "warmth"]

PIXELS_PER_FRAME: Final = 6000
"""About how many pixels of each frame are looked at. More: slower, and shares vary by less than 1 %."""
CELLS: Final = 16
"""Cells of the colour table per channel."""
COLORS_MAX: Final = 8
"""Clusters that k-means begins with."""
ROUNDS: Final = 12
"""Of k-means; it stands still earlier on nearly all pictures."""
SAME_COLOR: Final = 8.0
"""CIEDE2000 below which two clusters are one colour of a palette (1 is just noticeable)."""
SHARE_MIN: Final = 0.02
"""Smaller clusters are not named."""
WINDOW_S: Final = 1.0
"""Stretches of this length before and after a moment are compared."""
CHANGE_MIN: Final[dict[Aspect, float]] = {"brightness": 0.12, "contrast": 0.20, "saturation": 0.12, "warmth": 0.20}
"""Differences that make a change of grading; about three times what motion inside of a shot does."""
BLACK_AND_WHITE_MAX: Final = 0.03
"""Mean saturation below which a video is black and white; coding leaves about 0.01."""
TABLE_CHANGE_MIN: Final = 0.35
"""Share of the pixels that must take another colour cell (smoothed) to begin a new segment."""


class PaletteColor(Document):
    """One colour of a palette: sRGB, the nearest of 34 names, and its share of the pixels."""

    hex: str
    name: str
    share: Score


class Look(NamedTuple):
    """Brightness, contrast, saturation, warmth."""

    brightness: float
    contrast: float
    saturation: float
    warmth: float


class ColorSegment(Segment):
    """A stretch whose colours stay the same."""

    palette: list[PaletteColor]
    brightness: Score
    contrast: Score
    saturation: Score
    warmth: Number


class GradingChange(Document):
    """A moment where the colours change: which aspects, by how much (after less before)."""

    time: Seconds
    aspects: dict[Aspect, Number]


class ColorSummary(Summary):
    """The same over the whole video, and the changes of grading."""

    palette: list[PaletteColor]
    brightness: Score
    contrast: Score
    saturation: Score
    warmth: Number
    black_and_white: bool
    grading_changes: list[GradingChange]


class ColorReport(Report[ColorSegment, ColorSummary]):
    """Segments that cover the video."""


class Table(NamedTuple):
    """Colours of some pixels: which cells are there, how many pixels in each, and the sums of their L*, a*, b*.

    Args:
        cells: int32 [M], ascending.
        counts: float64 [M].
        sums: float64 [M, 3].
    """

    cells: npt.NDArray[np.int32]
    counts: Floats
    sums: Floats


@dataclass(frozen=True)
class ColorPart:
    """One colour table per frame of a chunk."""

    pts_s: npt.NDArray[np.float64]
    end_s: float
    tables: list[Table]


class ColorAnalysis(Analyzer[ColorPart, ColorReport]):
    """Palette, look and grading."""

    spec = AnalyzerSpec("color_analysis", version="1", needs=SCAN, cpus=0.5)
    tiles = True

    def load(self, device: str, profile: Profile) -> None:
        """Nothing to read: the method is classical."""
        import cv2

        cv2.setNumThreads(1)
        self.model = ModelInfo(
            id="weighted k-means in CIELAB, CSS colour names by CIEDE2000",
            revision=self.spec.version,
            backend=f"opencv {cv2.__version__}, numpy {np.__version__}",
        )

    def analyze(self, item: FrameBatch) -> ColorPart:
        """A table per frame, from every n-th pixel."""
        height, width = item.frames.shape[1:3]
        stride = max(1, int(np.sqrt(height * width / PIXELS_PER_FRAME)))
        tables = [table_of(frame[stride // 2 :: stride, stride // 2 :: stride]) for frame in item.frames]
        return ColorPart(np.array(item.pts_s), item.end_s, tables)

    def summarize(self, parts: Sequence[ColorPart], upstream: Upstream) -> ColorReport:
        """Split where colours change; palette and look of each stretch and of the whole."""
        if not parts:
            raise NotApplicable("no picture was decoded")
        pts_s = np.concatenate([part.pts_s for part in parts])
        tables = [table for part in parts for table in part.tables]
        end_s = parts[-1].end_s
        first_frames = [0, *changes(pts_s, tables), len(tables)]
        bounds_s = [0.0, *(float(pts_s[number]) for number in first_frames[1:-1]), end_s]
        merged = [merge(tables[first:last]) for first, last in itertools.pairwise(first_frames)]
        looks = [look_of(table) for table in merged]
        segments = [
            ColorSegment(start=start, end=end, palette=palette_of(table), **look._asdict())
            for (start, end), table, look in zip(itertools.pairwise(bounds_s), merged, looks, strict=True)
        ]
        # Frames stand for the time until the next one, so that a variable rate does not weigh.
        lengths = np.diff(np.append(pts_s, max(end_s, float(pts_s[-1]) + 1e-3)))
        whole = merge(tables, lengths / lengths.mean())
        look = look_of(whole)
        summary = ColorSummary(
            palette=palette_of(whole),
            **look._asdict(),
            black_and_white=look.saturation < BLACK_AND_WHITE_MAX,
            grading_changes=_grading(bounds_s[1:-1], looks),
        )
        return ColorReport(segments=segments, summary=summary)


# --- tables -----------------------------------------------------------------------------------------------------------


def table_of(pixels: npt.NDArray[np.uint8]) -> Table:
    """The colour table of sRGB pixels [..., 3]."""
    rgb = pixels.reshape(-1, 3)
    step = 256 // CELLS
    index = (rgb // step).astype(np.int32) @ np.array([CELLS * CELLS, CELLS, 1], np.int32)
    cells, inverse = np.unique(index, return_inverse=True)
    lab = to_lab(rgb)
    counts = np.bincount(inverse, minlength=len(cells)).astype(np.float64)
    sums = _sums(inverse, lab, len(cells))
    return Table(cells.astype(np.int32), counts, sums)


def merge(tables: Sequence[Table], weights: Floats | None = None) -> Table:
    """The sum of tables, each times its weight."""
    weights = np.ones(len(tables)) if weights is None else weights
    cells, inverse = np.unique(np.concatenate([table.cells for table in tables]), return_inverse=True)
    all_counts = np.concatenate([t.counts * w for t, w in zip(tables, weights, strict=True)])
    counts = np.bincount(inverse, all_counts).astype(np.float64)
    sums = _sums(inverse, np.concatenate([t.sums * w for t, w in zip(tables, weights, strict=True)]), len(cells))
    return Table(cells.astype(np.int32), counts, sums)


def _sums(groups: npt.NDArray[Any], values: Floats, count: int) -> Floats:
    """Sums of values [M, 3] over each of `count` groups, [count, 3]."""
    return np.stack([np.bincount(groups, values[:, c], count).astype(np.float64) for c in range(3)], axis=1)


def look_of(table: Table) -> Look:
    """Brightness, contrast, saturation and warmth; see the head of this file."""
    lab = table.sums / table.counts[:, None]
    share = table.counts / table.counts.sum()
    light, chroma = np.clip(lab[:, 0], 0, 100), np.hypot(lab[:, 1], lab[:, 2])
    order = np.argsort(light, kind="stable")
    below = np.cumsum(share[order])
    dark, bright = (
        float(light[order][min(len(order) - 1, int(np.searchsorted(below, level)))]) for level in (0.05, 0.95)
    )
    saturation = chroma / np.sqrt(chroma**2 + np.maximum(light, 1.0) ** 2)
    saturation *= np.minimum(1.0, light / 10)  # the colour of near black is coding noise
    warm = lab[:, 1] * np.cos(np.radians(60)) + lab[:, 2] * np.sin(np.radians(60))
    return Look(
        float(np.clip(light @ share / 100, 0, 1)),
        float(np.clip((bright - dark) / 100, 0, 1)),
        float(np.clip(saturation @ share, 0, 1)),
        float(np.clip(warm @ share / 50, -1, 1)),
    )


def palette_of(table: Table) -> list[PaletteColor]:
    """Up to eight colours by share: weighted k-means over the table's cells, then colours that look alike joined."""
    points, weights = table.sums / table.counts[:, None], table.counts / table.counts.sum()
    centers = _seeds(points, weights)
    for _ in range(ROUNDS):
        nearest = ((points[:, None, :] - centers[None]) ** 2).sum(axis=2).argmin(axis=1)
        mass = np.bincount(nearest, weights, len(centers)).astype(np.float64)
        moved = _sums(nearest, weights[:, None] * points, len(centers))
        updated = np.where(mass[:, None] > 0, moved / np.maximum(mass, 1e-12)[:, None], centers)
        if np.allclose(updated, centers, atol=1e-3):
            break
        centers = updated
    centers, mass = _joined(centers[mass > 0], mass[mass > 0])
    kept = mass >= SHARE_MIN if (mass >= SHARE_MIN).any() else mass == mass.max()
    order = np.argsort(-mass[kept], kind="stable")
    return [
        PaletteColor(hex=to_hex(center), name=color_name(center), share=float(share))
        for center, share in zip(centers[kept][order], mass[kept][order], strict=True)
    ]


def _seeds(points: Floats, weights: Floats) -> Floats:
    """First centres: the heaviest cell, then the one with most weight times squared distance from those chosen."""
    chosen = [int(np.argmax(weights))]
    distance = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < COLORS_MAX and float((distance * weights).max()) > 0:
        chosen.append(int(np.argmax(distance * weights)))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen].copy()


def _joined(centers: Floats, mass: Floats) -> tuple[Floats, Floats]:
    """Join the two most alike centres until all look different."""
    while len(centers) > 1:
        a, b = np.triu_indices(len(centers), 1)
        apart = ciede2000(centers[a], centers[b])
        best = int(np.argmin(apart))
        if apart[best] >= SAME_COLOR:
            break
        i, j = int(a[best]), int(b[best])
        centers[i] = (centers[i] * mass[i] + centers[j] * mass[j]) / (mass[i] + mass[j])
        mass[i] += mass[j]
        centers, mass = np.delete(centers, j, axis=0), np.delete(mass, j)
    return centers, mass


# --- changes ----------------------------------------------------------------------------------------------------------


def changes(pts_s: Floats, tables: Sequence[Table]) -> list[int]:
    """First frames of new segments: where the second before and the second after differ most."""
    if len(tables) < 2:
        return []
    coarse = np.stack([_coarse(table) for table in tables])
    sums = np.concatenate([np.zeros((1, coarse.shape[1])), np.cumsum(coarse, axis=0)])
    first = np.searchsorted(pts_s, pts_s - WINDOW_S + 1e-6)
    last = np.searchsorted(pts_s, pts_s + WINDOW_S - 1e-6)
    here = np.arange(len(tables))
    before = (sums[here] - sums[first]) / np.maximum(here - first, 1)[:, None]
    after = (sums[last] - sums[here]) / np.maximum(last - here, 1)[:, None]
    apart = np.abs(before - after).sum(axis=1) / 2
    apart[0] = 0.0
    found: list[int] = []
    for number in np.argsort(-apart, kind="stable"):
        if apart[number] < TABLE_CHANGE_MIN:
            break
        if all(abs(pts_s[number] - pts_s[other]) >= WINDOW_S - 1e-3 for other in [0, *found]):
            found.append(int(number))
    return sorted(found)


def _coarse(table: Table) -> Floats:
    """A smoothed histogram [8 * 8 * 8] of CIELAB, sum 1: neighbours share, so that noise does not jump cells."""
    lab = table.sums / table.counts[:, None]
    place = np.clip((lab - [0, -80, -80]) / [100 / 7, 160 / 7, 160 / 7], 0, 6.999)
    low, part = place.astype(int), place - place.astype(int)
    out = np.zeros(512)
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.prod([part[:, i] if bit else 1 - part[:, i] for i, bit in enumerate(corner)], axis=0)
        index = ((low + corner) @ np.array([64, 8, 1])).astype(int)
        out += np.bincount(index, weight * table.counts, 512)
    return np.asarray(out / out.sum(), np.float64)


def _grading(times_s: Sequence[float], looks: Sequence[Look]) -> list[GradingChange]:
    found = []
    for time_s, before, after in zip(times_s, looks, looks[1:], strict=False):
        moved: dict[Aspect, float] = {
            aspect: getattr(after, aspect) - getattr(before, aspect)
            for aspect, least in CHANGE_MIN.items()
            if abs(getattr(after, aspect) - getattr(before, aspect)) >= least
        }
        if moved:
            found.append(GradingChange(time=time_s, aspects=moved))
    return found
