"""Faces: boxes, points, mesh and irises in photos; tracks through cuts and pans; directions and openness."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from analyzers.methods.gaze import HeadPose, blinks, closed, gaze, head_pose, openness
from analyzers.models import face_mesh
from analyzers.models.face_mesh import Eye, FaceMesh, IrisNetwork, cut_out, moved
from analyzers.models.faces import (
    FILE,
    LEFT_EYE,
    MODEL,
    NOSE,
    RIGHT_EYE,
    Face,
    FaceDetector,
    Small,
    anchors,
    blend,
    clipped,
    decode,
    follow,
    letterbox,
    small,
    still,
)
from analyzers.models.store import ModelStore
from benchmarks.truth.eye_tracking import drawn_eye
from pipeline.settings import load_settings
from tests.media.scenes import Look, scene, seen
from tests.media.text_clips import photo

Picture = npt.NDArray[np.uint8]
PORTRAIT = "obama.jpg"
PORTRAIT_BOX = (355, 130, 645, 415)
"""Of the face in the photo, drawn by eye, in pixels."""


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore(load_settings().models_dir)


@pytest.fixture(scope="module")
def detect(store: ModelStore) -> FaceDetector:
    return FaceDetector(store.path(MODEL, FILE))


@pytest.fixture(scope="module")
def mesh_of(store: ModelStore) -> FaceMesh:
    return FaceMesh(store.path(face_mesh.MODEL, face_mesh.MESH_FILE))


@pytest.fixture(scope="module")
def iris(store: ModelStore) -> IrisNetwork:
    return IrisNetwork(store.path(face_mesh.MODEL, face_mesh.IRIS_FILE))


def a_face(x: float, y: float, size: float = 0.2, score: float = 0.9) -> Face:
    return Face((x, y, x + size, y + size), ((x, y),) * 6, score)


def small_of(picture: Picture) -> Small:
    return small(*letterbox(picture))


# --- finding ----------------------------------------------------------------------------------------------------------


def test_a_face_is_found_at_its_place_with_its_points(detect: FaceDetector) -> None:
    picture = photo(PORTRAIT)
    (face,) = detect(picture)
    height, width = picture.shape[:2]
    wanted = np.array(PORTRAIT_BOX) / [width, height, width, height]
    np.testing.assert_allclose(face.box, wanted, atol=0.04)
    assert face.points[RIGHT_EYE][0] < face.points[NOSE][0] < face.points[LEFT_EYE][0]
    assert face.points[RIGHT_EYE][1] < face.points[NOSE][1]


@pytest.mark.parametrize(("height", "width"), [(400, 1200), (1400, 500), (560, 560)])
def test_the_pictures_shape_does_not_move_a_face(detect: FaceDetector, height: int, width: int) -> None:
    small_photo = cv2.resize(photo(PORTRAIT), (320, 400), interpolation=cv2.INTER_AREA)
    canvas = np.full((height, width, 3), 128, np.uint8)
    canvas[-400:, -320:] = small_photo
    (face,) = detect(canvas)
    left, top = width - 320, height - 400
    wanted = np.array(PORTRAIT_BOX).reshape(2, 2) * [320 / 910, 400 / 1137] + [left, top]
    np.testing.assert_allclose(np.array(face.box).reshape(2, 2) * [width, height], wanted, atol=25)


def test_a_cat_and_made_up_scenes_have_no_face(detect: FaceDetector, mesh_of: FaceMesh) -> None:
    pictures = [photo("chelsea.png"), *(scene(seed, 480, 480) for seed in range(3))]
    assert [mesh_of(p, f) for p in pictures for f in detect(p) if mesh_of(p, f) is not None] == []


def test_anchors_are_the_cells_middles_and_codes_are_relative_to_them() -> None:
    cells = anchors()
    assert cells.shape == (2304, 2)
    np.testing.assert_allclose(cells[[0, 1, 48]], np.array([[0.5, 0.5], [1.5, 0.5], [0.5, 1.5]]) / 48)
    codes = np.zeros((1, 16), np.float32)
    codes[0, :6] = 19.2, -9.6, 38.4, 57.6, 1.92, 3.84
    boxes, points = decode(codes, np.array([[0.5, 0.5]], np.float32))
    np.testing.assert_allclose(boxes[0], [0.5, 0.3, 0.7, 0.6], atol=1e-6)
    np.testing.assert_allclose(points[0, 0], [0.51, 0.52], atol=1e-6)


def test_overlapping_boxes_become_one_by_their_scores() -> None:
    boxes = np.array([[0, 0, 0.4, 0.4], [0.1, 0, 0.5, 0.4], [0.7, 0.7, 0.9, 0.9]], np.float32)
    points = np.repeat(boxes[:, None, :2], 6, axis=1)
    faces = blend(boxes, points, np.array([0.6, 0.9, 0.7], np.float32))
    assert [face.score for face in faces] == pytest.approx([0.9, 0.7])
    assert faces[0].box == pytest.approx((0.06, 0.0, 0.46, 0.4))
    assert faces[0].points[0] == pytest.approx((0.06, 0.0))


def test_a_still_picture_is_told_from_a_closed_eyelid() -> None:
    rng = np.random.default_rng(1)
    before, _ = letterbox(photo(PORTRAIT))
    noisy = np.clip(np.rint(before + rng.normal(0, 0.8, before.shape)), 0, 255).astype(np.uint8)
    lid = before.copy()
    lid[39:43, 84:90] = 150
    assert still(before, noisy)
    assert not still(before, lid)


def test_boxes_are_clipped_to_the_picture() -> None:
    assert clipped((-0.2, 0.5, 0.4, 1.3)) == (0.0, 0.5, 0.4, 1.0)


# --- following --------------------------------------------------------------------------------------------------------


def test_faces_keep_their_numbers_and_lose_them_at_a_cut() -> None:
    one, other = small_of(scene(1, 320, 320)), small_of(255 - scene(1, 320, 320))
    steps = [(n * 0.25, one if n < 3 else other, [a_face(0.1, 0.1), a_face(0.6, 0.1)]) for n in range(6)]
    assert follow(steps) == [[1, 2]] * 3 + [[3, 4]] * 3


def test_a_doubtful_face_that_is_seen_once_is_nobodys() -> None:
    picture = small_of(scene(1, 320, 320))
    steps = [(0.0, picture, [a_face(0.1, 0.1)]), (0.25, picture, [a_face(0.1, 0.1), a_face(0.7, 0.7, score=0.5)])]
    assert follow(steps) == [[1], [1, 0]]


def test_a_box_without_area_is_nobodys_and_takes_no_number() -> None:
    picture = small_of(scene(1, 320, 320))
    empty = Face((0.5, 0.5, 0.5, 0.5), ((0.5, 0.5),) * 6, 0.9)
    steps = [(n * 0.25, picture, [empty, a_face(0.1, 0.1)]) for n in range(3)]
    assert follow(steps) == [[0, 1]] * 3


def test_faces_are_followed_through_a_pan_of_more_than_their_size() -> None:
    world = scene(3, 1600, 800)
    pictures = [small_of(seen(world, Look(0.35 + 0.06 * n, 0.5, 0.3), 480, 480)) for n in range(4)]
    steps = [(n * 0.5, picture, [a_face(0.75 - 0.2 * n, 0.4, 0.12)]) for n, picture in enumerate(pictures)]
    assert follow(steps) == [[1]] * 4


# --- mesh and eyes ----------------------------------------------------------------------------------------------------


def test_a_cut_out_is_turned_and_mirrored_and_leads_back() -> None:
    picture = np.zeros((80, 100, 3), np.uint8)
    picture[30, 60] = 255
    middle = np.array([55.0, 35.0], np.float32)
    for turn, mirrored in ((0.0, False), (0.5, False), (-0.8, True)):
        crop, back = cut_out(picture, middle, 32.0, turn, 64, mirrored=mirrored)
        y, x = np.unravel_index(int(crop[:, :, 0].argmax()), (64, 64))
        at = moved(np.array([[x + 0.5, y + 0.5]], np.float32), back)[0]
        np.testing.assert_allclose(at, [60.5, 30.5], atol=0.5)


def test_the_meshs_points_lie_on_the_face(detect: FaceDetector, mesh_of: FaceMesh) -> None:
    picture = photo(PORTRAIT)
    mesh = mesh_of(picture, detect(picture)[0])
    assert mesh is not None
    assert mesh.points.shape == (468, 3)
    # Corners of the eyes and tip of the nose, read off the photo.
    np.testing.assert_allclose(mesh.points[[33, 263, 4], :2], [[422, 216], [572, 214], [500, 270]], atol=14)
    pose = head_pose(mesh.points)
    assert pose is not None
    assert abs(pose.yaw) < 6
    assert abs(pose.roll) < 4


def test_a_face_tilted_in_the_picture_has_that_roll_and_the_same_yaw(detect: FaceDetector, mesh_of: FaceMesh) -> None:
    picture = cv2.resize(photo("obama2.jpg"), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    poses = []
    for degrees in (0, 20):
        turn = cv2.getRotationMatrix2D((190.0, 265.0), -degrees, 1.0)
        turned = np.asarray(
            cv2.warpAffine(picture, turn, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT), np.uint8
        )
        mesh = mesh_of(turned, detect(turned)[0])
        assert mesh is not None
        pose = head_pose(mesh.points)
        assert pose is not None
        poses.append(pose)
    assert poses[1].roll - poses[0].roll == pytest.approx(20, abs=4)
    assert poses[1].yaw == pytest.approx(poses[0].yaw, abs=5)


def test_a_drawn_iris_is_found_where_it_was_drawn(iris: IrisNetwork) -> None:
    found = [float(iris.look(drawn_eye(px))[1][0, 0]) for px in (-5, -2, 0, 2, 5)]
    assert np.all(np.diff(found) > 1)
    np.testing.assert_allclose(np.array(found) - 32, [-5, -2, 0, 2, 5], atol=2)


def test_left_eyes_are_the_mirror_image_of_right_ones(
    detect: FaceDetector, mesh_of: FaceMesh, iris: IrisNetwork
) -> None:
    picture = photo("astronaut.png")
    flipped = np.ascontiguousarray(picture[:, ::-1])
    mesh, other = mesh_of(picture, detect(picture)[0]), mesh_of(flipped, detect(flipped)[0])
    assert mesh is not None
    assert other is not None
    left, right = iris(picture, mesh, left=True), iris(flipped, other, left=False)
    np.testing.assert_allclose(left.iris[0], [512 - right.iris[0, 0], right.iris[0, 1]], atol=1.5)
    np.testing.assert_allclose(iris(picture, mesh, left=False).iris[0], [204, 101], atol=2)


# --- directions -------------------------------------------------------------------------------------------------------


def facing(yaw: float, pitch: float) -> HeadPose:
    """A head 100 cm away that is turned to the picture's right and up, in degrees."""
    a, b = math.radians(yaw), math.radians(pitch)
    across = np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    up = np.array([[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]])
    camera = np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]])
    return HeadPose(across @ up, np.array([0.0, 0, 100]), camera)


