"""Poses: what joints mean, who is believed, how movement is measured, and nobody where nobody is."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from analyzers.body_pose import BodyPose, PoseReport, steady_postures
from analyzers.methods.poses import Pose, carried, distinct, is_evident, movement
from analyzers.methods.posture import gestures_of, posture_of
from analyzers.models.litert import LiteNetwork
from analyzers.models.movenet import NAMES, crop
from analyzers.models.people import MoveNetReader
from analyzers.models.tracking import Detection, Sample
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import SCAN, FrameBatch
from tests.media.text_clips import photo

Places = dict[str, tuple[float, float]]

# A person who faces the camera: the person's left is on the picture's right. Units: a picture as wide as tall.
STANDING: Places = {
    "nose": (0.50, 0.15), "left_eye": (0.52, 0.13), "right_eye": (0.48, 0.13), "left_ear": (0.54, 0.14),
    "right_ear": (0.46, 0.14), "left_shoulder": (0.58, 0.25), "right_shoulder": (0.42, 0.25),
    "left_elbow": (0.60, 0.37), "right_elbow": (0.40, 0.37), "left_wrist": (0.60, 0.48), "right_wrist": (0.40, 0.48),
    "left_hip": (0.55, 0.50),
    "right_hip": (0.45, 0.50), "left_knee": (0.55, 0.70), "right_knee": (0.45, 0.70), "left_ankle": (0.55, 0.90),
    "right_ankle": (0.45, 0.90),
}  # fmt: skip


def points(changed: Places | None = None, unseen: tuple[str, ...] = ()) -> npt.NDArray[np.float32]:
    places = STANDING | (changed or {})
    return np.array([(*places[name], 0.1 if name in unseen else 0.8) for name in NAMES], np.float32)


def turned(degrees: float) -> npt.NDArray[np.float32]:
    """The standing person turned around the middle of the picture."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    rows = points()
    rows[:, :2] = (rows[:, :2] - 0.5) @ turn + 0.5
    return rows


@pytest.fixture(scope="module")
def analyzer() -> BodyPose:
    loaded = BodyPose()
    loaded.load("cpu", Profile("embedded", load_settings().models_dir))
    return loaded


def batch(*frames: npt.NDArray[np.uint8]) -> FrameBatch:
    pts_s = np.arange(len(frames), dtype=np.float64) * 0.25
    return FrameBatch("v", SCAN, 0, np.stack(frames), pts_s, last=True, end_s=len(frames) * 0.25)


def report_of(analyzer: BodyPose, *frames: npt.NDArray[np.uint8]) -> PoseReport:
    upstream = Upstream(VideoFacts(source="v", sha256="0", bytes=1, duration_s=1.0))
    return analyzer.summarize([analyzer.analyze(batch(*frames))], upstream)


# --- what joints mean -------------------------------------------------------------------------------------------------


def test_someone_upright_stands_and_the_same_turned_lies() -> None:
    assert posture_of(points(), 1.0) == "standing"
    assert posture_of(turned(90), 1.0) == posture_of(turned(-80), 1.0) == "lying"


def test_a_wide_picture_is_not_mistaken_for_a_wide_person() -> None:
    squeezed = turned(55)
    squeezed[:, 0] = (squeezed[:, 0] - 0.5) / 3 + 0.5  # the same in a picture three times as wide as tall
    assert posture_of(squeezed, 3.0) == posture_of(turned(55), 1.0)


def test_thighs_across_or_foreshortened_mean_sitting() -> None:
    aside = {
        "left_knee": (0.75, 0.52),
        "right_knee": (0.65, 0.52),
        "left_ankle": (0.75, 0.72),
        "right_ankle": (0.65, 0.72),
    }
    toward = {
        "left_knee": (0.56, 0.56),
        "right_knee": (0.44, 0.56),
        "left_ankle": (0.56, 0.76),
        "right_ankle": (0.44, 0.76),
    }
    assert posture_of(points(aside), 1.0) == posture_of(points(toward), 1.0) == "sitting"


def test_a_trunk_forward_over_straight_legs_means_bending() -> None:
    forward = {"left_shoulder": (0.80, 0.45), "right_shoulder": (0.74, 0.45)}
    assert posture_of(points(forward), 1.0) == "bending"


