"""Clips of faces whose gaze, blinks or age are known: photos of the test media under camera moves, some with painted
eyes. Places on photos were read off by eye, in pixels of the photo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from tests.media.clips import cached
from tests.media.encode import Clip, write_clip
from tests.media.scenes import Frame, Look, between, noise_frame, seen
from tests.media.text_clips import photo

VERSION: Final = "faces-4"
WIDTH, HEIGHT = 540, 960
FPS: Final = 4.0
FAST: Final = {"preset": "ultrafast", "crf": "14"}

LOOKS: Final[dict[str, tuple[Look, Look]]] = {
    "obama": (Look(0.55, 0.33, 0.45), Look(0.53, 0.25, 0.30)),
    "obama2": (Look(0.42, 0.44, 0.80), Look(0.50, 0.40, 0.60)),
    "obama3": (Look(0.55, 0.28, 0.50), Look(0.55, 0.24, 0.34)),
    "biden": (Look(0.55, 0.22, 0.70), Look(0.60, 0.20, 0.50)),
    "astronaut": (Look(0.42, 0.34, 0.38), Look(0.42, 0.28, 0.30)),
    "ancelotti": (Look(0.74, 0.50, 0.30), Look(0.76, 0.40, 0.20)),
}
"""Camera moves towards one face of a photo."""
FILES: Final = {"astronaut": "astronaut.png", "ancelotti": "zidane.jpg"}
"""Where a name is not its photo's."""

# The astronaut's eyes: outer corner, inner corner, top of the opening, its bottom, middle and radius of the iris.
EYES: Final = (
    ((192.0, 101.5), (213.5, 103.5), (203.0, 96.5), (203.0, 104.8), (203.5, 100.5), 4.4),
    ((260.0, 103.5), (237.0, 105.5), (247.5, 98.5), (247.5, 107.3), (247.0, 102.8), 4.4),
)
ENLARGED: Final = 4
"""Painted in a copy enlarged by this, so that edges are smooth."""


def face_clip(name: str, *, mirrored: bool = False, seconds: float = 3.0) -> Clip:
    """A slow move towards one face. Truth: ``seconds``."""

    def build(path: Path) -> dict[str, Any]:
        picture = photo(FILES.get(name, f"{name}.jpg"))
        picture = np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture
        write_clip(path, _approach(lambda share: picture, name, seconds, mirrored=mirrored), fps=FPS, options=FAST)
        return {"seconds": seconds}

    return cached(f"{name}{'_mirrored' if mirrored else ''}", build, version=VERSION)


def _approach(
    picture: Callable[[float], Frame], name: str, seconds: float, *, mirrored: bool = False, fps: float = FPS
) -> Iterator[Frame]:
    """Frames of the move over the picture at each time."""
    start, end = LOOKS[name]
    count = round(seconds * fps)
    for number in range(count):
        look = between(start, end, number / max(1, count - 1))
        at = Look(1 - look.x, look.y, look.width) if mirrored else look
        yield seen(picture(number / fps), at, WIDTH, HEIGHT)


# --- painted eyes -----------------------------------------------------------------------------------------------------


def _enlarged() -> Frame:
    picture = photo("astronaut.png")
    return np.asarray(cv2.resize(picture, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC), np.uint8)


def _points(places: Sequence[tuple[float, float]]) -> npt.NDArray[np.int32]:
    return np.round((np.array(places) + 0.5) * ENLARGED).astype(np.int32)


def _opening(eye: tuple[Any, ...], grow: float = 0.0) -> npt.NDArray[np.int32]:
    """The outline of an eye: two arcs from corner to corner through its top and its bottom."""
    outer, inner, top, bottom = (np.array(place) for place in eye[:4])
    share = np.linspace(0, 1, 12)[:, None]
    line = outer + (inner - outer) * share
    bow = 4 * share * (1 - share)
    middle = (outer + inner) / 2
    lids = [line + bow * (place - middle + [0, sign * grow]) for place, sign in ((top, -1), (bottom, 1))]
    return _points([tuple(p) for p in np.concatenate([lids[0], lids[1][::-1]])])


