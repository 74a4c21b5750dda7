"""People's poses in single pictures: which are to be believed, which are the same, how a pose moved to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analyzers.models.movenet import JOINT_SCORE_MIN, Points
from analyzers.models.tracking import Corners, Detection, Sample, camera_shift

JOINTS_MIN: Final = 5
BEST_JOINTS: Final = 6
EVIDENCE_MIN: Final = 0.4
"""Mean score of the six best joints. On crops of streets, animals and patterns 95 % are below 0.32."""
INSIDE_MIN: Final = 0.7
"""Share of the joints that must be in the person's box (a tenth larger): else they are a neighbour's."""
SAME_POSE: Final = 0.12
"""Mean distance of joints, in box sizes, below which two poses are of one person."""


@dataclass(frozen=True)
class Pose:
    """A person as `analyze` saw them: box and detector's score, and the 17 keypoints' bytes (float32 [17, 3])."""

    found: Detection
    keypoints: bytes

    @property
    def points(self) -> Points:
        """Keypoints [17, 3]."""
        return np.frombuffer(self.keypoints, np.float32).reshape(17, 3)


def size_of(box: Corners) -> float:
    """Square root of the area."""
    return float(max(0.0, (box[2] - box[0]) * (box[3] - box[1])) ** 0.5)


def is_evident(points: Points, box: Corners, score_min: float = EVIDENCE_MIN) -> bool:
    """Whether enough joints are really seen, and in the person's own box; the six best score at least `score_min`."""
    good = points[points[:, 2] >= JOINT_SCORE_MIN]
    if len(good) < JOINTS_MIN or float(np.sort(points[:, 2])[-BEST_JOINTS:].mean()) < score_min:
        return False
    across, down = (box[2] - box[0]) / 10, (box[3] - box[1]) / 10
    inside = (good[:, 0] >= box[0] - across) & (good[:, 0] <= box[2] + across)
    inside &= (good[:, 1] >= box[1] - down) & (good[:, 1] <= box[3] + down)
    return bool(inside.mean() >= INSIDE_MIN)


def carried(box: Corners, before: Points, after: Points) -> Corners:
    """The box of a person whose joints moved: shifted and scaled as those that are seen both times, in the picture."""
    both = (before[:, 2] >= JOINT_SCORE_MIN) & (after[:, 2] >= JOINT_SCORE_MIN)
    if both.sum() < JOINTS_MIN - 1:
        return box
    old, new = before[both, :2].astype(np.float64), after[both, :2].astype(np.float64)
    spread_old, spread_new = (float(p.std(axis=0).sum()) for p in (old, new))
    scale = float(np.clip(spread_new / max(spread_old, 1e-6), 0.8, 1.25))
    corners = (np.reshape(box, (2, 2)) - old.mean(axis=0)) * scale + new.mean(axis=0)
    x0, y0, x1, y1 = (float(value) for value in np.clip(corners, 0, 1).ravel())
    return x0, y0, x1, y1


def distinct(people: Sequence[Pose]) -> tuple[Pose, ...]:
    """Without poses that are another one's again; the detector's more certain person stays."""
    kept: list[Pose] = []
    for person in sorted(people, key=lambda p: (-p.found.score, p.found.box)):
        if all(_distance(person, other) > SAME_POSE for other in kept):
            kept.append(person)
    return tuple(kept)


def _distance(a: Pose, b: Pose) -> float:
    """Mean distance of the joints seen in both, in sizes of the smaller box; infinite where they share too few."""
    both = (a.points[:, 2] >= JOINT_SCORE_MIN) & (b.points[:, 2] >= JOINT_SCORE_MIN)
    if both.sum() < JOINTS_MIN - 1:
        return float("inf")
    apart = np.linalg.norm(a.points[both, :2] - b.points[both, :2], axis=1).mean()
    return float(apart) / max(min(size_of(a.found.box), size_of(b.found.box)), 1e-6)


def movement(before: Pose, after: Pose, samples: tuple[Sample, Sample], aspect: float) -> float | None:
    """Mean speed of the joints seen in both, in sizes of the person per second, without the camera's shift.

    Args:
        samples: of `before` and of `after`.
        aspect: the picture's width over its height.
    """
    a, b = before.points, after.points
    both = (a[:, 2] >= JOINT_SCORE_MIN) & (b[:, 2] >= JOINT_SCORE_MIN)
    gap_s = samples[1].pts_s - samples[0].pts_s
    if both.sum() < JOINTS_MIN - 1 or gap_s <= 0:
        return None
    shift = camera_shift(*samples)
    apart = (b[both, :2] - a[both, :2] - shift) * [aspect, 1.0]
    size = (size_of(before.found.box) + size_of(after.found.box)) / 2 * aspect**0.5
    return float(np.linalg.norm(apart, axis=1).mean() / max(size, 1e-6) / gap_s)
