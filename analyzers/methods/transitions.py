"""Finds transitions between shots in a sequence of thumbnails: hard cuts, dissolves, fades.

- Hard cut: the step between two frames is an outlier among its neighbours (the adaptive detector of PySceneDetect), is
  not explained by blocks that moved (block matching, so that pans and movers do not count) and covers half of what has
  detail. The pictures shortly before and after must not show the same: a flash or a glitch of a few frames is no cut.
- Dissolve: every frame t between a picture A and another picture B is nearly (1 - a) A + a B with a small residual and
  a share a(t) that rises from 0 to 1 (the linear model of Alattar 1993 and Lienhart 2001; A and B by twin comparison
  over windows of several lengths, Zhang et al. 1993), and B is not A moved or enlarged.
- Fade: a run of plain black or white frames with a ramp on at least one side.

Wipes and slides, and jump cuts that leave most of the picture where it was, are not found.
Time comes from presentation timestamps alone; frame rates may vary. Thumbnails are small, so that four hours of video
fit into a few hundred megabytes.
"""

from __future__ import annotations

import itertools
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.methods.thumbnails import GRID, Floats, Pixels, likeness, likeness_under_zoom

Kind = Literal["cut", "dissolve", "fade"]

# Levels are 0..255 of Y, Cr, Cb, averaged over the picture; times are seconds.
STEP_MIN: Final = 4.0
"""Steps below this many levels are never a cut (coding noise is 1 to 2)."""
CUT_MIN: Final = 6.0
"""Levels left in new blocks after block matching, times their share, that make a cut; PySceneDetect's adaptive detector
takes 15 without matching."""
CUT_RATIO: Final = 3.0
"""How much a cut's step exceeds its two neighbours' mean on each side (PySceneDetect: adaptive_threshold)."""
CHANGED_SHARE_MIN: Final = 0.5
"""Share of new blocks that makes a cut; a caption or a mover covers less."""
SAME: Final = 0.35
"""Detail correlation (see `likeness`) above which two pictures show the same. Unrelated ones stay below 0.25
(0.32 under zoom), frames of one shot exceed 0.45."""
FLASH_S: Final = 0.13
"""A picture that returns within this time was interrupted, not cut: three frames at 25 fps."""
FLASH_FRAMES: Final = 3
PLAIN_SHARE: Final = 0.95
"""Share of black or white pixels that makes a plain frame; a small logo may stay."""
BLACK_LEVEL, WHITE_LEVEL = 36, 220
RAMP_S: Final = (0.1, 2.5)
"""Shortest and longest ramp of a fade."""
PLAIN_SHOT_S: Final = 1.0
"""A plain stretch longer than this is a shot of its own, with a fade on either side."""
WINDOWS_S: Final = (0.2, 0.3, 0.45, 0.65, 0.95, 1.4, 2.0, 2.8)
"""Lengths over which a dissolve is looked for. A dissolve is found by a window that is up to twice as long."""
HOP_S: Final = 0.08
"""Distance of the windows' centres."""
BLEND_CELLS: Final = 0.7
"""Share of the cells that the blend must explain; movers and captions have the rest."""
BLEND_RESIDUAL_MAX: Final = 0.16
"""Of the squared distance to the nearer end, over those cells. On made-up footage dissolves give up to 0.1 and 99 % of
the windows over pans and zooms more than 0.35."""
BLEND_STEP_MAX: Final = 0.55
"""Largest rise of a(t) within one frame; a hard cut has 1."""
SHIFT_CELLS: Final = 3
"""How far a picture may move during a dissolve, either way: a fifth of the picture."""
MOTION_GAIN: Final = 0.3
"""Shifts must leave less than this share of what a blend of still pictures leaves, to be believed."""
DISSOLVE_S_MIN: Final = 0.1
"""Shorter blends are a cut with a mixed frame, as rate conversion makes them."""


class Transition(NamedTuple):
    """From `start_s` to `end_s`. `time_s`: a cut's first new frame, the middle of a dissolve, of a fade's plain run."""

    time_s: float
    kind: Kind
    score: float
    start_s: float
    end_s: float


class Film(NamedTuple):
    """The features of N frames of one video.

    Args:
        pts_s: float64 [N].
        end_s: the video's end.
        grid: uint8 [N, 16, 16, 3], Y Cr Cb.
        step: float32 [N], levels between a frame and the one before; 0 for the first.
        moved: float32 [N], levels left after block matching where `step` peaks; else 0.
        changed: float32 [N], share of new blocks there.
        plain: int8 [N], -1 plain black, 1 plain white, 0 neither.
    """

    pts_s: npt.NDArray[np.float64]
    end_s: float
    grid: Pixels
    step: Floats
    moved: Floats
    changed: Floats
    plain: npt.NDArray[np.int8]


