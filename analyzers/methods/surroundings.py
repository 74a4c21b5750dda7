"""What is behind people, as far as colour, texture and place tell: sky, plants, drawn surfaces; in or out of doors.

Vegetation: excess green (Woebbecke et al. 1995, Trans. ASAE 38) above 0.1 with texture, since painted green has none.
Sky: blue, smooth, from the top edge down, lighter towards the horizon; a grey sky looks like a wall and is left out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Setting = Literal["indoor", "outdoor", "graphic", "unknown"]
Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.uint8]

SIDE_PX: Final = 128
"""Pictures are looked at squeezed to this square."""
EXCESS_GREEN_MIN: Final = 0.1
GREEN_LIGHT_MIN: Final = 30
GREEN_HUES: Final = (25, 80)
"""OpenCV's half degrees: 50 (yellowish) to 160 degrees (not yet teal)."""
GRAIN_LEVELS_MIN: Final = 1.5
"""Mean step from pixel to pixel against a 3x3 mean: leaves and grass have more, walls, gradients and logos less."""
SKY_HUES: Final = (95, 130)
"""OpenCV's half degrees: 190 to 260 degrees."""
SKY_SATURATION_MIN, SKY_LIGHT_MIN = 28, 100
SKY_LEVELS_MAX: Final = 4.0
SKY_TOP_MIN: Final = 0.25
"""Share of the top edge that a sky reaches."""
SKY_SLOPE_MIN: Final = 8.0
"""How many levels lighter the lower quarter is than the upper."""
SKY_MIN, VEGETATION_MIN = 0.05, 0.03
"""Share of the picture; less is not claimed."""
FLAT_LEVELS_MAX: Final = 0.6
GRAPHIC_FLAT_MIN: Final = 0.6
GRAPHIC_CONTRAST_MIN: Final = 12.0

OUTDOOR: Final = frozenset(("car", "airplane", "bus", "train", "truck", "boat", "traffic light", "stop sign"))
INDOOR: Final = frozenset(
    ("couch", "bed", "toilet", "tv", "laptop", "keyboard", "microwave", "oven", "sink", "refrigerator", "dining table")
)
"""COCO's labels. Chairs, cups, bicycles and motorcycles are found in both."""
OBJECT_SCORE_MIN: Final = 0.5
AREAS_S, OBJECTS_S = 1.0, 3.0
"""How far around a picture areas and objects tell its setting."""
SETTING_SCORE_MIN: Final = 0.5
AHEAD_MIN: Final = 1.5
"""How much stronger one setting's evidence must be than the other's."""


Decision = tuple[Setting, float, str]
"""Setting, score 0..1, reason."""


@dataclass(frozen=True)
class Evidence:
    """One reason for a setting, with its strength 0..1."""

    setting: Setting
    what: str
    score: float


def squeezed(frame: Picture) -> Picture:
    """An RGB picture at 128x128."""
    import cv2

    return np.asarray(cv2.resize(frame, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), np.uint8)


def roughness(picture: Picture) -> npt.NDArray[np.float32]:
    """Standard deviation of the light in 5x5 pixels around each, levels."""
    import cv2

    light = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean, square = cv2.blur(light, (5, 5)), cv2.blur(light * light, (5, 5))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), np.float32)


def vegetation(picture: Picture, free: Mask) -> Mask:
    """Where leaves and grass are in what is `free`, [128, 128]; nowhere, if too little."""
    import cv2

    values = picture.astype(np.float32)
    total = np.maximum(values.sum(axis=2), 1.0)
    green = (3 * values[:, :, 1] - total) / total >= EXCESS_GREEN_MIN  # 2g - r - b of chromatic coordinates
    hue, _, light = np.moveaxis(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV), 2, 0)
    green &= (hue >= GREEN_HUES[0]) & (hue <= GREEN_HUES[1]) & (light >= GREEN_LIGHT_MIN)
    # Grain in most of the surroundings: the edges of a drawn green area have it too, its inside does not.
    fine = np.abs(values[:, :, 1] - cv2.blur(values[:, :, 1], (3, 3))) >= GRAIN_LEVELS_MIN
    grainy = cv2.blur(fine.astype(np.float32), (9, 9)) >= 0.5
    return _enough(green & grainy & free, VEGETATION_MIN)


