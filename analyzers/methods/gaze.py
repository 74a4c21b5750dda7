"""Where a face looks and whether its eyes are open, from the points of its mesh and irises.

Directions are seen from the camera, in degrees: yaw > 0 looks to the picture's right, pitch > 0 looks up, roll > 0 is a
head tilted clockwise in the picture; 0, 0 looks into the camera. They are relative to the line from the camera to the
face, so that somebody at the picture's edge who looks into the lens has 0, 0 too.

Head: the canonical face of MediaPipe (face_geometry, landmark basis of geometry_pipeline_metadata_landmarks.pbtxt,
Apache-2.0), fitted to the mesh's points by solvePnP. Eyes: the iris lies on a ball that turns behind the middle of the
eye's corners; its radius is that of the limbus's plane (11.1 mm; eye model of Microsoft's SEET). Openness: the eye
aspect ratio of Soukupova and Cech, Real-Time Eye Blink Detection using Facial Landmarks, 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyzers.models.face_mesh import LEFT_CORNERS, RIGHT_CORNERS, Eye, Floats

# fmt: off
_RIGHT_HALF: Final = {
    (33, 263): (-4.445859, 2.663991, 3.173422), (54, 284): (-6.279331, 6.615427, 1.425850),
    (67, 297): (-3.523964, 8.005976, 3.729163), (117, 346): (-5.258659, 0.945811, 2.974312),
    (119, 348): (-3.300681, 0.861641, 3.872784), (121, 350): (-1.820731, 1.467954, 4.224124),
    (127, 356): (-7.743095, 2.364999, -2.005167), (129, 358): (-1.785794, -0.978284, 4.850470),
    (132, 361): (-7.270895, -2.890917, -2.252455), (133, 362): (-1.856432, 2.585245, 3.757904),
    (136, 365): (-5.085276, -7.178590, 0.714711), (143, 372): (-6.407571, 2.236021, 1.560843),
    (147, 376): (-6.234883, -1.944430, 1.663542), (198, 420): (-1.246815, 0.230297, 5.681036),
    (205, 425): (-3.832928, -1.537326, 4.137731),
}
_MIDDLE: Final = {4: (0.0, -0.463170, 7.586580), 6: (0.0, 2.473255, 5.788627), 10: (0.0, 8.261778, 4.481535)}
"""The canonical face's points that move little with expressions, in cm: x to the person's left, y up, z forward. Those
of the right half with the number of their mirror image in the left."""
# fmt: on
DISTANCE: Final = 5.0
"""Assumed distance of the camera in heights of the face (1 m for a face of 20 cm): it only sets how strong perspective
is; 3 and 10 change the angles by less than two degrees."""

BALL_CM: Final = 1.11
"""From the ball's middle to the plane of the iris's rim."""
CORNERS_FORWARD_CM: Final = 0.4
"""How far the eye's corners lie in front of the ball's middle: half-way between SEET's eyelids (0) and MediaPipe's
canonical face with irises (0.75)."""
CORNERS_DOWN_CM: Final = 0.2
"""How far the eye's corners lie below the iris of an eye that looks straight ahead; measured on two portraits, which
the truth clips of gaze leave out."""
MESH_SHARE: Final = 0.5
"""How much the mesh's corners of the eyes count against the iris network's. Those are steadier in time, but follow the
iris by a third of its way, and so make a look aside too small."""
EYE_PX_MIN: Final = 10.0
"""A narrower eye shows no direction: one pixel of it is 8 degrees and more."""
CONTACT_DEGREES: Final = 12.0
"""Directions up to this far from the camera count as eye contact. People accept 4 to 5 degrees from straight (Gamer and
Hecht, Are you looking at me?, 2007); the rest is what an uncalibrated estimate errs (5 to 10 degrees)."""

CLOSED_SHARE: Final = 0.6
"""Eyes are closed below this share of their usual openness."""
CLOSED_RATIO: Final = 0.12
"""Or below this aspect ratio, whatever is usual (open eyes have 0.2 to 0.4)."""
BLINK_S_MAX: Final = 1.0
"""Longer spells are closed eyes and no blink: those take 0.1 to 0.4 s (sampled 4 times a second, up to 0.5 s more)."""


@dataclass(frozen=True)
class HeadPose:
    """Rotation [3, 3] and place [3] in cm of the canonical face before a camera whose matrix is [3, 3].

    The camera's axes: x to the picture's right, y down, z into it.
    """

    rotation: npt.NDArray[np.float64]
    place: npt.NDArray[np.float64]
    camera: npt.NDArray[np.float64]

    @property
    def yaw(self) -> float:
        """Degrees, to the picture's right."""
        return _direction(-self.rotation[:, 2])[0]

    @property
    def pitch(self) -> float:
        """Degrees, up."""
        return _direction(-self.rotation[:, 2])[1]

    @property
    def roll(self) -> float:
        """Degrees, clockwise in the picture."""
        return math.degrees(math.atan2(self.rotation[1, 0], self.rotation[0, 0]))


