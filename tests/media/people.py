"""Clips with people whose place, outline and identity are known: cut out of photos, pasted over made-up scenes.

The outlines were drawn by hand on the photos (to about 3 px of 500). Scored clips use seeds from 1000 on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from tests.media.clips import cached
from tests.media.encode import Clip, write_clip
from tests.media.scenes import Frame, Look, scene, seen
from tests.media.text_clips import photo

VERSION: Final = "people-2"
WIDTH, HEIGHT, FPS = 480, 854, 12.0

# fmt: off
OUTLINES: Final[dict[str, tuple[str, list[tuple[int, int]]]]] = {
    "fur coat": ("bus.jpg", [
        (100, 412), (108, 402), (125, 399), (145, 403), (157, 415), (156, 432), (153, 438), (152, 455), (148, 465),
        (150, 470), (163, 482), (174, 495), (176, 508), (182, 525), (186, 540), (198, 548), (201, 560), (200, 580),
        (194, 590), (180, 600), (183, 622), (187, 645), (193, 680), (192, 690), (184, 692), (178, 690), (178, 702),
        (180, 725), (186, 750), (187, 770), (192, 790), (200, 815), (202, 850), (213, 862), (225, 872), (240, 878),
        (246, 884), (242, 889), (225, 892), (205, 895), (178, 897), (176, 882), (177, 868), (176, 855), (172, 840),
        (163, 815), (157, 790), (150, 765), (143, 745), (135, 725), (127, 703), (122, 703), (118, 730), (112, 760),
        (106, 775), (99, 800), (92, 825), (88, 845), (86, 855), (95, 868), (106, 882), (106, 895), (98, 898), (75, 895),
        (55, 892), (51, 880), (56, 860), (58, 840), (60, 825), (70, 800), (78, 780), (76, 750), (73, 710), (72, 700),
        (58, 695), (62, 650), (65, 600), (62, 560), (64, 520), (66, 500), (80, 480), (98, 465), (100, 455), (106, 440),
        (104, 425),
    ]),
    "dark coat": ("bus.jpg", [
        (262, 420), (270, 408), (285, 406), (298, 412), (306, 425), (307, 442), (302, 452), (300, 470), (298, 476),
        (310, 480), (328, 487), (336, 500), (338, 515), (342, 535), (344, 550), (336, 566), (324, 567), (326, 590),
        (330, 630), (335, 660), (339, 690), (338, 700), (340, 715), (336, 735), (325, 745), (310, 758), (296, 772),
        (283, 780), (283, 790), (290, 800), (297, 815), (293, 819), (283, 812), (279, 820), (283, 830), (291, 843),
        (294, 855), (285, 859), (268, 857), (258, 845), (258, 825), (255, 810), (250, 785), (248, 760), (244, 730),
        (243, 705), (225, 700), (226, 690), (232, 660), (238, 620), (242, 600), (236, 580), (237, 560), (238, 545),
        (236, 525), (240, 510), (247, 505), (252, 495), (265, 487), (278, 480), (278, 470), (270, 460), (268, 448),
        (264, 440),
    ]),
    "two men": ("zidane.jpg", [
        (122, 720), (150, 690), (165, 650), (175, 600), (175, 560), (185, 510), (200, 450), (215, 400), (245, 345),
        (262, 328), (290, 322), (330, 322), (400, 320), (440, 310), (480, 302), (486, 290), (490, 260), (505, 235),
        (530, 213), (560, 203), (595, 208), (630, 220), (655, 250), (663, 290), (655, 320), (662, 350), (655, 368),
        (660, 380), (668, 395), (680, 408), (720, 425), (750, 432), (752, 400), (765, 360), (790, 325), (830, 295),
        (870, 270), (900, 250), (905, 235), (900, 190), (893, 150), (895, 110), (915, 70), (950, 50), (985, 43),
        (1025, 50), (1060, 75), (1073, 110), (1068, 150), (1052, 190), (1048, 220), (1035, 255), (1018, 280),
        (1020, 300), (1040, 320), (1060, 360), (1075, 395), (1090, 402), (1130, 403), (1152, 410), (1152, 418),
        (1120, 424), (1100, 435), (1095, 450), (1092, 500), (1085, 520), (1100, 540), (1110, 600), (1130, 670),
        (1145, 700), (1135, 705), (1110, 680), (1100, 720), (775, 720), (768, 660), (755, 600), (750, 540), (720, 520),
        (675, 510), (668, 570), (664, 630), (655, 680), (640, 720),
    ]),
}
"""Figure: photo and outline in its pixels. The two men overlap and are one figure."""
# fmt: on

Alpha = npt.NDArray[np.float32]


def outline_mask(name: str) -> Alpha:
    """Where the figure is in its whole photo, 0..1 [H, W]."""
    source, points = OUTLINES[name]
    mask = np.zeros(photo(source).shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.array(points)], 255)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.7), np.float32) / 255


@cache
def figure(name: str, height: int) -> tuple[Frame, Alpha]:
    """A figure of that height in pixels, and where it is opaque, 0..1."""
    source, points = OUTLINES[name]
    (x0, y0), (x1, y1) = np.min(points, axis=0), np.max(points, axis=0) + 1
    scale = height / (y1 - y0)
    picture, mask = photo(source)[y0:y1, x0:x1], outline_mask(name)[y0:y1, x0:x1]
    size = (max(1, round((x1 - x0) * scale)), height)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8), np.asarray(
        cv2.resize(mask, size, interpolation=how), np.float32
    )


def paste(frame: Frame, name: str, height: int, left: float, top: float) -> tuple[list[float], float]:
    """Draw a figure into the frame.

    Returns its box in 0..1 of the frame (cut at the edges) and the share of the frame that it covers.
    """
    picture, alpha = figure(name, height)
    tall, wide = frame.shape[:2]
    x, y = round(left), round(top)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + alpha.shape[1], wide), min(y + alpha.shape[0], tall)
    if x1 <= x0 or y1 <= y0:
        return [0.0, 0.0, 0.0, 0.0], 0.0
    opaque = alpha[y0 - y : y1 - y, x0 - x : x1 - x, None]
    under = frame[y0:y1, x0:x1]
    under[:] = under * (1 - opaque) + picture[y0 - y : y1 - y, x0 - x : x1 - x] * opaque + 0.5
    return [x0 / wide, y0 / tall, x1 / wide, y1 / tall], float(opaque.sum()) / (wide * tall)


def backdrop(seed: int, width: int = WIDTH, height: int = HEIGHT) -> Frame:
    """A soft made-up scene without things in it."""
    return np.asarray(cv2.GaussianBlur(scene(seed, width, height, shapes=0), (0, 0), 2), np.uint8)


# --- clips to follow people in ----------------------------------------------------------------------------------------

Seen = list[tuple[str, list[float], float]]
"""Who, box, visible share of it."""


def tracking_clip(kind: str, seed: int) -> Clip:
    """A clip in which identities are known: ``crossing``, ``occlusion``, ``fast_pan`` or ``cut``.

    Truth: ``people``, per frame and person {time, who, box, visible}.
    """
    draw = {"crossing": _crossing, "occlusion": _occlusion, "fast_pan": _fast_pan, "cut": _cut}[kind]

    def build(path: Path) -> dict[str, Any]:
        seconds, picture_at = draw(np.random.default_rng(seed), seed)
        truth: list[dict[str, Any]] = []

        def frames() -> Iterator[Frame]:
            for number in range(round(seconds * FPS)):
                frame, people = picture_at(number / FPS)
                truth.extend(
                    {"time": number / FPS, "who": who, "box": box, "visible": visible} for who, box, visible in people
                )
                yield frame

        write_clip(path, frames(), fps=FPS)
        return {"people": truth, "duration_s": seconds}

    return cached(f"{kind}_{seed}", build, version=VERSION)


Scene = tuple[float, Callable[[float], tuple[Frame, Seen]]]
"""Length in seconds, and the frame and who is in it at a time."""


def _crossing(rng: np.random.Generator, seed: int) -> Scene:
    """Two people walk past each other, one before the other."""
    back, height = backdrop(seed), int(rng.uniform(330, 430))
    speed, top = rng.uniform(80, 130, 2), rng.uniform(300, 380, 2)

    def at(time_s: float) -> tuple[Frame, Seen]:
        frame = back.copy()
        behind, _ = paste(frame, "fur coat", height, 10 + speed[0] * time_s, top[0])
        front, _ = paste(frame, "dark coat", height, WIDTH - 130 - speed[1] * time_s, top[1])
        return frame, [("fur coat", behind, 1 - _covered(behind, front)), ("dark coat", front, 1.0)]

    return 3.5, at


def _occlusion(rng: np.random.Generator, seed: int) -> Scene:
    """One walks behind a column: more than half of them is hidden for half a second."""
    back, height = backdrop(seed), int(rng.uniform(300, 380))
    who = ("fur coat", "dark coat")[seed % 2]
    wide = figure(who, height)[1].shape[1]
    # Half hidden while the column covers the front half or the back half, or both: its width over the speed.
    speed, top = 1.7 * wide, rng.uniform(320, 400)
    left = rng.uniform(170, 200)
    column = (left, left + 0.5 * speed)
    light = rng.uniform(60, 190, 3)

    def at(time_s: float) -> tuple[Frame, Seen]:
        frame = back.copy()
        box, _ = paste(frame, who, height, -0.3 * wide + speed * time_s, top)
        frame[:, round(column[0]) : round(column[1])] = light
        hidden = _covered(box, [column[0] / WIDTH, 0, column[1] / WIDTH, 1])
        return frame, [(who, box, 1 - hidden)] if box[2] > box[0] else []

    return 3.5, at


def _fast_pan(rng: np.random.Generator, seed: int) -> Scene:
    """Two people stand; the camera sweeps over them to and fro, by up to a picture's width in a second."""
    wide = 2 * WIDTH
    still = np.asarray(cv2.GaussianBlur(scene(seed, wide, HEIGHT, shapes=0), (0, 0), 2), np.uint8)
    height, top = int(rng.uniform(380, 450)), rng.uniform(300, 360)
    places = [("fur coat", wide * 0.36), ("dark coat", wide * 0.55)]
    boxes = {who: paste(still, who, height, left, top)[0] for who, left in places}
    sweep, start = rng.uniform(0.14, 0.17), rng.uniform(0, 1)

    def at(time_s: float) -> tuple[Frame, Seen]:
        x = 0.5 + sweep * np.sin(2 * np.pi * (time_s / 2.2 + start))
        frame = seen(still, Look(x, 0.5, 0.5), WIDTH, HEIGHT)
        shown: Seen = []
        for who, (x0, y0, x1, y1) in boxes.items():
            left, right = 2 * (x0 - x) + 0.5, 2 * (x1 - x) + 0.5
            inside = [min(max(left, 0.0), 1.0), y0, min(max(right, 0.0), 1.0), y1]
            shown.append((who, inside, (inside[2] - inside[0]) / (right - left)))
        return frame, shown

    return 3.5, at


def _cut(rng: np.random.Generator, seed: int) -> Scene:
    """After a cut somebody else stands at the same place."""
    backs = backdrop(seed), np.asarray(255 - backdrop(seed), np.uint8)
    height, left, top = int(rng.uniform(350, 450)), rng.uniform(60, 240), rng.uniform(300, 380)

    def at(time_s: float) -> tuple[Frame, Seen]:
        after = time_s >= 1.5
        frame = backs[after].copy()
        who = "dark coat" if after else "fur coat"
        box, _ = paste(frame, who, height, left + 20 * time_s, top)
        return frame, [(who, box, 1.0)]

    return 3.0, at


def _covered(box: list[float], cover: list[float]) -> float:
    """Share of a box behind another."""
    width = max(0.0, min(box[2], cover[2]) - max(box[0], cover[0]))
    height = max(0.0, min(box[3], cover[3]) - max(box[1], cover[1]))
    area = (box[2] - box[0]) * (box[3] - box[1])
    return width * height / area if area > 0 else 0.0
