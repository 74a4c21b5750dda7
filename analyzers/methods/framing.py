"""How a picture is composed: what stands out and where, symmetry, balance, depth of focus, the size of a shot.

Figures are 0..1 and null where a picture shows nothing.

- What stands out: spectral residual saliency (Hou and Zhang 2007): what is left of the log amplitude spectrum after its
  local mean is taken off, back in the picture, squared and smoothed. A face or person beats it.
- thirds: 1 where the subject's middle is on a crossing of the lines at one and two thirds, 0 where it is as far from
  the nearest one as the picture's middle is (0.236 of width and height) or farther.
- symmetry: correlation of the picture with its mirror image left to right, at 32 x 32, negative ones as 0.
- balance: 1 - |sum w x| / sum w |x| of the gradient's weight w at x from -1 to 1 across (the visual weight about the
  vertical axis, Arnheim 1954; Lok et al. 2004): 1 if both sides weigh the same, 0 if all is on one side.
- depth: the share of textured cells that are as sharp as the sharpest ones; few of them are shallow focus.
- shot size: how many heads the frame is high. A standing person is 7.5 heads tall (Richer's canon), shots are cut at
  the shoulders, chest, waist, knees or feet (Salt 1974; Thompson and Bowen, Grammar of the Shot).
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

ShotSize = Literal[
    "extreme_close_up", "close_up", "medium_close_up", "medium_shot", "medium_long_shot", "long_shot",
    "extreme_long_shot",
]  # fmt: skip
Depth = Literal["shallow_focus", "deep_focus"]
Point = tuple[float, float]
Floats = npt.NDArray[np.float32]

SALIENCY_PX: Final = 64
SALIENT_SHARE: Final = 0.1
"""Of the cells, those that stand out most; their middle is the subject's, if they lie together."""
TOGETHER_MAX: Final = 0.2
"""Mean distance of those cells from their middle, in 0..1; scattered ones (a crowd, grass) are no subject."""
MIRROR_PX: Final = 32
CONTRAST_MIN: Final = 4.0
"""Standard deviation of luma below which a picture shows nothing."""
CROSSING_REACH: Final = 2**0.5 / 6
FOCUS_CELLS: Final = 12
FOCUS_SHARP: Final = 0.45
"""A cell is in focus if its fine detail, over its coarse detail, has this share of the 85th percentile; the sharpest
cells may be a caption."""
SHALLOW_MAX, DEEP_MIN = 0.35, 0.65
FACE_TO_HEAD: Final = 1.5
"""A head, chin to crown, over a face box, which reaches from chin to brows (Farkas 1994: 22.3 over 14.5 cm)."""
SIZES: Final[tuple[tuple[float, ShotSize], ...]] = (
    (1.25, "extreme_close_up"), (2.25, "close_up"), (3.25, "medium_close_up"), (4.75, "medium_shot"),
    (6.5, "medium_long_shot"), (20.0, "long_shot"),
)  # fmt: skip
"""Up to how many heads the frame is high: cut in the face, at the shoulders, chest, waist, knees; then the body in
full, which fills at least 37 % of the height."""


class Framing(NamedTuple):
    """Of one picture; see the head of this file. `salient` is the middle of what stands out, x and y in 0..1."""

    salient: Point | None
    symmetry: float | None
    balance: float | None
    sharp_share: float | None


