"""Motion of the picture between two frames, from corners that are followed.

Corners (Shi and Tomasi 1994), spread evenly, are followed by pyramidal Lucas-Kanade (Bouguet 2000) there and back (the
forward-backward check of Kalal et al. 2010); RANSAC fits a similarity (shift, scale, turn). Where two motions compete,
the one that reaches further around the picture's border is the background's: a subject is inside.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

CORNERS_MAX: Final = 160
CORNER_QUALITY: Final = 0.01
CORNER_DISTANCE: Final = 0.045
"""Least distance of two corners in short sides (10 px of 224): a textured subject must not have them all."""
TRACKS_MIN: Final = 8
"""Fewer corners than these that agree say nothing (a similarity needs two, twice that is chance)."""
RETURN_PX: Final = 0.7
"""How near a corner followed there and back must come to where it began."""
RANSAC_PX: Final = 1.2
"""How near a corner must come to where the fitted motion takes it."""
SECOND_MIN: Final = 0.12
"""Least share of the tracks that a second motion must have to be considered."""
REACH_MIN: Final = 0.25
"""Of the reach of all corners; a mover or a caption that outlives a cut has less."""
PHASE_RESPONSE_MIN: Final = 0.1
OVERLAP_LIKE_MIN: Final = 0.7
"""Least peak of phase correlation, and least correlation of the overlap then, that are believed as a fast shift."""
STILL_LEVELS: Final = 3.0
"""Mean difference of two frames in levels below which a step without corners is stillness and no break."""


class Step(NamedTuple):
    """Motion of the picture between two frames.

    Args:
        start_s, end_s: the two frames' times.
        dx, dy: shift of the picture's centre in frame widths and heights, right and down positive.
        log_scale: natural logarithm of the growth.
        turn: of the picture in degrees, clockwise positive.
        agree: share of the corners that agree; negative where the step is a break.
    """

    start_s: float
    end_s: float
    dx: float
    dy: float
    log_scale: float
    turn: float
    agree: float


def step_between(before: npt.NDArray[Any], after: npt.NDArray[Any], start_s: float, end_s: float) -> Step:
    """Motion between two gray pictures [H, W] uint8."""
    import cv2

    height, width = before.shape
    short = min(width, height)
    corners = cv2.goodFeaturesToTrack(before, CORNERS_MAX, CORNER_QUALITY, max(2.0, CORNER_DISTANCE * short))
    looked_for = 0 if corners is None else len(corners)
    if corners is not None and looked_for >= TRACKS_MIN:
        origin, target = _tracks(before, after, corners)
        reach_min = REACH_MIN * _reach(corners.reshape(-1, 2), width, height)
        model, share = _background(origin, target, width, height, reach_min)
        if model is not None and share * len(origin) >= max(TRACKS_MIN, SECOND_MIN * looked_for):
            a, b = float(model[0, 0]), float(model[1, 0])
            center = np.array([width / 2, height / 2])
            shift = model[:, :2] @ center + model[:, 2] - center
            return Step(
                start_s,
                end_s,
                float(shift[0]) / width,
                float(shift[1]) / height,
                float(np.log(np.hypot(a, b))),
                float(np.degrees(np.arctan2(b, a))),
                share * len(origin) / looked_for,
            )
    if float(cv2.norm(before, after, cv2.NORM_L1)) / before.size < STILL_LEVELS:
        return Step(start_s, end_s, 0.0, 0.0, 0.0, 0.0, 0.0)
    return _fast_shift(before, after, start_s, end_s)


def _tracks(before: npt.NDArray[Any], after: npt.NDArray[Any], corners: npt.NDArray[Any]) -> tuple[Any, Any]:
    """Corners [N, 2] and where they went, of those that come back."""
    import cv2

    options: dict[str, Any] = {
        "winSize": (15, 15), "maxLevel": 3,
        "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.02),
    }  # fmt: skip
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, **options)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **options)
    near = np.abs(back - corners).reshape(-1, 2).max(axis=1) < RETURN_PX
    kept = (found.reshape(-1) > 0) & (returned.reshape(-1) > 0) & near
    return corners.reshape(-1, 2)[kept], there.reshape(-1, 2)[kept]


def _background(origin: Any, target: Any, width: int, height: int, reach_min: float) -> tuple[Any, float]:
    """The similarity [2, 3] of the background, and the share of the tracks that follow it; None if there is none."""
    import cv2

    candidates: list[tuple[float, Any, float]] = []
    left = np.ones(len(origin), bool)
    for _ in range(2):
        if left.sum() < TRACKS_MIN:
            break
        model, inside = cv2.estimateAffinePartial2D(
            origin[left], target[left], method=cv2.RANSAC, ransacReprojThreshold=RANSAC_PX, maxIters=300,
            confidence=0.99, refineIters=5,
        )  # fmt: skip
        if model is None:
            break
        numbers = np.flatnonzero(left)[inside.reshape(-1) > 0]
        candidates.append((_reach(origin[numbers], width, height), model, len(numbers) / len(origin)))
        left[numbers] = False
    candidates = candidates[:1] + [item for item in candidates[1:] if item[2] >= SECOND_MIN]
    if not candidates:
        return None, 0.0
    reach, model, share = max(candidates, key=lambda item: item[0])
    return (model, share) if reach >= reach_min else (None, 0.0)


def _reach(points: Any, width: int, height: int) -> float:
    """How far around the picture points [N, 2] lie: cells of 6 x 6 that they occupy, border cells counting twice."""
    column = np.clip((points[:, 0] * 6 / width).astype(int), 0, 5)
    row = np.clip((points[:, 1] * 6 / height).astype(int), 0, 5)
    cells = {(int(x), int(y)) for x, y in zip(column, row, strict=True)}
    return float(sum(2 if x in (0, 5) or y in (0, 5) else 1 for x, y in cells))


def _fast_shift(before: npt.NDArray[Any], after: npt.NDArray[Any], start_s: float, end_s: float) -> Step:
    """A shift too far for corners, by phase correlation (Kuglin and Hines 1975) if the overlap agrees, or a break."""
    import cv2

    size = (64, 64)
    window = cv2.createHanningWindow(size, cv2.CV_32F)
    one, two = (cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32) for gray in (before, after))
    (dx, dy), response = cv2.phaseCorrelate(one.copy(), two.copy(), window)  # it windows its arguments in place
    x, y = round(dx), round(dy)
    if response < PHASE_RESPONSE_MIN or max(abs(x), abs(y)) > size[0] // 2:
        return Step(start_s, end_s, 0.0, 0.0, 0.0, 0.0, -1.0)
    first = one[max(0, -y) : size[1] - max(0, y), max(0, -x) : size[0] - max(0, x)].reshape(-1)
    second = two[max(0, y) : size[1] - max(0, -y), max(0, x) : size[0] - max(0, -x)].reshape(-1)
    if first.std() < 1 or second.std() < 1 or float(np.corrcoef(first, second)[0, 1]) < OVERLAP_LIKE_MIN:
        return Step(start_s, end_s, 0.0, 0.0, 0.0, 0.0, -1.0)
    return Step(start_s, end_s, dx / size[0], dy / size[1], 0.0, 0.0, float(min(1.0, response)))