# --- hard cuts --------------------------------------------------------------------------------------------------------


def find_cuts(film: Film) -> list[Transition]:
    """Outlying steps to another picture."""
    cuts: list[Transition] = []
    for number in np.flatnonzero((film.moved >= CUT_MIN) & (film.changed >= CHANGED_SHARE_MIN)):
        around = np.concatenate([film.step[max(1, number - 2) : number], film.step[number + 1 : number + 3]])
        # A plain frame beside it is a flash or a fade, whose steps say nothing about the motion around.
        usual = float(np.median(around)) if len(around) else 0.0
        if film.step[number] < CUT_RATIO * usual:
            continue
        before, after = _neighbours(film, int(number), -1), _neighbours(film, int(number), 1)
        if not before or not after:
            continue
        pairs = [(a, b) for a in before for b in after]
        like = float(likeness(film.grid[[a for a, _ in pairs]], film.grid[[b for _, b in pairs]]).max())
        if like > SAME:
            continue
        time_s = float(film.pts_s[number])
        if cuts and _count_between(film, cuts[-1].time_s, time_s) <= FLASH_FRAMES:
            continue  # a flash on the cut: the old picture ended at the first step
        score = min(1.0, float(film.moved[number]) / (4 * CUT_MIN)) * (1 - max(0.0, like)) ** 0.5
        start_s = float(film.pts_s[number - 1])
        cuts.append(Transition(time_s, "cut", score, start_s, time_s))
    return cuts


def _count_between(film: Film, start_s: float, end_s: float) -> int:
    return int(((film.pts_s >= start_s - 1e-3) & (film.pts_s < end_s - 1e-3)).sum())


def _neighbours(film: Film, number: int, direction: int) -> list[int]:
    """Frames shortly before (-1) or from (1) a step on; plain ones are passed over, as long as few."""
    found: list[int] = []
    at = number if direction > 0 else number - 1
    origin_s, passed = float(film.pts_s[at]), 0
    while 0 <= at < len(film.pts_s) and len(found) <= FLASH_FRAMES:
        if film.plain[at] and passed < 4 * FLASH_FRAMES:
            passed += 1
            origin_s = float(film.pts_s[at])
        elif abs(film.pts_s[at] - origin_s) > FLASH_S and found:
            break
        else:
            found.append(at)
        at += direction
    return found


# --- dissolves --------------------------------------------------------------------------------------------------------


class _Blend(NamedTuple):
    ratio: float
    """Residual of the blend model, 0 perfect."""
    levels: float
    """How far apart the ends are, root mean square."""
    first: int
    last: int
    transition: Transition


def find_dissolves(film: Film) -> list[Transition]:
    """Stretches that blend one picture into another. A blend of one or two mixed frames is reported as a cut."""
    pts_s = film.pts_s
    blends: list[_Blend] = []
    for length_s in WINDOWS_S:
        centres = np.arange(pts_s[0] + length_s / 2, pts_s[-1] - length_s / 2 + 1e-9, max(HOP_S, length_s / 12))
        if not len(centres):
            continue
        starts = np.searchsorted(pts_s, centres - length_s / 2 - 1e-6)
        ends = np.minimum(np.searchsorted(pts_s, centres + length_s / 2 - 1e-6), len(pts_s) - 1)
        apart = np.array(
            [np.abs(film.grid[a].astype(np.int16) - film.grid[b]).mean() for a, b in zip(starts, ends, strict=True)]
        )
        usable = (apart >= CUT_MIN) & (ends - starts >= 2) & (film.plain[starts] == 0) & (film.plain[ends] == 0)
        for first, last in zip(starts[usable], ends[usable], strict=True):
            blend = _blend(film, int(first), int(last))
            if blend is not None:
                blends.append(blend)
    if not blends:
        return []
    like = likeness(film.grid[[blend.first for blend in blends]], film.grid[[blend.last for blend in blends]])
    scores = (1 - np.array([blend.ratio for blend in blends])) * (1 - np.maximum(like, 0))
    levels = np.array([blend.levels for blend in blends])  # the longest way wins: it has both ends
    kept: list[Transition] = []
    for number in np.argsort(-scores * levels, kind="stable"):
        one = blends[number].transition
        near = any(one.start_s < other.end_s + HOP_S and one.end_s > other.start_s - HOP_S for other in kept)
        if like[number] > SAME or near:
            continue
        first, last = blends[number].first, blends[number].last
        if likeness_under_zoom(film.grid[first], film.grid[last]) <= SAME:
            kept.append(one._replace(score=float(min(1.0, scores[number]))))
    return [_refined(film, one) if one.kind == "dissolve" else one for one in kept]


