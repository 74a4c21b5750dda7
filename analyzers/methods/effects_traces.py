"""What a single frame shows of effects: black bars, parted colour planes, displaced slices, a split screen's line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

DIFF_SCALE: Final = 8
"""Changes are held as eighths of a level, up to 31.9 levels."""
BANDS: Final = 24
"""Horizontal bands whose sideways shift is taken, for slices that are displaced."""
SHIFT_SHARE_MAX: Final = 0.15
"""Of the width: how far colour planes and slices are looked for."""
BAR_LEVEL: Final = 28
"""Luma up to which a pixel of a bar is black (studio black is 16, coding adds some)."""
BAR_SHARE: Final = 0.97
LINE_REACH_PX: Final = 24
"""Columns (of the 112 px picture) on each side of the middle with which it is compared."""


def bars_of(grays: Bytes) -> Floats:
    """Share of the side that is black from each edge inwards, [N, 4]: top, bottom, left, right."""
    dark = grays <= BAR_LEVEL
    out = np.zeros((len(grays), 4), np.float32)
    for place, axis in ((0, 2), (2, 1)):
        lines = dark.mean(axis=axis) >= BAR_SHARE
        size = lines.shape[1]
        out[:, place] = np.where(lines.all(axis=1), size, np.argmin(lines, axis=1)) / size
        out[:, place + 1] = np.where(lines.all(axis=1), size, np.argmin(lines[:, ::-1], axis=1)) / size
    return out


def planes_of(frames: Bytes) -> Floats:
    """Shift of red against blue in widths, its correlation, and that without a shift, [N, 3]."""
    width = frames.shape[2]
    reach = max(1, int(SHIFT_SHARE_MAX * width))
    red, blue = (np.diff(frames[..., channel].astype(np.float32), axis=2) for channel in (0, 2))
    spectra = [np.fft.rfft(plane, n=width + reach, axis=2) for plane in (red, blue)]
    cross = np.fft.irfft((spectra[0] * np.conj(spectra[1])).sum(axis=1), n=width + reach, axis=1)
    power = np.sqrt((red**2).sum(axis=(1, 2)) * (blue**2).sum(axis=(1, 2)))
    shifts = np.arange(-reach, reach + 1)
    like = cross[:, shifts] / np.maximum(power, 1e-3)[:, None]
    best = like.argmax(axis=1)
    found = np.stack([shifts[best] / width, like[np.arange(len(like)), best], like[:, reach]], axis=1)
    return np.where(power[:, None] > 1e3, found, 0).astype(np.float32)


def slices_of(half: Sequence[Any]) -> Floats:
    """How many times neighbouring bands of a frame have moved sideways by different amounts, [N]."""
    import cv2

    width = half[0].shape[1]
    bands = min(BANDS, max(1, half[0].shape[0] // 4))
    rows = np.stack(
        [
            cv2.resize(gray.astype(np.float32), (width, bands), interpolation=cv2.INTER_AREA).reshape(bands, width)
            for gray in half
        ]
    )
    change = np.diff(rows, axis=2)
    reach = max(2, int(SHIFT_SHARE_MAX * width))
    spectra = np.fft.rfft(change, n=width + reach, axis=2)
    cross = np.fft.irfft(spectra[1:] * np.conj(spectra[:-1]), n=width + reach, axis=2)
    energy = (change**2).sum(axis=2)
    power = np.sqrt(energy[1:] * energy[:-1])
    shifts = np.arange(-reach, reach + 1)
    like = cross[:, :, shifts] / np.maximum(power, 1e-3)[..., None]
    best = shifts[like.argmax(axis=2)]
    sure = (like.max(axis=2) >= 0.6) & (power > 50)
    least = max(3, round(0.035 * width))
    jumps = (np.abs(np.diff(best, axis=1)) >= least) & sure[:, 1:] & sure[:, :-1]
    return np.concatenate([[0], jumps.sum(axis=1)]).astype(np.float32)


def lines_of(halves: Bytes) -> Bytes:
    """Steps between neighbouring columns around the middle one, mean over the rows, and the same for rows, [N, 2, 48].

    A step counts up to 24 levels, so that a short strong edge is no line; in eighths of a level.
    """
    out = np.zeros((len(halves), 2, 2 * LINE_REACH_PX), np.uint8)
    for place, picture in ((0, halves), (1, halves.transpose(0, 2, 1))):
        middle = picture.shape[2] // 2
        if middle <= LINE_REACH_PX:
            continue
        stripe = picture[:, :, middle - LINE_REACH_PX - 1 : middle + LINE_REACH_PX].astype(np.int16)
        steps = np.minimum(np.abs(np.diff(stripe, axis=2)), 24)
        out[:, place] = steps.mean(axis=1) * DIFF_SCALE
    return out
