"""Runs MoveNet Lightning: the 17 COCO keypoints of one person in a square crop of a picture.

Model: MoveNet single pose (Google, 2021; model card: MoveNet.SinglePose). It answers for the person in the middle of
the crop and always gives 17 points: how far to believe them is in their scores, and from 0.25 on they are to be trusted
(the card's own demonstrations draw them from there, and it held on photos).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.models.litert import LiteNetwork
from analyzers.models.tracking import Corners

INPUT_PX: Final = 192
MARGIN: Final = 1.25
"""The crop's side over the box's longer side (the card's crop algorithm takes 1.2 around the joints)."""
JOINT_SCORE_MIN: Final = 0.25

NAMES: Final = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""Left and right are the person's own."""

Points = npt.NDArray[np.float32]
"""[17, 3]: x and y in 0..1 of the picture, score 0..1."""


class MoveNet:
    """A loaded network.

    Args:
        path: the `.tflite` file.
    """

    def __init__(self, path: Path) -> None:
        self._network = LiteNetwork(path)

    def __call__(self, frame: npt.NDArray[np.uint8], box: Corners) -> Points:
        """The keypoints of the person in a box (0..1) of an RGB picture; what lies outside of it has the score 0."""
        tall, wide = frame.shape[:2]
        side = MARGIN * max((box[2] - box[0]) * wide, (box[3] - box[1]) * tall, 8.0)
        left, top = (box[0] + box[2]) / 2 * wide - side / 2, (box[1] + box[3]) / 2 * tall - side / 2
        (answer,) = self._network(crop(frame, left, top, side)).values()
        rows = answer.reshape(17, 3)
        points = np.stack([(rows[:, 1] * side + left) / wide, (rows[:, 0] * side + top) / tall, rows[:, 2]], axis=1)
        outside = (points[:, :2] < 0) | (points[:, :2] > 1)
        points[outside.any(axis=1), 2] = 0
        points[:, :2] = np.clip(points[:, :2], 0, 1)
        return np.asarray(np.clip(points, 0, 1), np.float32)


def crop(frame: npt.NDArray[np.uint8], left: float, top: float, side: float) -> npt.NDArray[np.uint8]:
    """A square of the picture at the network's size, [192, 192, 3], black where it reaches beyond the picture."""
    import cv2

    tall, wide = frame.shape[:2]
    scale = INPUT_PX / side
    x0, y0 = max(0, int(left)), max(0, int(top))
    x1, y1 = min(wide, int(np.ceil(left + side))), min(tall, int(np.ceil(top + side)))
    canvas = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
    if x1 <= x0 or y1 <= y0:
        return canvas
    across, down = (min(max(round((a - b) * scale), 0), INPUT_PX - 1) for a, b in ((x0, left), (y0, top)))
    width = min(INPUT_PX - across, max(1, round((x1 - x0) * scale)))
    height = min(INPUT_PX - down, max(1, round((y1 - y0) * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[down : down + height, across : across + width] = cv2.resize(
        frame[y0:y1, x0:x1], (width, height), interpolation=how
    )
    return canvas