def projected(pose: HeadPose, eye: tuple[float, float] = (0.0, 0.0)) -> tuple[npt.NDArray[np.float32], list[Eye]]:
    """Points of a canonical face in that pose, and its eyes, turned in the head by yaw and pitch in degrees."""
    from analyzers.methods import gaze as method

    numbers, places = method._model()
    points = np.zeros((468, 3), np.float32)

    def pixel(place: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y, z = pose.rotation @ place + pose.place
        return np.array([500 + 1000 * x / z, 500 + 1000 * y / z])

    for number, place in zip(numbers, places, strict=True):
        points[number, :2] = pixel(place)
    points[152, :2] = pixel(np.array([0, 9.4, -4.26]))
    eyes = []
    a, b = (math.radians(value) for value in eye)
    looks = np.array([math.sin(a) * math.cos(b), -math.sin(b), -math.cos(a) * math.cos(b)])
    for corners in (face_mesh.RIGHT_CORNERS, face_mesh.LEFT_CORNERS):
        outer, inner = (places[numbers.index(n)] for n in corners)
        ball = (outer + inner) / 2 + [0, -method.CORNERS_DOWN_CM, method.CORNERS_FORWARD_CM]
        contour = np.zeros((16, 2), np.float32)
        contour[0], contour[8] = pixel(outer), pixel(inner)
        eyes.append(Eye(contour, np.repeat(pixel(ball + method.BALL_CM * looks)[None], 5, axis=0).astype(np.float32)))
    return points, eyes


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (25, 0), (-25, 10), (0, -20), (10, 15)])
def test_head_poses_are_found_again(yaw: float, pitch: float) -> None:
    points, _ = projected(facing(yaw, pitch))
    pose = head_pose(points)
    assert pose is not None
    assert (pose.yaw, pose.pitch) == pytest.approx((yaw, pitch), abs=3)


