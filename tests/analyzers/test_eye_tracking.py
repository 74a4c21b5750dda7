"""Eye tracking: who looks where in photos and their mirror images, blinks, and nothing where there is nobody."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from analyzers.eye_tracking import EyeTracking, GazePart, GazeReport, GazeSample, Seen
from analyzers.models.faces import Face, letterbox, small
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import SCAN, FrameBatch
from tests.media.face_clips import LOOKS, eyes_closed, eyes_turned
from tests.media.scenes import scene, seen
from tests.media.text_clips import photo

Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def analyzer() -> EyeTracking:
    loaded = EyeTracking()
    loaded.load("cpu", Profile("embedded", load_settings().models_dir))
    return loaded


def upstream() -> Upstream:
    return Upstream(VideoFacts(source="v", sha256="0", bytes=1, duration_s=1.0))


def batch(*frames: Picture) -> FrameBatch:
    pts_s = np.arange(len(frames), dtype=np.float64) * 0.25
    return FrameBatch("v", SCAN, 0, np.stack(frames), pts_s, last=True, end_s=len(frames) * 0.25)


def report_of(analyzer: EyeTracking, *frames: Picture) -> GazeReport:
    return analyzer.summarize([analyzer.analyze(batch(*frames))], upstream())


def view(name: str) -> Picture:
    """A photo with a short side of 480 px."""
    picture = photo(name)
    scale = 480 / min(picture.shape[:2])
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def mirrored(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[:, ::-1])


def astronaut(picture: Picture) -> Picture:
    return seen(picture, LOOKS["astronaut"][1], 480, 853)


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_look_into_the_camera_is_eye_contact_and_a_look_aside_is_none(analyzer: EyeTracking) -> None:
    into, aside = (report_of(analyzer, view(name)) for name in ("obama3.jpg", "obama2.jpg"))
    (face,) = into.segments[0].faces
    assert face.eye_contact
    assert face.source == "eyes"
    assert (face.yaw, face.pitch) == pytest.approx((0, 0), abs=8)
    assert face.head_pitch > 8  # his chin is up, his eyes are not
    (face,) = aside.segments[0].faces
    assert not face.eye_contact
    assert face.yaw < -15
    assert (into.summary.eye_contact_share, aside.summary.eye_contact_share) == (1.0, 0.0)


def test_in_a_mirrored_picture_yaw_and_roll_change_their_sign_and_nothing_else(analyzer: EyeTracking) -> None:
    picture = view("obama2.jpg")
    (face,), (other,) = (report_of(analyzer, p).segments[0].faces for p in (picture, mirrored(picture)))
    angles = np.array([face.yaw, face.pitch, face.head_yaw, face.head_pitch, face.head_roll])
    expected = [-other.yaw, other.pitch, -other.head_yaw, other.head_pitch, -other.head_roll]
    np.testing.assert_allclose(angles, expected, atol=6)
    assert face.openness == pytest.approx(other.openness, abs=0.05)
    assert face.box[0] == pytest.approx(1 - other.box[2], abs=0.04)


def test_a_painted_look_to_the_side_moves_yaw_that_way(analyzer: EyeTracking) -> None:
    left, right = (report_of(analyzer, astronaut(eyes_turned(px))).segments[0].faces[0] for px in (-4, 4))
    assert left.yaw < -12 < 12 < right.yaw
    assert left.head_yaw == pytest.approx(right.head_yaw, abs=3)


def test_a_painted_blink_is_seen_and_keeps_the_contact_from_before(analyzer: EyeTracking) -> None:
    shown, shut = astronaut(eyes_turned(0.0)), astronaut(eyes_closed())
    report = report_of(analyzer, shown, shown, shut, shown)
    faces = [segment.faces[0] for segment in report.segments]
    assert [face.blink for face in faces] == [False, False, True, False]
    assert [face.eye_contact for face in faces] == [True] * 4
    assert faces[2].source == "head"
    assert report.summary.blinks == 1
    assert report.summary.people[0].blinks == [0.5]


def test_small_faces_have_a_head_and_no_gaze(analyzer: EyeTracking) -> None:
    report = report_of(analyzer, view("bus.jpg"))
    assert report.segments[0].faces
    for face in report.segments[0].faces:
        assert (face.source, face.openness, face.eye_contact) == ("head", None, False)
        assert (face.yaw, face.pitch) == (face.head_yaw, face.head_pitch)
    assert report.summary.readable_s == 0.0
    assert report.summary.eye_contact_share is None
    assert report.summary.face_share == 1.0


def test_several_faces_are_told_apart(analyzer: EyeTracking) -> None:
    report = report_of(analyzer, view("t1.jpg"), view("t1.jpg"))
    assert len(report.segments[0].faces) >= 5
    assert report.segments[0].faces == report.segments[1].faces
    sizes = [(f.box[2] - f.box[0]) * (f.box[3] - f.box[1]) for f in report.segments[0].faces]
    assert sizes == sorted(sizes, reverse=True)
    assert len({face.track for face in report.segments[0].faces}) == len(sizes)


SIZES = [(1, 1), (27, 48), (853, 480), (40, 640)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("kind", ["black", "white", "noise", "ramp", "scene"])
def test_nobody_is_invented(analyzer: EyeTracking, kind: str, height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    frame = {
        "black": np.zeros((height, width, 3), np.uint8),
        "white": np.full((height, width, 3), 255, np.uint8),
        "noise": np.asarray(rng.integers(0, 256, (height, width, 3)), np.uint8),
        "ramp": np.repeat(np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))[:, :, None], 3, axis=2),
        "scene": scene(5, max(width, 8), max(height, 8)),
    }[kind]
    report = report_of(analyzer, frame)
    assert report.segments[0].faces == []
    assert report.summary.face_share == 0.0
    assert report.summary.eye_contact_share is None


def test_an_unchanged_picture_is_looked_at_once(analyzer: EyeTracking, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    look = analyzer._look

    def counted(picture: Picture, faces: tuple[Face, ...]) -> tuple[Seen, ...]:
        asked.append(1)
        return look(picture, faces)

    monkeypatch.setattr(analyzer, "_look", counted)
    picture = view("obama.jpg")
    part = analyzer.analyze(batch(picture, picture, mirrored(picture)))
    assert len(asked) == 2
    assert part.samples[0].faces == part.samples[1].faces != part.samples[2].faces


def test_the_answer_is_the_same_twice_and_from_another_worker(analyzer: EyeTracking) -> None:
    item = batch(view("obama.jpg"), mirrored(view("obama.jpg")))
    other = pickle.loads(pickle.dumps(EyeTracking()))
    other.load("cpu", Profile("embedded", load_settings().models_dir))
    assert analyzer.analyze(item) == analyzer.analyze(item) == other.analyze(item)
    assert len(pickle.dumps(analyzer.analyze(item))) < 50_000


def test_a_missing_model_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch"):
        EyeTracking().load("cpu", Profile("embedded", tmp_path))


# --- the whole video, on made parts -----------------------------------------------------------------------------------

FACE = Face((0.3, 0.3, 0.6, 0.6), ((0.4, 0.4),) * 6, 0.9)
THUMB = small(*letterbox(scene(2, 64, 64)))


def part(*sightings: tuple[float, tuple[float, float] | None, float | None] | None) -> GazePart:
    """One face over samples of 0.25 s: yaw, (gaze), openness; None is a sample without it."""
    samples = []
    for number, sighting in enumerate(sightings):
        faces = () if sighting is None else (Seen(FACE, (sighting[0], 0.0, 0.0), sighting[1], sighting[2]),)
        samples.append(GazeSample(number * 0.25, THUMB, faces))
    return GazePart(tuple(samples), len(sightings) * 0.25)


def test_shares_are_of_the_time_in_which_there_are_eyes_to_read() -> None:
    straight, aside, small_eyes = (0.0, (2.0, 1.0), 0.3), (0.0, (30.0, 0.0), 0.3), (0.0, None, None)
    report = EyeTracking().summarize(
        [part(straight, straight, straight, aside, aside, aside, small_eyes, None)], upstream()
    )
    assert report.summary.eye_contact_share == 0.5
    assert report.summary.readable_s == 1.5
    assert report.summary.face_share == 0.875
    assert report.summary.people[0].seen_s == 1.75


def test_one_odd_sample_does_not_break_eye_contact() -> None:
    straight, odd = (0.0, (2.0, 1.0), 0.3), (0.0, (25.0, 0.0), 0.3)
    report = EyeTracking().summarize([part(straight, straight, odd, straight, straight)], upstream())
    assert [segment.faces[0].eye_contact for segment in report.segments] == [True] * 5
    assert report.segments[2].faces[0].yaw == 25.0


def test_eyes_that_stay_shut_are_closed_and_no_blink() -> None:
    awake, asleep = (0.0, (0.0, 0.0), 0.3), (0.0, (0.0, 0.0), 0.05)
    report = EyeTracking().summarize([part(*[awake] * 4, *[asleep] * 8)], upstream())
    assert [segment.faces[0].blink for segment in report.segments] == [False] * 4 + [True] * 8
    assert report.summary.blinks == 0
