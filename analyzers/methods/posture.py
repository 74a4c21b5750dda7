"""What keypoints say about a person: posture and gestures, by the geometry of the joints that are really seen.

Angles are between body parts and the vertical in the picture, so a camera that is turned or looks steeply down
misleads them. Limits lie half way between the textbook positions (an upright trunk 0 degrees, lying 90; thighs of
someone who stands 0, of someone who sits, seen from the side, 90 degrees).
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from analyzers.models.movenet import JOINT_SCORE_MIN, Points

Posture = Literal["standing", "sitting", "bending", "lying", "upper_body", "unknown"]
Gesture = Literal["hand_raised", "both_hands_raised", "arms_crossed", "arm_extended", "arms_wide"]

NOSE, EYES, SHOULDERS, ELBOWS, WRISTS = 0, (1, 2), (5, 6), (7, 8), (9, 10)
HIPS, KNEES, ANKLES = (11, 12), (13, 14), (15, 16)
"""Left, right (the person's own)."""

UPRIGHT_MAX_DEG: Final = 40.0
LYING_MIN_DEG: Final = 60.0
THIGH_SITTING_MIN_DEG: Final = 45.0
SHORT_THIGH: Final = 0.45
"""Someone who sits facing the camera shows thighs shorter than this part of the shins (standing: about 1)."""
STRAIGHT_ARM_DEG: Final = 150.0
"""At the elbow."""
LEG_EVIDENCE_MIN: Final = 0.36
"""Mean score of hip and knee of the better leg: below, legs out of sight were squeezed into the picture."""
LEVEL_ARM_DEG: Final = 35.0
"""From the horizontal."""

Place = npt.NDArray[np.float64]


class Body:
    """Keypoints in units of the picture's height, so that angles are right.

    Args:
        points: [17, 3] in 0..1 of the picture.
        aspect: the picture's width over its height.
    """

    def __init__(self, points: Points, aspect: float) -> None:
        self.places: Place = np.asarray(points[:, :2], np.float64) * [aspect, 1.0]
        self.seen = points[:, 2] >= JOINT_SCORE_MIN
        legs = [(points[hip, 2] + points[knee, 2]) / 2 for hip, knee in zip(HIPS, KNEES, strict=True)]
        self.has_legs = bool(max(legs) >= LEG_EVIDENCE_MIN)

    def joint(self, number: int) -> Place | None:
        """Where a joint is, None if it is not seen."""
        return self.places[number] if self.seen[number] else None

    def middle(self, pair: tuple[int, int]) -> Place | None:
        """The middle of two joints, or the one that is seen."""
        shown = [n for n in pair if self.seen[n]]
        return np.asarray(self.places[shown].mean(axis=0)) if shown else None


def lean(top: Place, bottom: Place) -> float:
    """Angle of a body part to the vertical, 0 (upright) to 180 degrees (upside down)."""
    x, y = bottom - top
    return float(np.degrees(np.arctan2(abs(x), y)))


def posture_of(points: Points, aspect: float) -> Posture:
    """The posture, ``upper_body`` where no knee is seen, ``unknown`` where the joints do not tell."""
    body = Body(points, aspect)
    shoulders, hips, knees, ankles = (body.middle(pair) for pair in (SHOULDERS, HIPS, KNEES, ANKLES))
    if shoulders is None:
        return "unknown"
    if hips is None or knees is None or not body.has_legs:
        return "upper_body"
    trunk, legs = lean(shoulders, hips), lean(hips, knees if ankles is None else ankles)
    if trunk >= LYING_MIN_DEG and abs(90 - legs) <= 90 - LYING_MIN_DEG:
        return "lying"
    if trunk <= UPRIGHT_MAX_DEG and _sits(body):
        return "sitting"
    if legs <= UPRIGHT_MAX_DEG:
        return "standing" if trunk <= UPRIGHT_MAX_DEG else "bending"
    return "unknown"


def _sits(body: Body) -> bool:
    """Whether no thigh that is seen hangs down."""
    sitting = []
    for hip, knee, ankle in zip(HIPS, KNEES, ANKLES, strict=True):
        places = [body.joint(number) for number in (hip, knee)]
        if places[0] is None or places[1] is None:
            continue
        across = THIGH_SITTING_MIN_DEG <= lean(places[0], places[1]) <= 180 - THIGH_SITTING_MIN_DEG
        foot = body.joint(ankle)
        short = foot is not None and float(np.linalg.norm(places[1] - places[0])) < SHORT_THIGH * float(
            np.linalg.norm(foot - places[1])
        )
        sitting.append(across or short)
    return bool(sitting) and all(sitting)


def gestures_of(points: Points, aspect: float) -> list[Gesture]:
    """What the arms do, as far as shoulders, elbows and wrists are seen."""
    body = Body(points, aspect)
    raised = [_is_raised(body, side) for side in (0, 1)]
    extended = [_is_extended(body, side) for side in (0, 1)]
    found: list[Gesture] = []
    if all(raised):
        found.append("both_hands_raised")
    elif any(raised):
        found.append("hand_raised")
    if all(extended):
        found.append("arms_wide")
    elif any(extended):
        found.append("arm_extended")
    if not found and _are_crossed(body):
        found.append("arms_crossed")
    return found


def _is_raised(body: Body, side: int) -> bool:
    """Whether a wrist is above the eyes (the nose, if these are not seen), and above its elbow."""
    wrist, elbow, shoulder = (body.joint(pair[side]) for pair in (WRISTS, ELBOWS, SHOULDERS))
    eyes = body.middle(EYES)
    level = eyes if eyes is not None else body.joint(NOSE)
    if wrist is None or elbow is None or shoulder is None or level is None:
        return False
    return bool(wrist[1] < level[1] and wrist[1] < elbow[1] and level[1] < shoulder[1])


def _is_extended(body: Body, side: int) -> bool:
    """Whether an arm is straight and level, away from the body, and not foreshortened to nothing."""
    wrist, elbow, shoulder, other = (
        body.joint(number) for number in (WRISTS[side], ELBOWS[side], SHOULDERS[side], SHOULDERS[1 - side])
    )
    if wrist is None or elbow is None or shoulder is None or other is None:
        return False
    upper, lower, whole = elbow - shoulder, wrist - elbow, wrist - shoulder
    lengths = float(np.linalg.norm(upper)), float(np.linalg.norm(lower))
    if min(lengths) < 1e-6 or sum(lengths) < float(np.linalg.norm(other - shoulder)):
        return False
    angle = 180 - np.degrees(np.arccos(np.clip(upper @ lower / (lengths[0] * lengths[1]), -1, 1)))
    level = np.degrees(np.arctan2(abs(whole[1]), abs(whole[0])))
    away = (whole[0] > 0) == (shoulder[0] > other[0])
    return bool(angle >= STRAIGHT_ARM_DEG and level <= LEVEL_ARM_DEG and away)


def _are_crossed(body: Body) -> bool:
    """Whether both wrists are on the other side of the trunk's middle, between shoulders and hips, elbows down."""
    shoulders = [body.joint(number) for number in SHOULDERS]
    wrists = [body.joint(number) for number in WRISTS]
    elbows = [body.joint(number) for number in ELBOWS]
    if any(place is None for place in (*shoulders, *wrists, *elbows)):
        return False
    left, right = (np.asarray(place) for place in shoulders)
    (wrist_l, wrist_r), (elbow_l, elbow_r) = (np.asarray(pair) for pair in (wrists, elbows))
    width = float(left[0] - right[0])  # negative where the person shows the back
    middle, top = float(left[0] + right[0]) / 2, float(left[1] + right[1]) / 2
    hips = body.middle(HIPS)
    bottom = float(hips[1]) if hips is not None else top + 2 * abs(width)
    if abs(width) < 1e-6 or not all(top < float(place[1]) < bottom for place in (wrist_l, wrist_r, elbow_l, elbow_r)):
        return False
    return bool((wrist_l[0] - middle) / width < 0 < (wrist_r[0] - middle) / width)