def head_pose(points: Floats) -> HeadPose | None:
    """The pose that explains the mesh's points [468, 3] best; None if there is none (points that are no face's)."""
    import cv2

    numbers, model = _model()
    seen = points[numbers, :2].astype(np.float64)
    middle = seen.mean(axis=0)
    focal = DISTANCE * max(1.0, float(np.linalg.norm(points[10, :2] - points[152, :2])))
    camera = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]], np.float64)
    try:
        found, turn, place = cv2.solvePnP(model, seen, camera, None, flags=cv2.SOLVEPNP_SQPNP)
        if found:
            found, turn, place = cv2.solvePnP(model, seen, camera, None, turn, place, True, cv2.SOLVEPNP_ITERATIVE)
    except cv2.error:
        return None
    rotation = np.asarray(cv2.Rodrigues(turn)[0], np.float64)
    if not found or not np.isfinite(rotation).all() or place[2, 0] <= 0:
        return None
    return HeadPose(rotation, np.asarray(place, np.float64).reshape(3), camera)


def gaze(pose: HeadPose, points: Floats, right: Eye, left: Eye) -> tuple[float, float]:
    """Yaw and pitch of where two eyes of a mesh with those points [468, 3] look, the wider one counting more."""
    total = np.zeros(3)
    for eye, corners in ((right, RIGHT_CORNERS), (left, LEFT_CORNERS)):
        between = MESH_SHARE * points[list(corners), :2].mean(axis=0) + (1 - MESH_SHARE) * eye.contour[[0, 8]].mean(
            axis=0
        )
        total += eye.width_px**2 * _looks(pose, between, eye.iris[0], corners)
    return _direction(total)


def _looks(pose: HeadPose, between: Floats, iris: Floats, corners: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The unit direction of one eye in the camera's axes, from the points between its corners and in its iris."""
    depth = float((pose.rotation @ ((_place(corners[0]) + _place(corners[1])) / 2) + pose.place)[2])
    offset = pose.rotation @ np.array([0, -CORNERS_DOWN_CM, CORNERS_FORWARD_CM])
    ball = _ray(pose, between) * depth + offset
    ray = _ray(pose, iris)
    ray /= np.linalg.norm(ray)
    along = float(ray @ ball)
    inside = along**2 - float(ball @ ball) + BALL_CM**2
    direction = ray * (along - math.sqrt(max(inside, 0.0))) - ball
    return np.asarray(direction / np.linalg.norm(direction), np.float64)


def _place(number: int) -> npt.NDArray[np.float64]:
    """A canonical point by its number in the mesh, in the camera's axes."""
    numbers, places = _model()
    return np.asarray(places[numbers.index(number)], np.float64)


def _ray(pose: HeadPose, point: Floats) -> npt.NDArray[np.float64]:
    """From the camera through a pixel, at depth 1."""
    (focal, _, x), (_, _, y), _ = pose.camera
    return np.array([(point[0] - x) / focal, (point[1] - y) / focal, 1.0])


def _direction(vector: npt.NDArray[Any]) -> tuple[float, float]:
    """Yaw and pitch in degrees of a direction in the camera's axes."""
    x, y, z = (float(value) for value in vector / np.linalg.norm(vector))
    return math.degrees(math.atan2(x, -z)), math.degrees(math.asin(max(-1.0, min(1.0, -y))))


@cache
def _model() -> tuple[list[int], npt.NDArray[np.float64]]:
    """Numbers and places [N, 3] of the canonical points, in the camera's axes (y down, z away)."""
    places = dict(_MIDDLE)
    for (right, left), (x, y, z) in _RIGHT_HALF.items():
        places[right], places[left] = (x, y, z), (-x, y, z)
    return list(places), np.array(list(places.values())) * [1, -1, -1]


# --- open and closed --------------------------------------------------------------------------------------------------


def openness(right: Eye, left: Eye) -> float:
    """The eye aspect ratio (mean distance of the lids over that of the corners), the wider eye counting more."""
    ratios = []
    for eye in (right, left):
        heights = np.linalg.norm(eye.contour[[3, 5]] - eye.contour[[11, 13]], axis=1)
        ratios.append(float(heights.mean()) / max(eye.width_px, 1e-6))
    return float(np.average(ratios, weights=[max(right.width_px, 1e-3) ** 2, max(left.width_px, 1e-3) ** 2]))


def readable(right: Eye, left: Eye) -> bool:
    """Whether at least one of two eyes is large enough to tell anything."""
    return max(right.width_px, left.width_px) >= EYE_PX_MIN


def closed(ratios: Sequence[float]) -> list[bool]:
    """Which samples of one person show closed eyes: its usual openness is the upper quartile of all."""
    if not ratios:
        return []
    usual = float(np.quantile(ratios, 0.75))
    return [ratio < max(CLOSED_RATIO, CLOSED_SHARE * usual) for ratio in ratios]


def blinks(times: Sequence[float], shut: Sequence[bool]) -> list[float]:
    """Start times of spells of closed eyes that follow open ones, are followed by open ones and last up to a second."""
    starts = []
    for number in range(1, len(shut)):
        if shut[number] and not shut[number - 1]:
            end = next((n for n in range(number, len(shut)) if not shut[n]), None)
            if end is not None and times[end] - times[number] <= BLINK_S_MAX:
                starts.append(times[number])
    return starts