def test_without_knees_it_is_an_upper_body_and_without_shoulders_unknown() -> None:
    assert posture_of(points(unseen=NAMES[13:]), 1.0) == "upper_body"
    assert posture_of(points(unseen=NAMES[5:7]), 1.0) == "unknown"
    faint = points()
    faint[11:15, 2] = 0.3  # legs that the network squeezed into the picture
    assert posture_of(faint, 1.0) == "upper_body"


def test_raised_hands_are_counted() -> None:
    left = {"left_elbow": (0.62, 0.15), "left_wrist": (0.62, 0.05)}
    right = {"right_elbow": (0.38, 0.15), "right_wrist": (0.38, 0.05)}
    assert gestures_of(points(), 1.0) == []
    assert gestures_of(points(left), 1.0) == ["hand_raised"]
    assert gestures_of(points(left | right), 1.0) == ["both_hands_raised"]
    assert gestures_of(points(left, unseen=("left_wrist",)), 1.0) == []


def test_level_straight_arms_are_extended() -> None:
    left = {"left_elbow": (0.70, 0.26), "left_wrist": (0.82, 0.27)}
    right = {"right_elbow": (0.30, 0.26), "right_wrist": (0.18, 0.27)}
    assert gestures_of(points(left), 1.0) == ["arm_extended"]
    assert gestures_of(points(left | right), 1.0) == ["arms_wide"]
    assert gestures_of(points({"left_elbow": (0.70, 0.26), "left_wrist": (0.60, 0.27)}), 1.0) == []


def test_wrists_on_the_other_side_mean_crossed_arms_from_either_side() -> None:
    crossed = {"left_wrist": (0.42, 0.36), "right_wrist": (0.57, 0.36)}
    mirrored = points(crossed)
    mirrored[:, 0] = 1 - mirrored[:, 0]  # seen from the back, shoulders and wrists change sides together
    assert gestures_of(points(crossed), 1.0) == gestures_of(mirrored, 1.0) == ["arms_crossed"]
    assert gestures_of(points({"left_wrist": (0.42, 0.36)}), 1.0) == []


def test_one_other_sample_between_two_changes_no_posture() -> None:
    assert steady_postures({1: "standing", 2: "sitting", 3: "standing"}) == dict.fromkeys((1, 2, 3), "standing")
    assert steady_postures({1: "standing", 5: "sitting"}) == {1: "standing", 5: "sitting"}


# --- who is believed --------------------------------------------------------------------------------------------------


def pose(rows: npt.NDArray[np.float32], score: float = 0.9) -> Pose:
    box = (0.35, 0.1, 0.65, 0.95)
    return Pose(Detection("person", score, box), rows.tobytes())


def test_a_pose_needs_joints_and_these_in_its_own_box() -> None:
    box = (0.35, 0.1, 0.65, 0.95)
    assert is_evident(points(), box)
    assert not is_evident(points(unseen=NAMES[4:]), box)
    assert not is_evident(points(), (0.6, 0.1, 0.9, 0.95)), "these are a neighbour's joints"
    faint = points()
    faint[:, 2] = 0.3
    assert not is_evident(faint, box)


def test_one_pose_is_one_person() -> None:
    shifted = points()
    shifted[:, 0] += 0.02
    apart = points()
    apart[:, 0] += 0.3
    assert len(distinct([pose(points(), 0.6), pose(shifted, 0.9)])) == 1
    assert distinct([pose(points(), 0.6), pose(shifted, 0.9)])[0].found.score == 0.9
    assert len(distinct([pose(points()), pose(apart)])) == 2


def test_a_box_goes_with_its_joints() -> None:
    moved = points()
    moved[:, :2] = (moved[:, :2] - 0.5) * 0.9 + 0.55
    expected = tuple((value - 0.5) * 0.9 + 0.55 for value in (0.35, 0.1, 0.65, 0.95))
    assert carried((0.35, 0.1, 0.65, 0.95), points(), moved) == pytest.approx(expected, abs=1e-4)


