"""Effects of layout: bars, split screens, graphics that are laid over the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.methods.effects_features import BLOCK_PX
from analyzers.methods.effects_strip import Effect, Strip, beyond, runs
from analyzers.methods.effects_traces import DIFF_SCALE, LINE_REACH_PX

Bytes = npt.NDArray[np.uint8]

BAR_MIN, BAR_MAX = 0.03, 0.42
"""Share of the side that each of two bars takes."""
BAR_UNLIKE: Final = 0.025
"""By how much two bars may differ."""
BAR_S_MIN: Final = 0.5
BAR_STEADY: Final = 0.012
"""By how much a bar's size varies while it stands."""
SPLIT_S_MIN: Final = 0.7
SPLIT_WEAK_S_MIN: Final = 1.0
SPLIT_STEP: Final = 10.0
"""Mean step across the line in levels (each row counts up to 24): two unrelated pictures have 15 and more."""
SPLIT_OVER, SPLIT_OVER_LARGEST = 1.6, 1.2
"""The line's step over the usual one around it, and over the largest one there."""
SPLIT_PLAIN, SPLIT_PLAIN_LARGEST = 2.2, 1.5
"""The same, for a line that needs no other proof (a divider; halves that both stand still)."""
SPLIT_OWN: Final = 0.002
"""Short sides per step by which the halves' motions differ; a horizon stays in place in a pan, but both sides pan."""
STATIC_LEVELS: Final = 1.5
"""Change of a block up to which what it shows is fixed on the screen."""
EDGE_MIN: Final = 4.0
"""Mean gradient, in levels, of a block that shows something."""
ONSET_LEVELS: Final = 8.0
"""Change of a block at the moment a graphic covers it."""
OVERLAY_S_MIN: Final = 0.6
POP_S: Final = 0.3
"""How long a graphic may take to appear."""
OVERLAY_BLOCKS_MIN: Final = 16
"""Of about 1400: smaller ones cannot be told from the picture's own corners."""
OVERLAY_FILL: Final = 0.5
"""Least share of its box that a graphic covers; letters without a backing cover less."""
OVERLAY_MOVING_LEVELS: Final = 2.5
"""Median change of the rest of the picture's textured blocks: the picture moves under the graphic."""
RING_FIXED_MAX: Final = 0.5
"""Share of the blocks around a graphic that are as fixed as it is; around a part of the scene that stands, most are."""
WHOLE_CHANGE: Final = 2.5
"""Change of the rest of the picture when the graphic appears, over its change later."""
TEXT_ASPECT: Final = 1.5
TEXT_TONES: Final = 0.75
"""Share of the variance that two tones explain (Otsu 1979): letters and their backing 0.85 and more, pictures 0.7."""
TEXT_EDGES: Final = 5.0
"""Upright edges per height of a box, from which what is in it is a line of text."""


class Still(NamedTuple):
    """One gray frame of a chunk: its time and JPEG bytes."""

    pts_s: float
    jpeg: bytes


def find(strip: Strip, stills: Sequence[Still], others: Sequence[Effect]) -> Iterator[Effect]:
    """All effects of this module; where one of the `others` begins or ends, the picture changes without a graphic."""
    framed = [*letterbox(strip), *split_screen(strip)]
    yield from framed
    edges_s = [time for one in [*framed, *others] for time in (one.start_s, one.end_s)]
    yield from (one for one in overlays(strip, stills) if all(abs(one.start_s - time) > POP_S for time in edges_s))


def letterbox(strip: Strip) -> Iterator[Effect]:
    """Two equal black bars, above and below or left and right, that stand still."""
    f = strip.f
    for place in (0, 2):
        one, two = f.bars[:, place], f.bars[:, place + 1]
        both = (np.minimum(one, two) >= BAR_MIN) & (np.maximum(one, two) <= BAR_MAX) & (np.abs(one - two) <= BAR_UNLIKE)
        dark = (one >= 1) | (f.light < 24) | (f.plain != 0)
        # A black or white frame within bars says nothing about them.
        for first, last in runs(both | (dark & (_around(both, 6)))):
            inside = np.flatnonzero(both[first : last + 1]) + first
            if not len(inside):
                continue
            size = float(np.median((one + two)[inside])) / 2
            steady = inside[np.abs((one + two)[inside] / 2 - size) <= BAR_STEADY]
            if not len(steady):
                continue
            start_s, end_s = strip.span(int(inside[0]), int(inside[-1]))
            stands_s = float(strip.ends_s[steady[-1]] - f.pts_s[steady[0]])
            if (stands_s < BAR_S_MIN and len(inside) < strip.count) or len(steady) < 0.5 * len(inside):
                continue
            shown = float(f.light[steady].mean()) / max(1 - 2 * size, 0.1)
            if shown < 30 or float(f.contrast[steady].mean()) < 8:
                continue  # a dark scene, or nothing
            box = (0.0, size, 1.0, 1 - size) if place == 0 else (size, 0.0, 1 - size, 1.0)
            yield Effect("letterbox", start_s, end_s, beyond(stands_s, BAR_S_MIN, 1.2), 2 * size, box)