def eyes_closed() -> Frame:
    """The astronaut with closed eyes: skin over the openings, lashes along the lower lids."""
    picture = _enlarged()
    for eye in EYES:
        skin = picture[109 * ENLARGED, int(eye[3][0] * ENLARGED)].tolist()
        cv2.fillPoly(picture, [_opening(eye, grow=2.0)], skin, cv2.LINE_AA)
        lid = _opening(eye)[12:]
        cv2.polylines(picture, [lid], False, (70, 45, 35), 3, cv2.LINE_AA)
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def eyes_turned(right_px: float) -> Frame:
    """The astronaut with both irises moved to the picture's right by so many pixels of the photo."""
    picture = _enlarged()
    for eye in EYES:
        mask = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_opening(eye)], 255, cv2.LINE_AA)
        painted = picture.copy()
        cv2.fillPoly(painted, [_opening(eye)], (222, 212, 205), cv2.LINE_AA)
        (x, y), radius = eye[4], eye[5]
        middle = tuple(int(v) for v in _points([(x + right_px, y)])[0])
        cv2.circle(painted, middle, round(radius * ENLARGED), (70, 48, 30), -1, cv2.LINE_AA)
        cv2.circle(painted, middle, round(radius * ENLARGED * 0.45), (15, 12, 10), -1, cv2.LINE_AA)
        cv2.circle(painted, (middle[0] - 4, middle[1] - 4), 4, (250, 250, 250), -1, cv2.LINE_AA)
        cover = (mask.astype(np.float32) / 255)[:, :, None]
        picture = np.asarray(picture * (1 - cover) + painted * cover, np.uint8)
        upper = _opening(eye)[:12]
        cv2.polylines(picture, [upper], False, (60, 40, 30), 3, cv2.LINE_AA)
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


BLINKS: Final = ((1.0, 1.4), (2.5, 2.9), (4.25, 4.65))
"""From, to, in seconds: longer than the samples' step, so that each can be seen."""


def blink_clip() -> Clip:
    """Six seconds of the astronaut, who blinks three times. Truth: ``blinks``, start and end of each."""

    def build(path: Path) -> dict[str, Any]:
        still, shut = eyes_turned(0.0), eyes_closed()

        def at(time_s: float) -> Frame:
            return shut if any(start <= time_s < end for start, end in BLINKS) else still

        write_clip(path, _approach(at, "astronaut", 6.0, fps=12.0), fps=12.0, options=FAST)
        return {"blinks": [list(blink) for blink in BLINKS]}

    return cached("blinks", build, version=VERSION)


TURNS_PX: Final = (-4.0, -2.0, 0.0, 2.0, 4.0)


def turned_clip() -> Clip:
    """The astronaut's irises at five places, a second each, in a still picture. Truth: ``turns``, start and pixels."""

    def build(path: Path) -> dict[str, Any]:
        pictures = [eyes_turned(turn) for turn in TURNS_PX]
        look = LOOKS["astronaut"][1]
        frames = (seen(picture, look, WIDTH, HEIGHT) for picture in pictures for _ in range(round(FPS)))
        write_clip(path, frames, fps=FPS, options=FAST)
        return {"turns": [[float(number), turn] for number, turn in enumerate(TURNS_PX)]}

    return cached("turned", build, version=VERSION)


def far_clip() -> Clip:
    """Two seconds of a portrait so far away that its face has about 30 px of 480. Truth: ``face_px``."""

    def build(path: Path) -> dict[str, Any]:
        small = cv2.resize(photo("obama.jpg"), (110, 137), interpolation=cv2.INTER_AREA)
        frame = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        frame[300 : 300 + small.shape[0], 200 : 200 + small.shape[1]] = small
        write_clip(path, (frame for _ in range(8)), fps=FPS, options=FAST)
        return {"face_px": 30}

    return cached("far", build, version=VERSION)


def group_clip() -> Clip:
    """Four seconds over a photo of six adults, from the right to the left. Truth: ``people``, six."""

    def build(path: Path) -> dict[str, Any]:
        picture = photo("t1.jpg")
        start, end = Look(0.80, 0.50, 0.389), Look(0.20, 0.50, 0.389)
        frames = (seen(picture, between(start, end, number / 31), WIDTH, HEIGHT) for number in range(32))
        write_clip(path, frames, fps=8.0, options=FAST)
        return {"people": 6}

    return cached("group", build, version=VERSION)


# --- no faces ---------------------------------------------------------------------------------------------------------


def faceless_clip() -> Clip:
    """A cat, noise, grey noise, a ramp, black and white, a second each. Truth: ``faces``: none."""

    def build(path: Path) -> dict[str, Any]:
        cat = photo("chelsea.png")
        ramp = np.linspace(0, 255, HEIGHT).astype(np.uint8)[:, None, None]
        gray = np.repeat(noise_frame(6, WIDTH, HEIGHT)[:, :, :1], 3, axis=2)
        pictures = [
            seen(cat, Look(0.45, 0.45, 0.5), WIDTH, HEIGHT),
            noise_frame(5, WIDTH, HEIGHT),
            gray,
            np.broadcast_to(ramp, (HEIGHT, WIDTH, 3)).copy(),
            np.zeros((HEIGHT, WIDTH, 3), np.uint8),
            np.full((HEIGHT, WIDTH, 3), 255, np.uint8),
        ]
        write_clip(path, (picture for picture in pictures for _ in range(round(FPS))), fps=FPS, options=FAST)
        return {"faces": []}

    return cached("faceless", build, version=VERSION)
