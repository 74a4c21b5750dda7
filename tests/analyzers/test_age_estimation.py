"""Ages: known people, mirrored and far away, what a person's sights come to, and nothing where there is nobody."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from analyzers.age_estimation import (
    QUALITY_GOOD,
    AgeEstimation,
    AgePart,
    AgeReport,
    AgeSample,
    MeshReader,
    Sight,
    together,
)
from analyzers.models.faces import Face, letterbox, small
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import SCAN, FrameBatch
from tests.media.scenes import scene
from tests.media.text_clips import photo

Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def analyzer() -> AgeEstimation:
    loaded = AgeEstimation()
    loaded.load("cpu", Profile("embedded", load_settings().models_dir))
    return loaded


def upstream() -> Upstream:
    return Upstream(VideoFacts(source="v", sha256="0", bytes=1, duration_s=1.0))


def batch(*frames: Picture) -> FrameBatch:
    pts_s = np.arange(len(frames), dtype=np.float64) * 0.25
    return FrameBatch("v", SCAN, 0, np.stack(frames), pts_s, last=True, end_s=len(frames) * 0.25)


def report_of(analyzer: AgeEstimation, *frames: Picture) -> AgeReport:
    return analyzer.summarize([analyzer.analyze(batch(*frames))], upstream())


def view(name: str, short: int = 480) -> Picture:
    picture = photo(name)
    scale = short / min(picture.shape[:2])
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "age"), [("obama.jpg", 51), ("biden.jpg", 68), ("astronaut.png", 37)])
def test_the_range_holds_a_known_persons_age_mirrored_too(analyzer: AgeEstimation, name: str, age: int) -> None:
    picture = view(name)
    told = []
    for shown in (picture, np.ascontiguousarray(picture[:, ::-1])):
        report = report_of(analyzer, shown)
        (person,) = report.summary.people
        assert person.age_range[0] <= age <= person.age_range[1]
        assert 15 <= person.age_range[1] - person.age_range[0] <= 25
        (face,) = report.segments[0].faces
        assert (face.track, face.age, face.age_range) == (person.track, person.age, person.age_range)
        told.append(person.age)
    assert told[0] == pytest.approx(told[1], abs=6)


def test_half_the_size_tells_nearly_the_same_age(analyzer: AgeEstimation) -> None:
    large, half = (report_of(analyzer, view("obama.jpg", side)).summary.people[0].age for side in (480, 240))
    assert large == pytest.approx(half, abs=6)


def test_a_face_below_40_px_is_followed_and_told_no_age(analyzer: AgeEstimation) -> None:
    canvas = np.full((600, 480, 3), 120, np.uint8)
    canvas[200:337, 200:310] = view("obama.jpg", 110)
    report = report_of(analyzer, canvas)
    assert [face.age for face in report.segments[0].faces] == [None]
    assert report.summary.people == []
    assert report.summary.faces_without_age == 1


def test_every_second_sample_is_looked_at_and_the_best_sight_of_each_face_is_read(
    analyzer: AgeEstimation, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[float] = []
    reader = analyzer._reader
    assert isinstance(reader, MeshReader)
    network = reader._age

    def counted(crop: Picture) -> float:
        read.append(network(crop))
        return read[-1]

    monkeypatch.setattr(reader, "_age", counted)
    picture = view("obama.jpg")
    blurred = np.asarray(cv2.GaussianBlur(picture, (0, 0), 5), np.uint8)
    part = analyzer.analyze(batch(blurred, blurred, picture, picture))
    assert [sample.pts_s for sample in part.samples] == [0.0, 0.5]
    assert [sample.sights[0].age is None for sample in part.samples] == [True, False]
    assert len(read) == 1


def test_poor_sights_are_read_in_every_second_chunk_only(analyzer: AgeEstimation) -> None:
    canvas = np.full((853, 480, 3), 120, np.uint8)
    blurred = cv2.GaussianBlur(view("obama.jpg", 220), (0, 0), 3)
    canvas[200:475, 100:320] = blurred
    pts_s = np.array([1.0])
    chunks = [FrameBatch("v", SCAN, n, canvas[None], pts_s, last=False, end_s=2.0) for n in (2, 3)]
    (even,), (odd,) = (analyzer.analyze(chunk).samples[0].sights for chunk in chunks)
    assert even.quality == odd.quality < QUALITY_GOOD
    assert even.age is not None
    assert odd.age is None


@pytest.mark.parametrize("kind", ["black", "white", "noise", "ramp", "scene", "cat"])
def test_nobody_is_invented(analyzer: AgeEstimation, kind: str) -> None:
    rng = np.random.default_rng(4)
    frame = {
        "black": np.zeros((853, 480, 3), np.uint8),
        "white": np.full((853, 480, 3), 255, np.uint8),
        "noise": np.asarray(rng.integers(0, 256, (853, 480, 3)), np.uint8),
        "ramp": np.repeat(np.tile(np.linspace(0, 255, 480).astype(np.uint8), (853, 1))[:, :, None], 3, axis=2),
        "scene": scene(5, 480, 853),
        "cat": view("chelsea.png"),
    }[kind]
    report = report_of(analyzer, frame)
    assert report.segments[0].faces == []
    assert report.summary.people == []


def test_the_answer_is_the_same_twice_and_from_another_worker(analyzer: AgeEstimation) -> None:
    item = batch(view("astronaut.png"))
    other = pickle.loads(pickle.dumps(AgeEstimation()))
    other.load("cpu", Profile("embedded", load_settings().models_dir))
    assert analyzer.analyze(item) == analyzer.analyze(item) == other.analyze(item)
    assert len(pickle.dumps(analyzer.analyze(item))) < 50_000


def test_only_age_is_told(analyzer: AgeEstimation) -> None:
    report = report_of(analyzer, view("obama.jpg"))
    assert "gender" not in report.model_dump_json()
    assert analyzer.model.note is not None
    assert "estimate" in analyzer.model.note


def test_a_missing_model_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch"):
        AgeEstimation().load("cpu", Profile("embedded", tmp_path))


# --- what the sights come to ------------------------------------------------------------------------------------------


def test_the_age_is_the_median_by_quality() -> None:
    told = together([(30.0, 0.5), (31.0, 0.6), (70.0, 0.1)])
    assert told is not None
    assert told[0] == pytest.approx(30.7, abs=0.5)
    assert together([]) is None


def test_sights_that_disagree_widen_the_range_and_no_age_is_below_zero() -> None:
    agreed, apart = together([(40.0, 1.0)] * 5), together([(30.0, 1.0), (40.0, 1.0), (50.0, 1.0)])
    assert agreed is not None
    assert apart is not None
    assert agreed[1] == (30.0, 50.0)
    assert apart[1][1] - apart[1][0] > 35
    baby = together([(2.0, 1.0)])
    assert baby is not None
    assert baby[1][0] == 0.0


def test_a_person_keeps_one_age_over_the_whole_track() -> None:
    face = Face((0.3, 0.3, 0.6, 0.6), ((0.4, 0.4),) * 6, 0.9)
    picture = small(*letterbox(scene(2, 64, 64)))
    ages = [30.0, None, 34.0, None, 32.0]
    samples = tuple(AgeSample(n * 0.5, picture, (Sight(face, 0.5, age),)) for n, age in enumerate(ages))
    report = AgeEstimation().summarize([AgePart(samples, 2.5)], upstream())
    assert {segment.faces[0].age for segment in report.segments} == {32.0}
    (person,) = report.summary.people
    assert (person.sights, person.start, person.end) == (3, 0.0, 2.5)