def sky(picture: Picture, rough: npt.NDArray[np.float32], free: Mask) -> Mask:
    """Where a blue sky is in what is `free`, [128, 128]; nowhere, if too little or in doubt."""
    import cv2

    hue, saturation, light = np.moveaxis(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV), 2, 0)
    blue = (hue >= SKY_HUES[0]) & (hue <= SKY_HUES[1]) & (saturation >= SKY_SATURATION_MIN) & (light >= SKY_LIGHT_MIN)
    smooth = blue & free & (rough <= SKY_LEVELS_MAX)
    if smooth[0].mean() < SKY_TOP_MIN:
        return np.zeros(blue.shape, bool)
    _, labels = cv2.connectedComponents(smooth.astype(np.uint8))
    found = np.zeros(blue.shape, bool)
    grey = picture.mean(axis=2)
    for label in np.unique(labels[0][labels[0] > 0]):
        region = labels == label
        if region[0].mean() < SKY_TOP_MIN:
            continue
        rows = np.flatnonzero(region.any(axis=1))
        upper, lower = rows[0] + len(rows) // 4, rows[-1] - len(rows) // 4
        high, low = grey[: upper + 1][region[: upper + 1]], grey[lower:][region[lower:]]
        if len(high) and len(low) and low.mean() - high.mean() >= SKY_SLOPE_MIN:
            found |= region
    return _enough(found, SKY_MIN)


def _enough(mask: Mask, least: float) -> Mask:
    """The mask without specks, or nothing if it covers less than that share."""
    import cv2

    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)
    return opened if opened.mean() >= least else np.zeros_like(mask)


def drawn(picture: Picture, rough: npt.NDArray[np.float32]) -> float:
    """0..1: how much of a picture is perfectly even, if it shows something at all: screens, slides, drawings."""
    flat = float((rough <= FLAT_LEVELS_MAX).mean())
    contrast = float(picture.mean(axis=2).std())
    return flat if flat >= GRAPHIC_FLAT_MIN and contrast >= GRAPHIC_CONTRAST_MIN else 0.0


def evidence_of_areas(shares: Mapping[str, float], drawn_share: float) -> list[Evidence]:
    """What the areas of one picture say about the setting."""
    found = []
    for name, enough in (("sky", 0.05), ("vegetation", 0.15)):
        share = shares.get(name, 0.0)
        if share >= enough:
            found.append(Evidence("outdoor", name, min(0.9, 0.5 + share)))
    if drawn_share > 0 and shares.get("person", 0.0) < 0.05:
        found.append(Evidence("graphic", "even surfaces", drawn_share))
    return found


def evidence_of_objects(scores: Mapping[str, float]) -> list[Evidence]:
    """What objects (best score by COCO label) say about the setting."""
    found = []
    for label, score in scores.items():
        if score >= OBJECT_SCORE_MIN and (label in OUTDOOR or label in INDOOR):
            found.append(Evidence("outdoor" if label in OUTDOOR else "indoor", label, score))
    return found


def decide(evidence: Sequence[Evidence]) -> Decision:
    """The setting, its score and the reason.

    Reasons of different kinds add up as independent ones do (1 - product of the doubts); one must be clearly ahead.
    """
    best: dict[tuple[Setting, str], float] = {}
    for item in evidence:
        key = (item.setting, item.what)
        best[key] = max(best.get(key, 0.0), item.score)
    doubts: dict[Setting, float] = {}
    for (setting, _), score in best.items():
        doubts[setting] = doubts.get(setting, 1.0) * (1 - score)
    scores = sorted(((1 - doubt, setting) for setting, doubt in doubts.items()), reverse=True)
    if not scores or scores[0][0] < SETTING_SCORE_MIN:
        return "unknown", 0.0, "neither sky, plants nor objects that tell"
    score, setting = scores[0]
    reasons = sorted(((value, what) for (name, what), value in best.items() if name == setting), reverse=True)
    said = ", ".join(f"{what} {value:.2f}" for value, what in reasons)
    if len(scores) > 1 and score < AHEAD_MIN * scores[1][0]:
        return "unknown", 0.0, f"{said} against signs of {scores[1][1]}"
    return setting, min(score, 0.99), said


def settings_over_time(
    times: Sequence[float],
    shots: Sequence[int],
    areas: Sequence[Sequence[Evidence]],
    objects: Sequence[Sequence[Evidence]],
) -> list[Decision]:
    """Each picture's setting, from those around it in its shot; a flash has none.

    Areas count by their mean over a window, since dissolves mix shots; objects are looked for rarely and count once.

    Args:
        times: of the pictures, in seconds.
        shots: each picture's shot number.
        areas, objects: what each picture's areas and objects tell.
    """
    lengths = Counter(shots)
    decided: list[Decision] = []
    for number, time_s in enumerate(times):
        around = range(bisect_left(times, time_s - OBJECTS_S), bisect_right(times, time_s + OBJECTS_S))
        near = [n for n in around if shots[n] == shots[number]]
        window = [n for n in near if abs(times[n] - time_s) <= AREAS_S]
        sums: dict[tuple[Setting, str], float] = {}
        for item in (item for n in window for item in areas[n]):
            sums[item.setting, item.what] = sums.get((item.setting, item.what), 0.0) + item.score / len(window)
        evidence = [Evidence(setting, what, score) for (setting, what), score in sums.items()]
        evidence += [item for n in near for item in objects[n]]
        alone = lengths[shots[number]] == 1 and len(times) > 1
        decided.append(decide([] if alone else evidence))
    return decided
