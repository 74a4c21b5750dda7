"""Pictures, two seconds each, whose composition is known: mirrored scenes, a subject at a place, portraits at a scale.

Heads in the portraits were measured by eye (crown to chin, within about 5 %). The files are kept under `.cache/clips/`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from tests.media.clips import FAST, cached
from tests.media.effect_clips import photo
from tests.media.encode import Clip, write_clip
from tests.media.scenes import Frame, Look, between, scene, seen

VERSION: Final = "composition-2"
FPS: Final = 8.0
PICTURE_S: Final = 2.0
WIDTH, HEIGHT = 360, 640
HEADS: Final[dict[str, tuple[float, float, float]]] = {
    "obama.jpg": (0.54, 0.025, 0.395),
    "biden.jpg": (0.59, 0.045, 0.27),
    "astronaut.png": (0.44, 0.03, 0.355),
}
"""Of a portrait: x of the head's middle, y of the crown and of the chin, in 0..1."""
SIZES: Final[dict[str, float]] = {
    "close_up": 1.75, "medium_close_up": 2.7, "medium_shot": 4.0, "medium_long_shot": 5.6, "long_shot": 9.0,
}  # fmt: skip
"""How many heads the frame is high: the middle of each size."""
PLACES: Final[dict[str, tuple[float, float]]] = {
    "centred": (0.5, 0.5), "upper left": (1 / 3, 1 / 3), "lower right": (2 / 3, 2 / 3), "left third": (0.28, 0.5),
}  # fmt: skip


def _clip(name: str, pictures: list[tuple[dict[str, Any], Callable[[float], Frame]]]) -> Clip:
    """A clip of the pictures, each drawn at 0..1 of its time. Truth: ``pictures``: [{start, end, ...}]."""

    def build(path: Path) -> dict[str, Any]:
        count = round(PICTURE_S * FPS)
        write_clip(path, (draw(n / count) for _, draw in pictures for n in range(count)), fps=FPS, options=FAST)
        spans = [(PICTURE_S * number, PICTURE_S * (number + 1)) for number in range(len(pictures))]
        truth = [{"start": a, "end": b, **what} for (a, b), (what, _) in zip(spans, pictures, strict=True)]
        return {"pictures": truth, "duration_s": PICTURE_S * len(pictures)}

    return cached(name, build, version=VERSION)


def portrait_clip() -> Clip:
    """Three portraits at five sizes. Truth of each picture: ``shot_size``."""
    return _clip(
        "portraits",
        [
            ({"shot_size": size}, _still(portrait(name, heads)))
            for name in HEADS
            for size, heads in SIZES.items()
        ],
    )  # fmt: skip