def test_movement_is_in_sizes_per_second_and_without_the_cameras() -> None:
    rng = np.random.default_rng(1)
    wide = np.repeat(np.repeat(rng.integers(0, 256, (16, 32)).astype(np.uint8), 4, axis=0), 4, axis=1)
    here, there = (Sample(t, (), bytes(192), wide[:, x : x + 64].tobytes()) for t, x in ((0.0, 0), (0.25, 8)))
    size = (0.30 * 0.85) ** 0.5
    moved = points()
    moved[:, 0] -= 8 / 64
    assert movement(pose(points()), pose(moved), (here, there), 1.0) == pytest.approx(0, abs=0.1)
    still = Sample(0.25, (), bytes(192), here.small)
    assert movement(pose(points()), pose(moved), (here, still), 1.0) == pytest.approx(0.125 / size / 0.25, rel=0.01)
    assert movement(pose(points()), pose(points(unseen=NAMES[2:])), (here, still), 1.0) is None


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_people_in_a_photo_have_joints_postures_and_tracks(analyzer: BodyPose) -> None:
    street = photo("bus.jpg")[300:940]
    report = report_of(analyzer, street, street)
    first, second = report.segments
    standing = [person for person in first.persons if person.posture == "standing"]
    assert len(standing) >= 2
    assert [person.track for person in first.persons] == [person.track for person in second.persons]
    assert {person.movement for person in second.persons} == {0.0}
    for person in standing:
        assert person.keypoints[0][1] < person.keypoints[11][1] < person.keypoints[15][1], (
            "nose, hip, ankle from the top"
        )
    assert (report.summary.people, report.summary.movement_energy) == (len(first.persons), 0.0)


@pytest.mark.parametrize("kind", ["black", "white", "noise", "ramp"])
def test_nobody_is_invented(analyzer: BodyPose, kind: str) -> None:
    rng = np.random.default_rng(0)
    frame = {
        "black": np.zeros((480, 270, 3), np.uint8),
        "white": np.full((480, 270, 3), 255, np.uint8),
        "noise": np.asarray(rng.integers(0, 256, (853, 480, 3)), np.uint8),
        "ramp": np.repeat(np.tile(np.linspace(0, 255, 270).astype(np.uint8), (480, 1))[:, :, None], 3, axis=2),
    }[kind]
    report = report_of(analyzer, frame)
    assert report.segments[0].persons == []
    assert (report.summary.people, report.summary.movement_energy, report.summary.postures) == (0, None, {})


def test_the_answer_is_the_same_twice_and_from_another_worker(analyzer: BodyPose) -> None:
    item = batch(photo("zidane.jpg")[:, 700:1105], photo("zidane.jpg")[:, 720:1125])
    other = pickle.loads(pickle.dumps(BodyPose()))
    other.load("cpu", Profile("embedded", load_settings().models_dir))
    assert analyzer.analyze(item) == analyzer.analyze(item) == other.analyze(item)


def test_a_missing_model_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch"):
        BodyPose().load("cpu", Profile("embedded", tmp_path))


def test_a_crop_beyond_the_picture_is_black_there() -> None:
    frame = np.full((100, 60, 3), 200, np.uint8)
    square = crop(frame, -20.0, 0.0, 100.0)
    assert square.shape == (192, 192, 3)
    assert square[:, :36].max() == 0
    assert square[:, 40:150].min() == 200
    assert square[:, 156:].max() == 0
    assert crop(frame, 500.0, 0.0, 50.0).max() == 0


# --- LiteRT -----------------------------------------------------------------------------------------------------------


def test_networks_say_what_is_wrong_with_file_and_input(tmp_path: Path, analyzer: BodyPose) -> None:
    with pytest.raises(FileNotFoundError, match="no network"):
        LiteNetwork(tmp_path / "none.tflite")
    (tmp_path / "text.tflite").write_text("not a network")
    with pytest.raises(ValueError, match=r"text\.tflite is no network"):
        LiteNetwork(tmp_path / "text.tflite")
    reader = analyzer._reader
    assert isinstance(reader, MoveNetReader)
    network = reader._movenet._network
    with pytest.raises(ValueError, match="must be"):
        network(np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(ValueError, match="inputs are"):
        network({"another": np.zeros((192, 192, 3), np.uint8)})
