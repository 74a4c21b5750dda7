"""The points of a face and of its eyes: MediaPipe's face mesh (468 points) and iris network, from their wheel.

Face mesh: Kartynnik et al., Real-time Facial Surface Geometry from Monocular Video, 2019. Iris: Ablavatski et al.,
Real-time Pupil Tracking from Monocular Video, 2020. How their inputs are cut out follows MediaPipe's graphs
face_detection_front_detection_to_roi.pbtxt, face_landmark_cpu.pbtxt and iris_landmark_cpu.pbtxt: squares turned so that
the eyes are level. Left and right are the person's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.models.faces import LEFT_EYE, RIGHT_EYE, Face, Picture
from analyzers.models.litert import LiteNetwork

MODEL: Final = "mediapipe_face_mesh"
MESH_FILE: Final = "face_landmark.tflite"
IRIS_FILE: Final = "iris_landmark.tflite"
MESH_PX, IRIS_PX = 192, 64
FACE_SCALE: Final = 1.5
"""The mesh looks at the face's box enlarged by this."""
EYE_SCALE: Final = 2.3
"""The iris network looks at a square of this many widths of the eye."""
PRESENCE_MIN: Final = 0.9
"""Least value of the mesh's flag "this is a face": background reaches 0.85, faces in profile start at about 0.9."""
RIGHT_CORNERS: Final = (33, 133)
LEFT_CORNERS: Final = (263, 362)
"""The mesh's points at the outer and the inner corner of the eyes."""
CONTOUR: Final = 16
"""How many of the iris network's points are the opening of the eye: outer corner, seven of the lower lid, inner corner,
seven of the upper lid (each lid from the outer corner on)."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Eye:
    """One eye in pixels of the picture: its opening [16, 2] (see `CONTOUR`), the iris's middle and rim [5, 2]."""

    contour: Floats
    iris: Floats

    @property
    def width_px(self) -> float:
        """From corner to corner."""
        return float(np.linalg.norm(self.contour[0] - self.contour[8]))


@dataclass(frozen=True)
class Mesh:
    """468 points [468, 3] of a face: x, y in pixels of the picture, z in the same unit, smaller is nearer.

    `presence` is the network's flag, 0..1.
    """

    points: Floats
    presence: float

    @property
    def size_px(self) -> float:
        """The shorter side of what the points cover. The detector's boxes are too large around small faces."""
        return float(np.ptp(self.points[:, :2], axis=0).min())


class FaceMesh:
    """The face mesh on one thread.

    Args:
        path: `MESH_FILE` of the model store.
    """

    def __init__(self, path: Path) -> None:
        self._network = LiteNetwork(path)
        self._points_name, self._flag_name = self._network.outputs

    def __call__(self, picture: Picture, face: Face) -> Mesh | None:
        """The mesh of a face that was found in an RGB picture [H, W, 3]; None where the mesh sees no face."""
        size = np.array(picture.shape[1::-1], np.float32)
        box = np.array(face.box, np.float32).reshape(2, 2) * size
        side = float((box[1] - box[0]).max()) * FACE_SCALE
        right, left = (np.array(face.points[n], np.float32) * size for n in (RIGHT_EYE, LEFT_EYE))
        crop, back = cut_out(picture, box.mean(axis=0), side, _turn(right, left), MESH_PX)
        answers = self._network(crop.astype(np.float32) / np.float32(255))
        presence = 1 / (1 + math.exp(-float(np.clip(answers[self._flag_name].reshape(-1)[0], -50, 50))))
        if presence < PRESENCE_MIN:
            return None
        points = answers[self._points_name].reshape(-1, 3)
        depth = points[:, 2:] * np.float32(side / MESH_PX)
        return Mesh(np.concatenate([moved(points[:, :2], back), depth], axis=1), presence)


class IrisNetwork:
    """The iris network on one thread.

    Args:
        path: `IRIS_FILE` of the model store.
    """

    def __init__(self, path: Path) -> None:
        self._network = LiteNetwork(path)
        self._contour_name, self._iris_name = self._network.outputs

    def __call__(self, picture: Picture, mesh: Mesh, *, left: bool) -> Eye:
        """One eye of a mesh in an RGB picture [H, W, 3]. The network knows right eyes only: left ones are mirrored."""
        outer, inner = (mesh.points[n, :2] for n in (LEFT_CORNERS if left else RIGHT_CORNERS))
        side = float(np.linalg.norm(outer - inner)) * EYE_SCALE
        turn = _turn(inner, outer) if left else _turn(outer, inner)
        crop, back = cut_out(picture, (outer + inner) / np.float32(2), side, turn, IRIS_PX, mirrored=left)
        contour, iris = self.look(crop)
        return Eye(moved(contour, back), moved(iris, back))

    def look(self, crop: Picture) -> tuple[Floats, Floats]:
        """Opening [16, 2] and iris [5, 2] in pixels of a cut-out right eye [64, 64, 3] RGB."""
        answers = self._network(crop.astype(np.float32) / np.float32(255))
        contour = answers[self._contour_name].reshape(-1, 3)[:CONTOUR, :2]
        return contour, answers[self._iris_name].reshape(-1, 3)[:, :2]


def cut_out(
    picture: Picture, middle: Floats, side: float, turn: float, size: int, *, mirrored: bool = False
) -> tuple[Picture, Floats]:
    """A square [size, size, 3] cut out of a picture, and the transform [2, 3] from its pixels back to the picture's.

    Args:
        middle, side: of the square, in pixels.
        turn: how far it is turned, radians, clockwise.
        mirrored: left and right are swapped.
    """
    import cv2

    scale = max(side, 1.0) / size
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    back = np.array([[-cos if mirrored else cos, -sin, 0], [-sin if mirrored else sin, cos, 0]], np.float32)
    back[:, 2] = middle - back[:, :2] @ np.full(2, size / 2, np.float32)
    of_pixels = back.copy()  # OpenCV counts from the middle of the first pixel, the networks' points from its edge
    of_pixels[:, 2] += back[:, :2] @ np.full(2, 0.5, np.float32) - np.float32(0.5)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(picture, of_pixels, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8), back


def moved(points: Floats, transform: Floats) -> Floats:
    """Points [N, 2] under an affine transform [2, 3]."""
    return np.asarray(points @ transform[:, :2].T + transform[:, 2], np.float32)


def _turn(start: Floats, end: Floats) -> float:
    """The turn in radians, clockwise in the picture, of the line from one point to another against the horizontal."""
    return math.atan2(float(end[1] - start[1]), float(end[0] - start[0]))
