"""Effects of motion and time: freezes, slow motion, speed ramps, zoom punches, shakes, glitches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.methods.effects_strip import Effect, Strip, beyond, runs
from analyzers.methods.thumbnails import likeness
from analyzers.methods.transitions import SAME

FREEZE_S_MIN: Final = 0.4
"""Shorter stillness is a repeated frame."""
BEFORE_S: Final = 0.55
"""How long the picture must have moved before it freezes, or behaved otherwise before and after a slow stretch."""
ABRUPT: Final = 0.35
"""The last change before a freeze is at least this share of the usual one: motion that runs out is no freeze."""
SLOW_S_MIN, SLOW_REPEATS_MIN = 0.6, 3
SLOW_SHARE: Final = (0.2, 0.85)
"""Of the steps in slow motion, how many repeat a frame. At 12 fps repeats show once a picture lasts 0.1 s."""
SLOW_ACTIVITY_MAX: Final = 0.75
"""Change per second within, over that around: stutter alone leaves it as it is."""
RAMP_FACTOR: Final = 2.0
RAMP_LONE_FACTOR: Final = 2.5
"""For a change that is not taken back within the shot."""
RAMP_WINDOW_S: Final = 0.5
RAMP_SPEED: Final = (0.03, 0.1)
"""Short sides per second that the picture moves at least on the slower and on the faster side."""
RAMP_EVEN: Final = 0.12
"""Median deviation over median of the speed on each side: a camera that is moved about varies more."""
REPEAT_SHARE, REPEAT_BESIDE = 0.15, 0.35
"""Change of a repeated frame over the usual one and over that of its neighbours; coding improves it a little."""
MOVED_BESIDE: Final = 0.2
"""Change of those neighbours over the usual one: in a freeze nothing moves."""
PUNCH_MIN: Final = 0.09
"""Log scale (9 %) that a zoom punch gains within `PUNCH_S`."""
PUNCH_S: Final = 0.3
PUNCH_REST: Final = 0.3
"""Zoom rate before and after over that within; a camera's zoom has ramps."""
RETURN_S: Final = 1.6
SHAKE_STEP: Final = 0.025
"""Short sides per step, to and fro, that make a shake; hands tremble by less than 0.01."""
SHAKE_S_MAX: Final = 2.5
SHAKE_QUIET: Final = 0.4
"""Displacement around over that within: a camera that is carried shakes all the time."""
PLANES_SHIFT: Final = 0.015
"""Of the width: red against blue."""
PLANES_LOSS: Final = 0.85
"""Correlation of the planes without a shift over that with it."""
PLANES_TOGETHER, PLANES_DROP = 0.35, 0.5
"""Correlation of the planes that a shot usually has, and the share of it from which they have parted."""
SLICES_MIN: Final = 4
GLITCH_S_MAX: Final = 1.5


def find(strip: Strip) -> Iterator[Effect]:
    """All effects of this module."""
    frozen = list(freezes(strip))
    yield from frozen
    yield from slow_motion(strip)
    ramps = list(speed_ramps(strip))
    yield from ramps
    glitched = list(glitches(strip))
    yield from glitched
    busy = [(one.start_s - 0.1, one.end_s + 0.1) for one in glitched + ramps]
    shaken = [one for one in shakes(strip) if not any(one.start_s < b and one.end_s > a for a, b in busy)]
    yield from shaken
    busy += [(one.start_s - 0.1, one.end_s + 0.1) for one in shaken]
    yield from (one for one in zoom_punches(strip) if not any(one.start_s < b and one.end_s > a for a, b in busy))


# --- time -------------------------------------------------------------------------------------------------------------


def freezes(strip: Strip) -> Iterator[Effect]:
    """The picture stands exactly still, within a shot, right after it moved."""
    for first, last in runs(strip.still):
        start_s, end_s = float(strip.f.pts_s[first - 1]), float(strip.ends_s[last])
        if end_s - start_s < FREEZE_S_MIN or last - first < 2 or strip.f.plain[first]:
            continue
        before, _ = strip.near(first, last, BEFORE_S)
        if len(before) < 4 or strip.moving[before].mean() < 0.6:
            continue
        usual = float(np.median(strip.activity[before]))
        if strip.activity[before[-2:]].max() < ABRUPT * usual:
            continue
        yield Effect("freeze_frame", start_s, end_s, beyond(end_s - start_s, 0.3, 0.8))