def _around(mask: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
    """True where the mask is true within `reach` frames on both sides."""
    places = np.arange(len(mask))
    last = np.maximum.accumulate(np.where(mask, places, -(10**6)))
    following = np.minimum.accumulate(np.where(mask, places, 10**6)[::-1])[::-1]
    return np.asarray((places - last <= reach) & (following - places <= reach))


def split_screen(strip: Strip) -> Iterator[Effect]:
    """A line through the middle from edge to edge that stays where it is while the pictures beside it move."""
    f = strip.f
    for place in (0, 1):
        steps = f.lines[:, place].astype(np.float64) / DIFF_SCALE
        middle = steps[:, LINE_REACH_PX - 3 : LINE_REACH_PX + 3]
        sides = np.concatenate([steps[:, : LINE_REACH_PX - 5], steps[:, LINE_REACH_PX + 5 :]], axis=1)
        line = middle.max(axis=1)
        # A divider has two edges; their middle stays where it is.
        tops = np.where(middle >= 0.6 * line[:, None], middle, 0)
        where = tops @ np.arange(6) / np.maximum(tops.sum(axis=1), 1e-6)
        usual, largest = np.median(sides, axis=1), sides.max(axis=1)
        parted = (line >= SPLIT_STEP) & (line >= SPLIT_OVER * usual) & (line >= SPLIT_OVER_LARGEST * largest)
        for first, last in runs(parted, gap=1):
            inside = np.flatnonzero(parted[first : last + 1]) + first
            start_s, end_s = strip.span(first, last)
            if end_s - start_s < SPLIT_S_MIN or len(inside) < 4:
                continue
            fixed = float((np.abs(where[inside] - np.median(where[inside])) <= 1).mean())
            if fixed < 0.8 or strip.moving[inside].mean() < 0.4:
                continue
            ratio = float(np.median(line[inside] / np.maximum(usual[inside], 1.0)))
            over = float(np.median(line[inside] / np.maximum(largest[inside], 1.0)))
            # A zoom and a roll move halves apart as well, by half the picture's side times scale and angle.
            side = 0.5 * f.diff.shape[2 - place] / min(f.diff.shape[1:])
            swung = 1.3 * side * (np.abs(f.flow[inside, 2]) + np.abs(f.flow[inside, 3]))
            own = float(np.median((f.sides[inside, place] - swung)[1:]))
            if (own < SPLIT_OWN or end_s - start_s < SPLIT_WEAK_S_MIN) and (
                ratio < SPLIT_PLAIN or over < SPLIT_PLAIN_LARGEST
            ):
                continue
            yield Effect("split_screen", start_s, end_s, beyond(ratio, SPLIT_OVER, 5.0), 2.0)


# --- graphics ---------------------------------------------------------------------------------------------------------


def overlays(strip: Strip, stills: Sequence[Still]) -> Iterator[Effect]:
    """A compact region that changes at once and is then fixed on the screen, edges and all, while the rest moves."""
    import cv2

    f = strip.f
    count, rows, columns = f.diff.shape
    if count < 8 or rows * columns < 4 * OVERLAY_BLOCKS_MIN:
        return
    window = max(4, round(OVERLAY_S_MIN / float(np.median(strip.lasts_s[1:]))))
    pop = max(1, round(POP_S / float(np.median(strip.lasts_s[1:]))))
    static = f.diff <= STATIC_LEVELS * DIFF_SCALE
    sums = np.concatenate([np.zeros((1, rows, columns), np.int32), np.cumsum(static, axis=0, dtype=np.int32)])
    edged = f.edge >= EDGE_MIN
    taken_until = -1
    taken: list[npt.NDArray[np.bool_]] = []
    for at in range(2, count - window):
        if not _moves(f.diff[at + 1 : at + 1 + window], edged[at]):
            continue
        # Covered at step `at`, or up to `pop` steps before while it was still growing, and fixed from then on.
        fixed = sums[at + 1 + window] - sums[at + 1] >= window
        hit = (f.diff[at] >= ONSET_LEVELS * DIFF_SCALE) & fixed
        if hit.sum() < OVERLAY_BLOCKS_MIN // 4 or strip.first_of_shot[at]:
            continue
        low = max(1, at - pop)
        recent = (f.diff[low : at + 1] >= ONSET_LEVELS * DIFF_SCALE).any(axis=0)
        before = max(0, low - window)
        loose = (sums[low] - sums[before]) < 0.7 * (low - before)  # it moved before; what always stood is no news
        mask = np.asarray(fixed & recent & (loose | (f.diff[at] >= 2 * ONSET_LEVELS * DIFF_SCALE)), np.uint8)
        closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        # What the scene has of fixed blocks besides (a plain wall) hangs on by threads.
        closed = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        number, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=4)
        for one in range(1, number):
            left, top, wide, tall, area = (int(value) for value in stats[one])
            region = labels == one
            if area < OVERLAY_BLOCKS_MIN or mask[region].sum() < OVERLAY_FILL * wide * tall or min(wide, tall) < 3:
                continue
            shown = int((region & edged[at + 1 : at + 1 + window].all(axis=0)).sum())
            if shown < max(4, 0.2 * area) or area > 0.6 * rows * columns:
                continue
            if taken_until >= at and any((region & other).sum() > 0.3 * area for other in taken):
                continue
            around = cv2.dilate(region.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & ~region
            if not around.any() or fixed[around].mean() > RING_FIXED_MAX:
                continue
            end = _gone(static, region, at + window)
            rest = edged[at : end + 1] & ~region
            moved = [
                np.median(f.diff[step][rest[step - at]]) for step in range(at + 1, end + 1) if rest[step - at].any()
            ]
            if not moved or np.median(moved) < OVERLAY_MOVING_LEVELS * DIFF_SCALE:
                continue
            besides = edged[at] & ~region
            outside = np.median(f.diff[low : at + 1][:, besides], axis=1) if besides.any() else np.zeros(1)
            if outside.max() > WHOLE_CHANGE * max(float(np.median(moved)), 1.0):
                continue  # all of the picture changed: a cut, a dissolve
            box = (left / columns, top / rows, (left + wide) / columns, (top + tall) / rows)
            start_s, end_s = strip.span(at, end)
            if _is_text(stills, start_s + POP_S, end_s, box):
                continue
            taken.append(region)
            taken_until = max(taken_until, end)
            yield Effect(
                "overlay_graphic",
                start_s,
                end_s,
                beyond(area / (wide * tall), OVERLAY_FILL, 0.9),
                area / (rows * columns),
                box,
            )


def _moves(diff: Bytes, edged: npt.NDArray[np.bool_]) -> bool:
    """Whether most of what shows something changes, in half of these steps at least."""
    if edged.sum() < OVERLAY_BLOCKS_MIN:
        return False
    return bool((np.median(diff[:, edged], axis=1) >= OVERLAY_MOVING_LEVELS * DIFF_SCALE).mean() >= 0.5)


def _gone(static: npt.NDArray[np.bool_], region: npt.NDArray[np.bool_], first: int) -> int:
    """The last frame on which a region is still fixed."""
    held = static[first:, region].mean(axis=1) >= 0.6
    return first + (int(np.argmin(held)) - 1 if not held.all() else len(held) - 1)


def _is_text(stills: Sequence[Still], start_s: float, end_s: float, box: tuple[float, float, float, float]) -> bool:
    """Whether a region is a line of text on a backing: wide, two tones, many upright edges per height."""
    import cv2

    inside = [still for still in stills if start_s <= still.pts_s < end_s]
    if not inside:
        return False
    gray: Any = cv2.imdecode(np.frombuffer(inside[0].jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    height, width = gray.shape
    crop = gray[int(box[1] * height) : int(box[3] * height), int(box[0] * width) : int(box[2] * width)]
    if min(crop.shape) < BLOCK_PX or crop.shape[1] < TEXT_ASPECT * crop.shape[0]:
        return False
    _, binary = cv2.threshold(crop, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    light = crop.astype(np.float32)
    tones = np.where(binary > 0, light[binary > 0].mean(), light[binary == 0].mean() if (binary == 0).any() else 0)
    if float(tones.var()) < TEXT_TONES * float(light.var()):
        return False
    edges = np.abs(np.diff(binary.astype(np.int8), axis=1)).sum(axis=1)
    return bool(np.percentile(edges, 75) * crop.shape[0] / crop.shape[1] >= TEXT_EDGES)