def portrait(name: str, heads: float) -> Frame:
    """A portrait in an upright frame that is so many heads high, before a soft gradient where the photo ends."""
    picture, (x, crown, chin) = photo(name), HEADS[name]
    tall, wide = picture.shape[:2]
    scale = HEIGHT / heads / ((chin - crown) * tall)
    left = WIDTH / 2 - x * wide * scale
    top = HEIGHT * (0.05 if heads < 5 else 0.25) - crown * tall * scale
    small = cv2.resize(
        picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    ramp = np.linspace(150, 90, HEIGHT)[:, None, None] * np.array([1.0, 0.98, 0.92])
    frame = np.broadcast_to(ramp, (HEIGHT, WIDTH, 3)).astype(np.uint8).copy()
    shift = np.array([[1, 0, left], [0, 1, top]], np.float64)
    cv2.warpAffine(small, shift, (WIDTH, HEIGHT), dst=frame, borderMode=cv2.BORDER_TRANSPARENT)
    return frame


def symmetry_clip() -> Clip:
    """Mirrored scenes and scenes as they are. Truth of each picture: ``symmetric``."""
    pictures: list[tuple[dict[str, Any], Callable[[float], Frame]]] = []
    for seed in (1000, 1001, 1002):
        mirrored, plain = scene(seed, WIDTH, HEIGHT), scene(seed + 3, WIDTH, HEIGHT)
        mirrored[:, WIDTH // 2 :] = mirrored[:, : WIDTH // 2][:, ::-1]
        pictures += [({"symmetric": True}, _still(mirrored)), ({"symmetric": False}, _still(plain))]
    return _clip("symmetry", pictures)


def place_clip() -> Clip:
    """A textured ball on a plain ground. Truth of each picture: ``framing``, ``thirds`` and on which side it is."""
    pictures: list[tuple[dict[str, Any], Callable[[float], Frame]]] = []
    for words, (x, y) in PLACES.items():
        frame = np.full((HEIGHT, WIDTH, 3), (96, 120, 128), np.uint8)
        ball, cover = scene(1003, 121, 121, shapes=10), np.zeros((121, 121), np.uint8)
        cv2.circle(cover, (60, 60), 60, 1, -1)
        left, top = round(x * WIDTH) - 60, round(y * HEIGHT) - 60
        below = frame[top : top + 121, left : left + 121]
        below[cover > 0] = ball[cover > 0]
        off = min(abs(x - 1 / 3), abs(x - 2 / 3)), min(abs(y - 1 / 3), abs(y - 2 / 3))
        thirds = max(0.0, 1 - float(np.hypot(*off)) / (2**0.5 / 6))
        pictures.append(({"framing": words, "thirds": thirds, "centred": x == 0.5}, _still(frame)))
    return _clip("places", pictures)


def things_clip() -> Clip:
    """Slow moves over photos of one thing each. Truth of each picture: ``labels``, ImageNet names that are right."""
    cat = {"labels": ["Egyptian cat", "tabby", "tiger cat"]}
    return _clip(
        "things",
        [
            ({"labels": ["minibus", "trolleybus"]}, _move("bus.jpg", 1.0, 0.85)),
            (cat, _move("chelsea.png", 1.0, 0.8)),
            ({"labels": ["espresso", "cup", "coffee mug"]}, _move("coffee.png", 0.95, 0.8)),
        ],
    )


def nothing_clip() -> Clip:
    """Noise, grey noise, a ramp, plain colours, drawn scenes: nobody and no thing."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (8, HEIGHT, WIDTH, 3)).astype(np.uint8)
    ramp = np.repeat(np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))[:, :, None], 3, axis=2)
    plain = [np.full((HEIGHT, WIDTH, 3), color, np.uint8) for color in (0, 255, (200, 30, 30))]

    def drawn(seed: int) -> Callable[[float], Frame]:
        picture = scene(seed, 2 * WIDTH, 2 * HEIGHT)
        return lambda share: seen(picture, between(Look(0.4, 0.5, 0.5), Look(0.6, 0.5, 0.5), share), WIDTH, HEIGHT)

    return _clip(
        "nothing",
        [
            ({}, lambda share: noise[int(share * 8) % 8]),
            ({}, lambda share: np.repeat(noise[int(share * 8) % 8, :, :, :1], 3, axis=2)),
            *(({}, _still(picture)) for picture in (ramp, *plain)),
            *(({}, drawn(seed)) for seed in range(1000, 1006)),
        ],
    )


def _still(picture: Frame) -> Callable[[float], Frame]:
    return lambda share: picture


def _move(name: str, first: float, last: float) -> Callable[[float], Frame]:
    picture = photo(name)
    tall, wide = picture.shape[:2]
    height = int(640 * tall / wide) // 2 * 2
    picture = np.asarray(cv2.resize(picture, (640, height), interpolation=cv2.INTER_AREA))

    # The photo is as wide as the frame, its edges mirrored above and below.
    start, end = Look(0.5, 0.5, first), Look(0.52, 0.5, last)
    return lambda share: seen(picture, between(start, end, share), 480, 480)
