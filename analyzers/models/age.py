"""Tells the age of a face: HSE FaceRes (age_gender_tf2_224_deep), a MobileNet that answers for each of 100 years.

Savchenko, Efficient facial representations for age, gender and identity recognition in organizing photo albums using
multi-output ConvNet, PeerJ Computer Science 5:e197, 2019; trained on IMDB-WIKI. Its author states a mean absolute error
of 5.4 to 6.0 years on UTKFace. Input as in the author's facial_analysis.py: the face's box with a small margin, blue,
green, red less their means. (The package that the weights come from feeds red, green, blue without the means, which
reads people of 50 and more 10 to 20 years too young.) Of the answers only the age is computed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np

from analyzers.models.face_mesh import Mesh, cut_out
from analyzers.models.faces import Face, Picture
from analyzers.models.onnx import open_model
from analyzers.models.tfjs import convert

MODEL: Final = "faceres"
FILE: Final = "faceres.json"
WEIGHTS: Final = "faceres.bin"
OUTPUT: Final = "age_pred/Softmax"
INPUT_PX: Final = 224
MARGIN: Final = 1.2
"""The cut-out in sides of the face's box; the author adds 10 px on each side of a tight box."""
MEANS: Final = (103.939, 116.779, 123.68)
"""Of blue, green and red."""
ERROR_YEARS: Final = 5.7
"""Mean absolute error on UTKFace, in the middle of what the author states for several ways to cut out faces."""


class AgeNetwork:
    """The network on one thread.

    Args:
        path: `FILE` of the model store, with `WEIGHTS` beside it.

    Raises:
        ValueError: it is another graph.
    """

    def __init__(self, path: Path) -> None:
        self._session = open_model(convert(path, [OUTPUT]))
        self._input = self._session.get_inputs()[0].name

    def __call__(self, crop: Picture) -> float:
        """The expected age in years of a cut-out face [224, 224, 3] RGB (the mean of the answer, as in Rothe et al.,
        DEX: Deep EXpectation of apparent age, 2015)."""
        planes = (crop[:, :, ::-1].astype(np.float32) - np.array(MEANS, np.float32)).transpose(2, 0, 1)[None]
        shares = self._session.run([OUTPUT], {self._input: np.ascontiguousarray(planes)})[0][0]
        return float(1 + shares @ np.arange(len(shares)))


def face_crop(picture: Picture, face: Face) -> Picture:
    """What the network looks at: an upright square around the face [224, 224, 3]."""
    size = np.array(picture.shape[1::-1], np.float32)
    box = np.array(face.box, np.float32).reshape(2, 2) * size
    side = float((box[1] - box[0]).max()) * MARGIN
    return cut_out(picture, box.mean(axis=0), side, 0.0, INPUT_PX)[0]


def quality(crop: Picture, mesh: Mesh) -> float:
    """How well a cut-out face shows its age, 0..1: its size, sharpness, and how far it is turned to the camera."""
    import cv2

    from analyzers.methods.gaze import head_pose

    pose = head_pose(mesh.points)
    if pose is None:
        return 0.0
    frontal = math.cos(math.radians(pose.yaw)) * math.cos(math.radians(pose.pitch))
    gray = cv2.cvtColor(cv2.resize(crop, (56, 56), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    edges = float(cv2.Laplacian(gray, cv2.CV_32F).std()) / max(float(gray.std()), 1.0)
    return max(0.0, frontal) ** 2 * min(1.0, mesh.size_px / 120) * min(1.0, edges)
