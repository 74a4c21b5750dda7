"""What two thumbnails of frames have in common: the step between them, what moved blocks leave of it, their likeness.

Levels are 0..255 of Y, Cr, Cb.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

GRID: Final = 16
"""Side of the square picture that is kept of each frame, in cells. Larger: motion looks like change."""
BLOCK_PX: Final = 6
BLOCK_CHANGED: Final = 8.0
"""Levels left in a block after matching that make it new."""
TEXTURE_MIN: Final = 1.5
"""Levels of mean deviation from the surrounding at which a block shows something."""
TEXTURED_SHARE_MIN: Final = 0.3
"""Of all blocks; a film in a blurred or black surround fills at least this much of an upright screen."""
SEARCH_PX: Final = (6, 4)
"""How far blocks are looked for, right and down: an eighth of the picture per frame, four picture widths per second."""
DETAIL_FLOOR: Final = 3.0
"""Levels of local contrast below which detail is noise."""
ZOOMS: Final = (1.15, 1.3, 1.5)
"""Enlargements that are tried: between two of them a border cell moves by one."""
CHANNELS_MAX: Final = 384
"""Planes that one OpenCV call filters (it allows 512)."""


def step_between(before: Pixels, after: Pixels) -> float:
    """Mean absolute difference of two pictures [H, W, 3] in levels."""
    import cv2

    return float(cv2.norm(before, after, cv2.NORM_L1)) / before.size


def unexplained(before: Pixels, after: Pixels) -> tuple[float, float]:
    """What moved blocks do not explain: (mean residual in levels, share of blocks that are new)."""
    import cv2

    height, width = after.shape[:2]
    blocks = (max(1, round(width / BLOCK_PX)), max(1, round(height / BLOCK_PX)))
    right, down = SEARCH_PX if width >= height else SEARCH_PX[::-1]
    padded = cv2.copyMakeBorder(before, down, down, right, right, cv2.BORDER_REPLICATE)
    best: Any = None
    for dy in range(0, 2 * down + 1, 2):
        for dx in range(0, 2 * right + 1, 2):
            gap = cv2.absdiff(padded[dy : dy + height, dx : dx + width], after)
            left = cv2.resize(gap, blocks, interpolation=cv2.INTER_AREA)
            best = left if best is None else np.minimum(best, left)
    residual = best.reshape(-1, 3).astype(np.float32).mean(axis=1)
    new = residual > BLOCK_CHANGED
    # Bars, a blurred surround or a plain wall say nothing; a caption alone on them is not enough of a picture.
    told = max(float(_textured(before, after, blocks).sum() + 1e-6), TEXTURED_SHARE_MIN * len(residual))
    share = min(1.0, float(new.sum()) / told)
    return float(residual[new].mean()) * share if new.any() else 0.0, share


def _textured(before: Pixels, after: Pixels, blocks: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which blocks show detail in one of two pictures, flat."""
    import cv2

    deviations = []
    for picture in (before[:, :, 0], after[:, :, 0]):
        values = picture.astype(np.float32)
        smooth = cv2.blur(values, (BLOCK_PX - 1, BLOCK_PX - 1))
        deviations.append(cv2.resize(np.abs(values - smooth), blocks, interpolation=cv2.INTER_AREA).reshape(-1))
    return np.asarray(np.maximum(*deviations) > TEXTURE_MIN)


def likeness(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Floats:
    """How much pictures [N, 16, 16, 3] show the same: correlation of their detail over shifts of up to two cells.

    Detail is a cell without the mean of the 5 x 5 cells around it, over their standard deviation (the structure term of
    SSIM, Wang et al. 2004). So brightness, tint and washing out do not count, and a mover counts by its area alone.
    Plain pictures have no detail and are like nothing: 0. Returns [N], at most 1.
    """
    one, two = _detail(a), _detail(b)
    best = np.full(len(one), -1.0, np.float32)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            p = one[:, max(0, dy) : GRID + min(0, dy), max(0, dx) : GRID + min(0, dx)].reshape(len(one), -1)
            q = two[:, max(0, -dy) : GRID + min(0, -dy), max(0, -dx) : GRID + min(0, -dx)].reshape(len(one), -1)
            power = np.sqrt(np.einsum("nk,nk->n", p, p) * np.einsum("nk,nk->n", q, q))
            best = np.maximum(best, np.einsum("nk,nk->n", p, q) / np.maximum(power, 0.05 * p.shape[1]))
    return best


def likeness_under_zoom(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """The most likeness of two pictures [16, 16, 3] when one of them is enlarged by up to a half."""
    pairs = [(a, b)] + [(_enlarged(a, zoom), b) for zoom in ZOOMS] + [(a, _enlarged(b, zoom)) for zoom in ZOOMS]
    return float(likeness(np.stack([one for one, _ in pairs]), np.stack([two for _, two in pairs])).max())


def _enlarged(picture: npt.NDArray[Any], zoom: float) -> Floats:
    import cv2

    away = (GRID - 1) / 2 * (1 - zoom)
    matrix = np.array([[zoom, 0, away], [0, zoom, away]])
    values = np.asarray(picture, np.float32)
    return np.asarray(cv2.warpAffine(values, matrix, (GRID, GRID), borderMode=cv2.BORDER_REPLICATE), np.float32)


def _detail(picture: npt.NDArray[Any]) -> Floats:
    """[N, 16, 16, 3] to the same shape, locally normalized."""
    import cv2

    planes = np.asarray(picture, np.float32).transpose(1, 2, 0, 3).reshape(GRID, GRID, -1)
    out = np.empty_like(planes)
    for start in range(0, planes.shape[2], CHANNELS_MAX):
        part = np.ascontiguousarray(planes[:, :, start : start + CHANNELS_MAX])
        mean = cv2.blur(part, (5, 5), borderType=cv2.BORDER_REFLECT_101).reshape(part.shape)
        power = cv2.blur(part * part, (5, 5), borderType=cv2.BORDER_REFLECT_101).reshape(part.shape)
        deviation = np.sqrt(np.maximum(power - mean * mean, 0))
        detail = (part - mean) / (deviation + DETAIL_FLOOR)
        # Bars and surrounds have edges along whole rows or columns, which two shots in one layout share.
        detail -= detail.mean(axis=1, keepdims=True)
        detail -= detail.mean(axis=0, keepdims=True)
        out[:, :, start : start + CHANNELS_MAX] = detail
    return out.reshape(GRID, GRID, len(picture), 3).transpose(2, 0, 1, 3)
