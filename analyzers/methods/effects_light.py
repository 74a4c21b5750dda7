"""Effects of light, colour and sharpness: fades, flashes, black and white, blur ramps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.methods.effects_strip import Effect, Kind, Strip, beyond, runs
from analyzers.methods.transitions import find_fades

FLASH_S_MAX: Final = 0.45
"""Longer brightness is a scene, not a flash."""
FLASH_RISE: Final = 40.0
"""Levels of luma by which a flash exceeds what is before it and after it."""
FLASH_SHARE: Final = 0.8
"""Share of the 16 x 16 cells that a flash brightens (a cell that was white cannot)."""
GRAY_MAX: Final = 5.0
"""99th percentile of chroma, in levels from grey, of black and white pictures; footage has 10 and more."""
GRAY_CONTRAST_MIN: Final = 12.0
"""Standard deviation of luma below which a picture shows nothing whose colour could be missed."""
GRAY_S_MIN: Final = 0.5
NOISE_DETAIL: Final = 1.0
"""Gradient at full size over that at a quarter, from which a picture is noise (footage has up to 0.7)."""
BLUR_FACTOR: Final = 2.0
"""By how much the gradient, relative to the contrast, falls or rises in a blur ramp."""
BLUR_S: Final = (0.2, 1.6)
BLUR_AGREE: Final = 0.6
"""Share of the picture that must follow one motion during the ramp: it is still the same picture."""
BLUR_LIGHT_MAX: Final = 30.0
"""Levels by which the light may change meanwhile."""
BLUR_SPEED_MAX: Final = 1.2
"""Short sides per second; what is blurred in faster motion is motion blur."""


def find(strip: Strip) -> Iterator[Effect]:
    """All effects of this module."""
    yield from fades(strip)
    yield from flashes(strip)
    yield from black_and_white(strip)
    yield from blurs(strip)


def fades(strip: Strip) -> Iterator[Effect]:
    """Ramps to and from plain black or white, as cut_analysis finds them; their ends by a line through the luma."""
    inner, opening, closing = find_fades(strip.film)
    pts_s, light = strip.f.pts_s, strip.f.light
    for fade in [*inner, *(one for one in (opening, closing) if one is not None)]:
        inside = np.flatnonzero((pts_s >= fade.start_s - 1e-6) & (pts_s <= fade.end_s + 1e-6) & (strip.f.plain != 0))
        if not len(inside):
            continue
        first, last = int(inside[0]), int(inside[-1])
        if fade.start_s < pts_s[first] - 1e-6:
            start_s, end_s = _ramp(pts_s, light, int(np.searchsorted(pts_s, fade.start_s - 1e-6)), first)
            yield Effect("fade_out", start_s, min(end_s, float(strip.ends_s[last])), fade.score)
        if last + 1 < strip.count and fade.end_s > strip.ends_s[last] + 1e-6:
            end, start = _ramp(pts_s, light, int(np.searchsorted(pts_s, fade.end_s - 1e-6)), last)
            yield Effect("fade_in", max(start, float(pts_s[first])), min(end, strip.end_s), fade.score)


def _ramp(pts_s: npt.NDArray[np.float64], light: npt.NDArray[np.float32], full: int, plain: int) -> tuple[float, float]:
    """When a ramp is at the picture's light and when at the plain colour's, by a line through its middle."""
    full = min(full, len(pts_s) - 1)
    low, high = sorted((full, plain))
    share = (light[low : high + 1] - light[plain]) / (light[full] - light[plain] + 1e-6)
    times = pts_s[low : high + 1]
    middle = (share > 0.15) & (share < 0.85)
    if middle.sum() < 2:
        return float(pts_s[full]), float(pts_s[plain])
    slope, offset = np.polyfit(times[middle], share[middle], 1)
    if abs(slope) < 1e-3:
        return float(pts_s[full]), float(pts_s[plain])
    reach = (1 - offset) / slope, -offset / slope
    # The plain colour is reached after the frame that counts as plain, since that leaves out the darkest tenth.
    margin_s = 0.5 * abs(float(pts_s[full] - pts_s[plain]))
    at_full = float(np.clip(reach[0], pts_s[low] - margin_s, pts_s[high] + margin_s))
    at_plain = float(np.clip(reach[1], pts_s[low] - margin_s, pts_s[high] + margin_s))
    return max(0.0, at_full), max(0.0, at_plain)


def flashes(strip: Strip) -> Iterator[Effect]:
    """The picture is washed out for some frames: nearly all of it is brighter than before and than after."""
    light, luma = strip.f.light, strip.f.grid[..., 0].reshape(strip.count, -1).astype(np.int16)
    at = 1
    while at < strip.count:
        if light[at] - light[at - 1] < FLASH_RISE:
            at += 1
            continue
        before = at - 1
        after = next(
            (
                number
                for number in range(at + 1, strip.count)
                if light[number]
                <= max(light[before], light[at:number].max() - 2 * FLASH_RISE, 0)
                + 0.35 * (light[at:number].max() - light[before])
            ),
            strip.count,
        )
        if after == strip.count or strip.f.pts_s[after] - strip.f.pts_s[at] > FLASH_S_MAX:
            at += 1
            continue
        peak = at + int(np.argmax(light[at:after]))
        rise = float(light[peak] - max(light[before], light[after]))
        higher = luma[peak] >= np.maximum(luma[before], luma[after]) + 8
        share = float((higher | (luma[peak] >= 235)).mean())
        washed = strip.f.contrast[peak] <= 0.75 * max(strip.f.contrast[before], 8.0) or light[peak] >= 200
        if rise >= FLASH_RISE and share >= FLASH_SHARE and washed:
            yield Effect("flash", *strip.span(at, after - 1), beyond(rise, FLASH_RISE, 100.0), float(light[peak]) / 255)
        at = after


def black_and_white(strip: Strip) -> Iterator[Effect]:
    """Stretches without any colour in pictures that show something."""
    f = strip.f
    shows = (f.contrast >= GRAY_CONTRAST_MIN) & (f.detail[:, 0] < NOISE_DETAIL * np.maximum(f.detail[:, 2], 1e-3))
    gray = f.chroma <= GRAY_MAX
    # Black or faded frames between grey ones do not end the stretch.
    for first, last in runs(gray & (shows | (f.contrast < GRAY_CONTRAST_MIN))):
        inside = np.flatnonzero(shows[first : last + 1]) + first
        if not len(inside):
            continue
        start_s, end_s = strip.span(int(inside[0]), int(inside[-1]))
        if end_s - start_s >= GRAY_S_MIN or len(inside) == strip.count:
            yield Effect("black_and_white", start_s, end_s, beyond(float(f.chroma[inside].mean()), GRAY_MAX, 1.0))


def blurs(strip: Strip) -> Iterator[Effect]:
    """The picture stays and loses (blur_out) or gains (blur_in) sharpness steadily."""
    f = strip.f
    sharp = np.log(np.maximum(f.detail[:, 0], 0.05) / np.maximum(f.contrast, 4.0))
    speed = np.hypot(f.flow[:, 0], f.flow[:, 1]) / strip.lasts_s
    least = float(np.log(BLUR_FACTOR))
    for first, end in strip.shots:
        for a, b in _ramps(sharp[first:end], f.pts_s[first:end]):
            a, b = a + first, b + first
            change, start_s, end_s = float(sharp[b] - sharp[a]), float(f.pts_s[a]), float(f.pts_s[b])
            inside = slice(a + 1, b + 1)
            if abs(change) < least or min(f.contrast[a], f.contrast[b]) < 8 or f.plain[a : b + 1].any():
                continue
            if f.agree[inside].mean() < BLUR_AGREE or float(np.median(speed[inside])) > BLUR_SPEED_MAX:
                continue
            if float(np.ptp(f.light[a : b + 1])) > BLUR_LIGHT_MAX or strip.blended(start_s, end_s):
                continue
            kind: Kind = "blur_in" if change > 0 else "blur_out"
            yield Effect(kind, start_s, end_s, beyond(abs(change), least, 2 * least), float(np.exp(abs(change))))


def _ramps(values: npt.NDArray[np.float32], pts_s: npt.NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """First and last index of monotonic stretches, as long as blur ramps are, trimmed to where they really change."""
    if len(values) < 4:
        return
    steps = np.diff(values)
    for sign in (1, -1):
        for a, b in runs(sign * steps > 0.02, gap=0):
            # Sharpness falls fast at first and then slowly: of a ramp's ends the sharp one is trimmed more.
            part = sign * steps[a : b + 1] / (sign * steps[a : b + 1]).sum()
            least = np.where(np.arange(len(part)) < len(part) / 2, *((0.02, 0.08) if sign > 0 else (0.08, 0.02)))
            real = np.flatnonzero(part >= least)
            if not len(real):
                continue
            low, high = a + int(real[0]), a + int(real[-1]) + 1
            if len(real) >= 3 and BLUR_S[0] <= pts_s[high] - pts_s[low] <= BLUR_S[1]:
                yield low, high
