"""Made-up pictures and camera moves over them, drawn from a seed: what truth clips are rendered from.

A scene has about the spectrum of natural pictures (amplitude 1/f^0.9..1.2, Field 1987), a colour mood of its own and
some hard-edged shapes, so that corners, edges and histograms behave as they do on footage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]


def scene(seed: int, width: int, height: int, shapes: int = 24) -> Frame:
    """A picture [height, width, 3] RGB that depends on the seed alone."""
    rng = np.random.default_rng(seed)
    small_w, small_h = max(8, width // 2), max(8, height // 2)
    clouds = np.stack([_pink(rng, small_h, small_w) for _ in range(3)], axis=2)
    mix = np.ones((3, 3)) * [[1.0], [0.0], [0.0]] + rng.uniform(-0.3, 0.3, (3, 3))  # mostly light, some colour
    mood = rng.uniform(75, 180) + rng.uniform(-35, 35, 3)
    gradient = np.linspace(-1, 1, small_h)[:, None, None] * rng.uniform(-35, 35, 3)
    picture = np.clip(mood + gradient + (clouds @ mix) * rng.uniform(25, 45), 0, 255).astype(np.uint8)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    side = min(width, height)
    for _ in range(shapes):
        color = tuple(int(value) for value in rng.integers(0, 256, 3))
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        a, b = (int(value) for value in rng.uniform(0.03, 0.18, 2) * side)
        kind = int(rng.integers(0, 3))
        if kind == 0:
            cv2.rectangle(picture, (x, y), (x + a, y + b), color, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.ellipse(picture, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA)
        else:
            cv2.line(picture, (x, y), (x + 2 * a, y + b), color, max(2, side // 60), cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def _pink(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float64]:
    """Noise with an amplitude spectrum of 1/f^1.2, zero mean and unit variance."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    radius = np.hypot(fy * height / width, fx)
    radius[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / np.maximum(radius, 1.0 / width) ** 1.2
    spectrum[0, 0] = 0
    noise: npt.NDArray[np.float64] = np.fft.irfft2(spectrum, s=(height, width))
    return noise / max(float(noise.std()), 1e-9)


@dataclass(frozen=True)
class Look:
    """Where a camera looks on a picture.

    Args:
        x, y: the centre, 0..1 of the picture.
        width: the width seen, 0..1 of the picture's width.
        roll: the camera's turn in degrees, clockwise; the picture turns the other way.
    """

    x: float
    y: float
    width: float
    roll: float = 0.0


def seen(picture: Frame, look: Look, width: int, height: int) -> Frame:
    """What the camera sees, [height, width, 3]. Outside of the picture its edge is mirrored."""
    scale = width / (look.width * picture.shape[1])
    angle = np.deg2rad(look.roll)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    cx, cy = look.x * picture.shape[1], look.y * picture.shape[0]
    matrix = np.array(
        [[cos, sin, width / 2 - cos * cx - sin * cy], [-sin, cos, height / 2 + sin * cx - cos * cy]], np.float64
    )
    if scale < 0.6:  # a far view needs area averaging first, or it shimmers as no camera does
        factor = scale * 1.2
        picture = _shrunk(picture, factor)
        matrix[:, :2] /= factor
    out = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(out, np.uint8)


_shrunk_cache: dict[tuple[int, float], tuple[Frame, Frame]] = {}


def _shrunk(picture: Frame, factor: float) -> Frame:
    factor = float(np.round(factor, 2))
    key = (id(picture), factor)
    if key not in _shrunk_cache or _shrunk_cache[key][0] is not picture:
        if len(_shrunk_cache) > 8:
            _shrunk_cache.clear()
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        _shrunk_cache[key] = (picture, np.asarray(small, np.uint8))
    return _shrunk_cache[key][1]


def move(picture: Frame, start: Look, end: Look, count: int, width: int, height: int) -> Iterator[Frame]:
    """`count` frames from one look to another at constant speed (zooms at a constant rate per frame)."""
    for number in range(count):
        share = number / max(count - 1, 1)
        yield seen(picture, between(start, end, share), width, height)


def between(start: Look, end: Look, share: float) -> Look:
    """The look at `share` (0..1) of the way."""
    return Look(
        start.x + (end.x - start.x) * share,
        start.y + (end.y - start.y) * share,
        start.width * (end.width / start.width) ** share,
        start.roll + (end.roll - start.roll) * share,
    )


def blend(a: Frame, b: Frame, share: float) -> Frame:
    """(1 - share) a + share b."""
    return np.asarray(cv2.addWeighted(a, 1 - share, b, share, 0), np.uint8)


def noise_frame(seed: int, width: int, height: int) -> Frame:
    """White noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