def slow_motion(strip: Strip) -> Iterator[Effect]:
    """Repeated frames in a regular pattern, and less change per second than around, within a shot."""
    for first, end in strip.shots:
        usual = float(np.percentile(strip.activity[first + 1 : end], 75)) if end - first > 6 else 0.0
        beside = np.maximum(np.roll(strip.activity, 1), np.roll(strip.activity, -1))
        same = (strip.activity <= max(0.3, REPEAT_SHARE * usual)) & (strip.activity <= REPEAT_BESIDE * beside)
        same &= beside >= MOVED_BESIDE * usual
        repeated = same[first:end] & ~strip.f.plain[first:end].astype(bool)
        repeated[0] = False
        for a, b in runs(repeated, gap=4):
            inside = np.arange(first + a, first + b + 1)
            share = float(same[inside].mean())
            longest = max((last - start for start, last in runs(same[inside])), default=0)
            length_s = float(strip.ends_s[inside[-1]] - strip.f.pts_s[inside[0] - 1])
            if not SLOW_SHARE[0] <= share <= SLOW_SHARE[1] or longest > 2 or length_s < SLOW_S_MIN:
                continue
            if same[inside].sum() < SLOW_REPEATS_MIN:
                continue
            before, after = strip.near(int(inside[0]), int(inside[-1]), 2 * BEFORE_S)
            around = np.concatenate([before[:-2], after[2:]])  # the slow stretch may begin before its first repeat
            if len(around) < 4 or same[around].mean() > 0.1:
                continue
            rate = strip.activity / strip.lasts_s
            usual = float(np.median(rate[around]))
            ratio = float(rate[inside].mean()) / max(usual, 1e-3)
            if ratio > SLOW_ACTIVITY_MAX or usual < 10:
                continue
            low, high = int(inside[0]) - 1, int(inside[-1])
            middle = (1 + ratio) / 2 * usual
            while low - 1 > first and rate[low] < middle:
                low -= 1
            while high + 1 < end and rate[high + 1] < middle:
                high += 1
            start_s, end_s = strip.span(low, high)
            yield Effect("slow_motion", start_s, end_s, beyond(ratio, SLOW_ACTIVITY_MAX, 0.4), 1 - share)


def speed_ramps(strip: Strip) -> Iterator[Effect]:
    """The picture's motion becomes several times as fast or slow within two frames, and is even before and after.

    A camera has mass: it neither jumps to another speed nor keeps one so evenly. Only camera motion shows this; slow
    motion over a camera that stands still is found if frames are repeated, else not.
    """
    f = strip.f
    camera = f.flow[:, :2] / strip.lasts_s[:, None]
    for first, end in strip.shots:
        changes: list[tuple[float, int]] = []
        for at in range(first + 4, end - 4):
            before, after = strip.near(at, at, RAMP_WINDOW_S)
            before, after = before[-6:], after[:6]
            if len(before) < 4 or len(after) < 4 or min(f.agree[before].min(), f.agree[after].min()) < 0.5:
                continue
            factor = _factor(camera[before], camera[after])
            if factor is not None and not strip.blended(float(f.pts_s[before[0]]), float(f.pts_s[after[-1]])):
                changes.append((factor, at))
        speed = np.hypot(camera[:, 0], camera[:, 1])
        until = first
        for factor, at in changes:
            if at < until or any(abs(at - other) < 6 and abs(more) > abs(factor) for more, other in changes):
                continue
            before, _ = strip.near(at, at, RAMP_WINDOW_S)
            between = float(np.median(speed[before])) * float(np.exp(factor / 2))
            changed = (speed > between) == (factor > 0)
            # Medians change up to two frames early or late: the first frame that really is at the other speed.
            at = next((n for n in range(at - 2, min(at + 4, end - 1)) if changed[n] and changed[n + 1]), at)
            back = np.flatnonzero(~changed[at + 1 : end]) + at + 1
            last = int(back[0]) - 1 if len(back) else end - 1
            if len(back) or abs(factor) >= np.log(RAMP_LONE_FACTOR):
                start_s, end_s = strip.span(at, last)
                score = beyond(abs(factor), float(np.log(RAMP_FACTOR)), 1.1)
                yield Effect("speed_ramp", start_s, end_s, score, float(np.exp(factor)))
                until = last + 4