def _refined(film: Film, one: Transition) -> Transition:
    """A dissolve's times with both pictures allowed to move on: each frame is a A' + b B', its share b / (a + b).

    A' and B' are the pictures before and after it, shifted by the cells that explain the frame best.
    """
    half = GRID // 2 - SHIFT_CELLS
    middle = slice(SHIFT_CELLS, SHIFT_CELLS + 2 * half)
    shifts = [(y, x) for y in range(2 * SHIFT_CELLS + 1) for x in range(2 * SHIFT_CELLS + 1)]
    for _ in range(2):
        reach_s = 0.7 * (one.end_s - one.start_s)
        first, last = np.searchsorted(film.pts_s, (one.time_s - reach_s, one.time_s + reach_s))
        last = min(int(last), len(film.pts_s) - 1)
        if (
            last - first < 4
            or (film.moved[first + 1 : last + 1] >= CUT_MIN).any()
            or film.plain[first : last + 1].any()
        ):
            return one  # the way out to a clean picture is barred
        numbers = np.unique(np.linspace(first, last, min(last - first + 1, 32)).astype(int))
        values = film.grid[numbers].astype(np.float32) - film.grid[[first, last]].mean()
        frames = values[:, middle, middle].reshape(len(numbers), -1)
        ends = [
            np.stack([values[end, y : y + 2 * half, x : x + 2 * half].reshape(-1) for y, x in shifts])
            for end in (0, -1)
        ]
        aa, bb = ((end**2).sum(axis=1) for end in ends)
        ab = ends[0] @ ends[1].T
        fa, fb = ((frames @ end.T) for end in ends)
        # Normal equations of two unknowns, for each frame and each pair of shifts.
        det = np.maximum(aa[:, None] * bb[None, :] - ab**2, 1e-3)
        a = np.clip((fa[:, :, None] * bb[None, None, :] - fb[:, None, :] * ab) / det, 0, 1.2)
        b = np.clip((fb[:, None, :] * aa[None, :, None] - fa[:, :, None] * ab) / det, 0, 1.2)
        gain = 2 * (a * fa[:, :, None] + b * fb[:, None, :]) - a * a * aa[:, None] - b * b * bb - 2 * a * b * ab
        flat = gain.reshape(len(frames), -1)
        best, power = flat.argmax(axis=1), float((frames**2).sum())
        if power - flat.max(axis=1).sum() > MOTION_GAIN * (power - flat[:, flat.shape[1] // 2].sum()):
            return one  # the pictures stand still, or something runs through them that shifts cannot tell
        weights = [part.reshape(len(frames), -1)[np.arange(len(frames)), best] for part in (a, b)]
        share = weights[1] / np.maximum(weights[0] + weights[1], 1e-3)
        rising = (np.maximum.accumulate(share) + np.minimum.accumulate(share[::-1])[::-1]) / 2
        low, mid, high = (float(np.interp(level, rising, film.pts_s[numbers])) for level in (0.2, 0.5, 0.8))
        reach_s = (high - low) / 1.2
        if not one.start_s <= mid <= one.end_s or reach_s < DISSOLVE_S_MIN / 2:
            return one
        start_s, end_s = max(float(film.pts_s[0]), mid - reach_s), min(film.end_s, mid + reach_s)
        one = one._replace(time_s=mid, start_s=start_s, end_s=end_s)
    return one


def _blend(film: Film, first: int, last: int) -> _Blend | None:
    """How the frames between two frames blend one into the other, if they do."""
    frames = film.grid[first : last + 1].astype(np.float32).reshape(last - first + 1, -1)
    offset = frames - frames[0]
    share = _share(offset)
    middle = np.flatnonzero((share > 0.2) & (share < 0.8))
    if not len(middle):
        return None
    ratio, kept = _residual(offset[middle[:: 1 + len(middle) // 8]], offset[-1])
    if ratio > BLEND_RESIDUAL_MAX:
        return None
    share = _share(offset.reshape(len(frames), GRID * GRID, 3)[:, kept].reshape(len(frames), -1))
    inner = int(((share > 0.1) & (share < 0.9)).sum())
    rising = np.maximum.accumulate(share)
    # With one or two mixed frames a single rise may reach 0.85; without any it is 1 and belongs to `find_cuts`.
    if not inner or np.diff(share).max() > (BLEND_STEP_MAX if inner > 2 else 0.85) or (rising - share).max() > 0.15:
        return None
    pts_s = film.pts_s[first : last + 1]
    low, half, high = (float(np.interp(level, rising, pts_s)) for level in (0.2, 0.5, 0.8))
    extent_s = (high - low) / 0.6
    start_s, end_s = max(float(pts_s[0]), half - extent_s / 2), min(float(pts_s[-1]), half + extent_s / 2)
    # What is compared lies just outside of the blend: motion before and after must not pass for another picture.
    ends = np.searchsorted(pts_s, (start_s + 1e-6, end_s - 1e-6))
    one = Transition(half, "dissolve", 0.0, start_s, end_s)
    if extent_s < DISSOLVE_S_MIN or inner <= 2:
        time_s = float(pts_s[int(np.argmax(rising >= 0.5))])
        one = Transition(time_s, "cut", 0.0, min(start_s, time_s), max(time_s, end_s))
    return _Blend(
        ratio, float(np.sqrt(np.mean(offset[-1] ** 2))), first + max(0, int(ends[0]) - 1), first + int(ends[1]), one
    )


def _share(offset: Floats) -> Floats:
    """Of offsets [N, K] from the first picture, how far each is on the way to the last: 0 to 1."""
    way = offset[-1]
    return np.asarray(offset @ way / max(float(way @ way), 1e-3), np.float32)


def _residual(offset: Floats, way: Floats) -> tuple[float, npt.NDArray[np.bool_]]:
    """What a blend does not explain of frames, as their share of the squared distance to the nearer end.

    Taken over the cells [256] that it explains best, since a mover belongs to neither picture; returned with them.
    """
    share = (offset @ way / float(way @ way))[:, None]
    left = ((offset - share * way) ** 2).sum(axis=0).reshape(-1, 3).sum(axis=1)
    far = (np.where(share < 0.5, offset, offset - way) ** 2).sum(axis=0).reshape(-1, 3).sum(axis=1)
    kept = left <= np.partition(left, int(BLEND_CELLS * GRID * GRID))[int(BLEND_CELLS * GRID * GRID)]
    return float(left[kept].sum() / max(float(far[kept].sum()), 1e-3)), kept


# --- fades ------------------------------------------------------------------------------------------------------------


def find_fades(film: Film) -> tuple[list[Transition], Transition | None, Transition | None]:
    """Fades between shots, and those that open and close the video (from or to its very end)."""
    fades: list[Transition] = []
    opening: Transition | None = None
    closing: Transition | None = None
    edges = np.flatnonzero(np.diff(film.plain, prepend=0, append=0))
    for first, last in itertools.pairwise(edges):
        color = int(film.plain[first])
        if color == 0:
            continue
        pts_s = film.pts_s
        ramp_in, ramp_out = _ramp(film, int(first) - 1, -1, color), _ramp(film, int(last), 1, color)
        plain_end_s = float(pts_s[last]) if last < len(pts_s) else film.end_s
        start_s = float(pts_s[ramp_in]) if ramp_in is not None else float(pts_s[first])
        end_s = float(pts_s[ramp_out]) if ramp_out is not None else plain_end_s
        whole = Transition((float(pts_s[first]) + plain_end_s) / 2, "fade", 1.0, start_s, end_s)
        if first == 0 or last == len(pts_s):
            if first == 0 and ramp_out is not None:
                opening = whole
            if last == len(pts_s) and ramp_in is not None:
                closing = whole
            continue
        both = ramp_in is not None and ramp_out is not None
        if not both:
            before = ramp_in if ramp_in is not None else int(first) - 1
            after = ramp_out if ramp_out is not None else int(last)
            returns = float(likeness(film.grid[before][None], film.grid[after][None])[0]) > SAME
            if (ramp_in is None and ramp_out is None) or returns:
                continue  # cut to a plain picture and back, or a flash that dies away
        if plain_end_s - pts_s[first] <= PLAIN_SHOT_S:
            fades.append(whole if both else whole._replace(score=0.8))
            continue
        if ramp_in is not None:
            time_s = (start_s + float(pts_s[first])) / 2
            fades.append(Transition(time_s, "fade", 1.0, start_s, float(pts_s[first])))
        if ramp_out is not None:
            fades.append(Transition((plain_end_s + end_s) / 2, "fade", 1.0, plain_end_s, end_s))
    return fades, opening, closing


def _ramp(film: Film, number: int, direction: int, color: int) -> int | None:
    """The far end of the ramp that leads to a plain run from frame `number` away from it; None if there is none."""
    target = 0.0 if color < 0 else 255.0
    distances: list[float] = []
    at = number
    while 0 <= at < len(film.pts_s) and abs(float(film.pts_s[at] - film.pts_s[number])) <= RAMP_S[1]:
        distance = float(np.abs(film.grid[at, :, :, 0].astype(np.float32) - target).mean())
        if distances and distance < distances[-1] + max(0.4, 0.004 * distances[-1]):
            break  # no longer rising: the plateau is reached
        distances.append(distance)
        at += direction
    if len(distances) < 3:
        return None
    far = number + direction * (len(distances) - 1)
    between = sum(0.15 < distance / distances[-1] < 0.85 for distance in distances)
    steepest = float(np.diff(distances).max()) / distances[-1]
    if abs(float(film.pts_s[far] - film.pts_s[number])) < RAMP_S[0] or between < 2 or steepest > 0.5:
        return None
    return far