def framing_of(frame: npt.NDArray[np.uint8]) -> Framing:
    """Framing of an RGB picture [H, W, 3]."""
    import cv2

    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    mirror = cv2.resize(gray, (MIRROR_PX, MIRROR_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    if float(mirror.std()) < CONTRAST_MIN or min(gray.shape) < 16:
        return Framing(None, None, None, None)
    symmetry = float(np.corrcoef(mirror.reshape(-1), mirror[:, ::-1].reshape(-1))[0, 1])
    return Framing(salient_point(gray), max(0.0, symmetry), balance_of(gray), sharp_share(gray))


def saliency(gray: npt.NDArray[Any]) -> Floats:
    """Spectral residual saliency [64, 64] of a gray picture, sum 1."""
    import cv2

    small = cv2.resize(gray, (SALIENCY_PX, SALIENCY_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    spectrum = np.fft.fft2(small - small.mean())
    log = np.log(np.abs(spectrum) + 1e-3).astype(np.float32)
    residual = log - cv2.blur(log, (3, 3), borderType=cv2.BORDER_REFLECT_101)
    back = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = cv2.GaussianBlur(back.astype(np.float32), (0, 0), 3.0)
    smooth[:2] = smooth[-2:] = 0  # the spectrum takes the picture's edges for steps
    smooth[:, :2] = smooth[:, -2:] = 0
    return np.asarray(smooth / max(float(smooth.sum()), 1e-12), np.float32)


def salient_point(gray: npt.NDArray[Any]) -> Point | None:
    """The middle of what stands out, if it lies together."""
    cells = saliency(gray)
    level = np.quantile(cells, 1 - SALIENT_SHARE)
    rows, columns = np.nonzero(cells >= level)
    weight = cells[rows, columns]
    x, y = (columns + 0.5) / SALIENCY_PX, (rows + 0.5) / SALIENCY_PX
    middle = float(np.average(x, weights=weight)), float(np.average(y, weights=weight))
    apart = float(np.average(np.hypot(x - middle[0], y - middle[1]), weights=weight))
    return middle if apart <= TOGETHER_MAX else None


def balance_of(gray: npt.NDArray[Any]) -> float:
    """Balance about the vertical axis."""
    import cv2

    small = cv2.resize(gray, (SALIENCY_PX, SALIENCY_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    across, down = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    weight = cv2.magnitude(across, down).sum(axis=0)
    place = (np.arange(SALIENCY_PX) + 0.5) / SALIENCY_PX * 2 - 1
    lever = float((weight * np.abs(place)).sum())
    return 1 - abs(float((weight * place).sum())) / lever if lever > 0 else 1.0


def sharp_share(gray: npt.NDArray[Any]) -> float | None:
    """Of the cells with detail, the share that is about as sharp as the sharpest; null with too few of them."""
    import cv2

    fine = cv2.absdiff(gray, cv2.GaussianBlur(gray, (0, 0), 1.0)).astype(np.float32)
    half = cv2.resize(gray, (gray.shape[1] // 2, gray.shape[0] // 2), interpolation=cv2.INTER_AREA)
    coarse = cv2.absdiff(cv2.GaussianBlur(half, (0, 0), 1.0), cv2.GaussianBlur(half, (0, 0), 3.0)).astype(np.float32)
    size = (FOCUS_CELLS, FOCUS_CELLS)
    detail, shades = (cv2.resize(one, size, interpolation=cv2.INTER_AREA).reshape(-1) for one in (fine, coarse))
    told = shades >= 1.5
    if told.sum() < FOCUS_CELLS:
        return None
    ratio = detail[told] / shades[told]
    return float((ratio >= FOCUS_SHARP * np.percentile(ratio, 85)).mean())


def depth_of(share: float | None) -> Depth | None:
    """The cue that a share of sharp cells gives."""
    if share is None or SHALLOW_MAX < share < DEEP_MIN:
        return None
    return "shallow_focus" if share <= SHALLOW_MAX else "deep_focus"


def thirds_of(point: Point | None) -> float | None:
    """How near a point is to a crossing of the thirds."""
    if point is None:
        return None
    x, y = (min(abs(value - 1 / 3), abs(value - 2 / 3)) for value in point)
    return max(0.0, 1 - float(np.hypot(x, y)) / CROSSING_REACH)


def place_of(point: Point | None) -> str | None:
    """Where a point is, in words: ``centred``, ``left third``, ``upper right``, ..."""
    if point is None:
        return None
    across = "left" if point[0] < 0.42 else "right" if point[0] > 0.58 else ""
    down = "upper" if point[1] < 0.36 else "lower" if point[1] > 0.64 else ""
    if across and down:
        return f"{down} {across}"
    return f"{across or down} third" if across or down else "centred"


def size_by_face(height: float) -> ShotSize:
    """The shot size, from a face box's height in 0..1 of the frame's."""
    heads = 1 / max(height * FACE_TO_HEAD, 1e-3)
    return next((name for most, name in SIZES if heads <= most), "extreme_long_shot")