def _factor(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float | None:
    """Logarithm of the speed after over that before, of velocities [N, 2], if the change is a ramp's."""
    ways = [np.median(part, axis=0) for part in (before, after)]
    one, two = (float(np.hypot(*way)) for way in ways)
    if min(one, two) < RAMP_SPEED[0] or max(one, two) < RAMP_SPEED[1]:
        return None
    if abs(np.log(two / one)) < np.log(RAMP_FACTOR) or float(ways[0] @ ways[1]) < 0.95 * one * two:
        return None
    for part, way, usual in ((before, ways[0], one), (after, ways[1], two)):
        if float(np.median(np.hypot(*(part - way).T))) > RAMP_EVEN * usual:
            return None
    return float(np.log(two / one))


# --- camera -----------------------------------------------------------------------------------------------------------


def zoom_punches(strip: Strip) -> Iterator[Effect]:
    """The picture is enlarged at once or within a few frames, at rest before and after; its return is part of it."""
    f = strip.f
    scale = np.where(f.zoom != 0, f.zoom, np.where(f.agree >= 0.5, f.flow[:, 2], 0.0))
    scale[strip.first_of_shot] = 0
    rate = scale / strip.lasts_s
    last_end_s, last_gain = -9.0, 0.0
    at = 1
    while at < strip.count:
        if abs(scale[at]) < PUNCH_MIN / 4 or strip.first_of_shot[at]:
            at += 1
            continue
        last = at
        while (
            last + 1 < strip.count
            and scale[last + 1] * scale[at] > 0
            and abs(scale[last + 1]) >= PUNCH_MIN / 4
            and strip.ends_s[last] - f.pts_s[at - 1] <= PUNCH_S + 0.05
        ):
            last += 1
        gain = float(scale[at : last + 1].sum())
        before, after = strip.near(at, last, BEFORE_S)
        within = abs(gain) / float(f.pts_s[last] - f.pts_s[at - 1])
        if abs(gain) >= PUNCH_MIN and len(before) >= 3 and len(after) >= 3:
            rest = max(float(np.median(np.abs(rate[part]))) for part in (before, after))
            sure = min(float(f.agree[before[-3:]].min()), float(f.agree[after[:3]].min()))
            start_s, end_s = float(f.pts_s[at]), float(f.pts_s[last])
            if rest <= PUNCH_REST * within and sure >= 0.5 and not strip.blended(start_s, end_s, 0.1):
                back = start_s - last_end_s <= RETURN_S and gain * last_gain < 0 and abs(gain) <= 1.5 * abs(last_gain)
                if not back:
                    yield Effect(
                        "zoom_punch", start_s, max(end_s, float(strip.ends_s[at])), beyond(abs(gain), PUNCH_MIN, 0.3),
                        float(np.exp(gain)),
                    )  # fmt: skip
                last_end_s, last_gain = end_s, 0.0 if back else gain
        at = last + 1


def shakes(strip: Strip) -> Iterator[Effect]:
    """The picture is thrown to and fro for a moment, while the camera around that moment is quiet."""
    f = strip.f
    way = np.where((f.agree >= 0.4)[:, None], f.flow[:, :2], 0.0)
    way[strip.first_of_shot] = 0
    for first, end in strip.shots:  # what remains of each step when the steady motion is taken off
        way[first:end] -= np.median(way[first:end], axis=0)
        way[first] = 0
    far = np.hypot(way[:, 0], way[:, 1])
    turns = np.zeros(strip.count, bool)
    # Back within two steps: a throw may be sampled twice in one direction.
    for apart in (1, 2):
        dot = (way[apart:] * way[:-apart]).sum(axis=1)
        back = (dot < -0.3 * far[apart:] * far[:-apart]) & (far[apart:] >= SHAKE_STEP) & (far[:-apart] >= SHAKE_STEP)
        turns[apart:] |= back
        turns[:-apart] |= back
    for first, last in runs(turns, gap=2):
        inside = np.arange(first, last + 1)
        start_s, end_s = float(f.pts_s[max(first - 1, 0)]), float(f.pts_s[last])
        if turns[inside].sum() < 3 or end_s - start_s > SHAKE_S_MAX:
            continue
        before, after = strip.near(first, last, 1.0)
        around = np.concatenate([before, after])
        if len(around) < 5 or strip.shot_of[first] != strip.shot_of[last]:
            continue
        steady = np.median(way[around], axis=0)
        quiet = float(np.percentile(np.hypot(*(way[around] - steady).T), 75))
        inner = float(np.median(np.hypot(*(way[inside][turns[inside]] - steady).T)))
        if quiet <= SHAKE_QUIET * inner and inner >= SHAKE_STEP:
            yield Effect("shake", float(f.pts_s[first]), end_s, beyond(inner, SHAKE_STEP, 0.08), inner)


def glitches(strip: Strip) -> Iterator[Effect]:
    """For a moment the colour planes part, or slices of the picture are displaced; before and after they do not."""
    f = strip.f
    apart = (
        (np.abs(f.planes[:, 0]) >= PLANES_SHIFT)
        & (f.planes[:, 1] >= 0.12)
        & (f.planes[:, 2] <= PLANES_LOSS * f.planes[:, 1])
    )
    sliced = (f.slices >= SLICES_MIN) & ~strip.first_of_shot
    for first, end in strip.shots:
        usual = float(np.median(f.planes[first:end, 2]))
        if usual >= PLANES_TOGETHER:
            apart[first:end] |= f.planes[first:end, 2] <= PLANES_DROP * usual
    for first, last in runs(apart | sliced, gap=2):
        start_s, end_s = strip.span(first, last)
        inside = np.arange(first, last + 1)
        if end_s - start_s > GLITCH_S_MAX or strip.shot_of[first] != strip.shot_of[last]:
            continue
        before, after = (part[~(apart | sliced)[part]] for part in strip.near(first, last, 1.0))
        if len(before) < 2 or len(after) < 2:
            continue
        usual = float(np.median(f.planes[np.concatenate([before, after]), 2]))
        parted = apart[inside] & (f.planes[inside, 2] <= 0.6 * usual)
        shifted = np.abs(f.planes[inside, 0]) >= PLANES_SHIFT
        if parted.sum() + sliced[inside].sum() < 2 or not (shifted.any() or f.slices[inside].sum() >= SLICES_MIN):
            continue
        like = float(likeness(f.grid[before[-1]][None], f.grid[after[0]][None])[0])
        if like <= SAME:
            continue
        yield Effect("glitch", start_s, end_s, beyond(float(parted.sum() + sliced[inside].sum()), 1, 4))