@pytest.mark.parametrize("head", [(0.0, 0.0), (20.0, -8.0)])
@pytest.mark.parametrize("eye", [(0.0, 0.0), (15.0, 0.0), (-20.0, 5.0), (0.0, -12.0)])
def test_eyes_add_to_the_heads_direction(head: tuple[float, float], eye: tuple[float, float]) -> None:
    pose = facing(*head)
    points, (right, left) = projected(pose, eye)
    yaw, pitch = gaze(pose, points, right, left)
    assert yaw == pytest.approx(head[0] + eye[0], abs=3)
    assert pitch == pytest.approx(head[1] + eye[1], abs=3)


def test_points_that_are_no_faces_have_no_pose() -> None:
    assert head_pose(np.full((468, 3), np.nan, np.float32)) is None


# --- openness ---------------------------------------------------------------------------------------------------------


def an_eye(height: float, width: float = 30.0) -> Eye:
    contour = np.zeros((16, 2), np.float32)
    contour[8] = width, 0
    contour[[11, 13], 1], contour[[3, 5], 1] = -height / 2, height / 2
    return Eye(contour, np.zeros((5, 2), np.float32))


def test_openness_is_height_over_width_and_the_wider_eye_counts_more() -> None:
    assert openness(an_eye(9), an_eye(9)) == pytest.approx(0.3)
    assert openness(an_eye(9, 30), an_eye(3, 10)) == pytest.approx(0.3)
    assert openness(an_eye(9, 30), an_eye(0, 10)) == pytest.approx(0.27)


def test_eyes_are_closed_by_their_own_measure() -> None:
    assert closed([0.4, 0.4, 0.1, 0.38, 0.3]) == [False, False, True, False, False]
    assert closed([0.2, 0.21, 0.19, 0.08]) == [False, False, False, True]
    assert closed([0.05, 0.06, 0.05]) == [True, True, True]
    assert closed([]) == []


def test_a_blink_is_a_short_closure_between_open_eyes() -> None:
    times = [n * 0.25 for n in range(12)]
    shut = [True, False, True, True, False, False, True, False, True, True, True, True]
    assert blinks(times, shut) == [0.5, 1.5]
    long = [False, *([True] * 6), False]
    assert blinks(times[:8], long) == []
