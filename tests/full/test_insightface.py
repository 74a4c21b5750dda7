"""InsightFace in the full profile: the library's own faces and ages, faces of many chunks in one call."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analyzers.age_estimation import AgeEstimation, AgeOptions
from analyzers.models import insight_face
from analyzers.models.hub import LocalModel
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.types import SCAN, FrameBatch
from pipeline.worker import AnalyzerWorker
from tests.full.checkpoints.insightface import write_insightface

FACTS = VideoFacts(source="made", sha256="0" * 64, bytes=0, duration_s=2.0)
NAME = "insightface_buffalo_l"


def pictures(count: int, height: int = 480, width: int = 270, seed: int = 5) -> npt.NDArray[np.uint8]:
    """Patches of colour, [N, H, W, 3]."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 5, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in coarse])


def chunk(frames: npt.NDArray[np.uint8], video: str = "v") -> FrameBatch:
    pts_s = np.arange(len(frames)) * 0.25
    return FrameBatch(video, SCAN, 0, frames, pts_s, last=True, end_s=float(pts_s[-1] + 0.25))


def opened(folder: Path) -> insight_face.InsightFace:
    return insight_face.InsightFace(LocalModel(folder, NAME, "local", "unknown", random_weights=True), "cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("insightface")
    write_insightface(folder / NAME)
    return folder


@pytest.fixture(scope="module")
def pack(store: Path) -> insight_face.InsightFace:
    return opened(store / NAME)


@pytest.fixture(scope="module")
def analyzer(store: Path) -> AgeEstimation:
    loaded = AgeEstimation(AgeOptions())
    loaded.load("cpu", Profile("full", store))
    return loaded


@pytest.mark.parametrize("size", [(480, 270), (270, 480), (300, 300), (853, 480)])
def test_faces_are_those_of_the_library(store: Path, pack: insight_face.InsightFace, size: tuple[int, int]) -> None:
    from insightface.model_zoo.retinaface import RetinaFace

    theirs = RetinaFace(str(store / NAME / insight_face.DETECTOR))
    theirs.prepare(-1)
    picture = pictures(1, *size)[0]
    (height, width), _ = insight_face.fitted(*size)
    rows, points = theirs.detect(np.ascontiguousarray(picture[:, :, ::-1]), input_size=(width, height))
    ours = pack.faces(picture)
    assert len(ours) == len(rows) > 1
    whole = np.array([size[1], size[0]])
    for face, row, dots in zip(ours, rows, points, strict=True):
        assert np.array(face.box).reshape(2, 2) * whole == pytest.approx(row[:4].reshape(2, 2), abs=0.05)
        assert face.score == pytest.approx(row[4], abs=1e-5)
        expected = [*dots[:3], dots[3:].mean(axis=0)]
        assert np.array(face.points) * whole == pytest.approx(np.array(expected), abs=0.05)


@pytest.mark.parametrize("normalizes", [False, True])
def test_ages_are_those_of_the_library(tmp_path: Path, normalizes: bool) -> None:
    from insightface.model_zoo.attribute import Attribute

    pack = opened(write_insightface(tmp_path / NAME, normalizes=normalizes))
    theirs = Attribute(str(tmp_path / NAME / insight_face.AGES))
    picture = pictures(1)[0]
    faces = pack.faces(picture)[:4]
    told = pack.ages([pack.crop(picture, face) for face in faces])
    ages = []
    for face in faces:
        box = np.array(face.box) * [270, 480, 270, 480]
        found: Any = type("Found", (dict,), {"bbox": box})()
        ages.append(theirs.get(np.ascontiguousarray(picture[:, :, ::-1]), found)[1])
    assert [round(age) for age in told] == pytest.approx(ages, abs=1)
    assert len(set(ages)) > 1


def test_faces_of_one_call_are_told_as_each_alone(pack: insight_face.InsightFace) -> None:
    crops = [pack.crop(picture, face) for picture in pictures(2) for face in pack.faces(picture)[:5]]
    alone = [pack.ages([crop])[0] for crop in crops]
    assert pack.ages(crops) == pytest.approx(alone, abs=1e-3)
    assert pack.ages([]) == []


def test_a_network_for_one_face_at_a_time_is_asked_so(store: Path, tmp_path: Path) -> None:
    import onnx

    pack = opened(store / NAME)
    write_insightface(tmp_path / NAME)
    model = onnx.load(tmp_path / NAME / insight_face.AGES)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / NAME / insight_face.AGES)
    picture = pictures(1)[0]
    crops = [pack.crop(picture, face) for face in pack.faces(picture)[:3]]
    assert opened(tmp_path / NAME).ages(crops) == pytest.approx(pack.ages(crops), abs=1e-3)


def test_chunks_of_several_videos_at_once_give_the_reports_of_each_alone(analyzer: AgeEstimation) -> None:
    items = [
        chunk(pictures(4), "a"),
        chunk(pictures(3, 270, 480), "b"),
        chunk(np.zeros((2, 480, 270, 3), np.uint8), "c"),
    ]
    calls: list[int] = []
    reader: Any = analyzer._reader
    ages = reader.ages
    reader.ages = lambda crops: [calls.append(len(crops)), ages(crops)][1]
    try:
        parts = analyzer.analyze_many(items)
        assert len(calls) == 1
        for item, part in zip(items, parts, strict=True):
            ours, theirs = (
                analyzer.summarize([one], Upstream(FACTS)).model_dump() for one in (part, analyzer.analyze(item))
            )
            assert ours == theirs
            assert len(pickle.dumps(part)) < 1_000_000
    finally:
        reader.ages = ages
    assert calls[0] > 2


def test_the_report_has_the_fields_of_the_embedded_profile_and_says_that_weights_are_random(
    analyzer: AgeEstimation,
) -> None:
    report = analyzer.summarize([analyzer.analyze(chunk(np.repeat(pictures(1), 4, axis=0)))], Upstream(FACTS))
    assert [(segment.start, segment.end) for segment in report.segments] == [(0.0, 0.5), (0.5, 1.0)]
    assert report.summary.people
    for person in report.summary.people:
        assert person.age_range[0] <= person.age <= person.age_range[1]
    faces = report.segments[0].faces
    assert [face.track for face in faces] == [face.track for face in report.segments[1].faces]
    assert analyzer.model.random_weights
    assert "random weights" in str(analyzer.model.note)
    assert "estimate" in str(analyzer.model.note)
    assert analyzer.model.backend.startswith("onnxruntime")


def test_a_face_beside_the_camera_is_a_poor_sight() -> None:
    face = insight_face.Face((0, 0, 1, 1), ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.5, 0.8)), 0.9)
    turned = insight_face.Face((0, 0, 1, 1), ((0.3, 0.4), (0.7, 0.4), (0.7, 0.6), (0.6, 0.8)), 0.9)
    assert insight_face.frontal(face) == pytest.approx(1.0)
    assert insight_face.frontal(turned) == pytest.approx(0.0)
    sharp = pictures(1, 96, 96)[0]
    assert insight_face.quality(sharp, face, 200.0) > insight_face.quality(sharp, face, 60.0) > 0


def test_out_of_memory_halves_the_batch(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    worker = AnalyzerWorker(AgeEstimation, AgeOptions(), "cpu", Profile("full", store))
    assert worker.load().ok
    sizes: list[int] = []
    ages = insight_face.InsightFace.ages

    def scarce(self: insight_face.InsightFace, crops: Any) -> list[float]:
        sizes.append(len(crops))
        if len(sizes) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ages(self, crops)

    monkeypatch.setattr(insight_face.InsightFace, "ages", scarce)
    assert all(outcome.ok for outcome in worker.analyze([chunk(pictures(1, seed=k), str(k)) for k in range(4)]))
    assert len(sizes) == 3
    assert sizes[0] == sizes[1] + sizes[2]


def test_missing_damaged_and_other_files_name_the_remedy(store: Path, tmp_path: Path) -> None:
    def load() -> None:
        AgeEstimation(AgeOptions()).load("cpu", Profile("full", tmp_path))

    with pytest.raises(ModelUnavailable, match=NAME):
        load()
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / insight_face.DETECTOR).write_bytes((store / NAME / insight_face.DETECTOR).read_bytes())
    with pytest.raises(ModelUnavailable, match=r"genderage\.onnx is not there"):
        load()
    (folder / insight_face.AGES).write_bytes((store / NAME / insight_face.DETECTOR).read_bytes())
    with pytest.raises(ModelUnavailable, match="does not tell gender and age"):
        load()
    (folder / insight_face.AGES).write_bytes(b"not a network")
    with pytest.raises(ModelUnavailable, match=r"genderage\.onnx"):
        load()


def test_a_gpu_is_asked_for_only_by_the_setting() -> None:
    assert AgeEstimation.spec_for("full", AgeOptions()).gpu_gb == 0
    assert AgeEstimation.spec_for("full", AgeOptions(gpu=True)).gpu_gb > 0
    assert AgeEstimation.spec_for("full", AgeOptions()).batch > 1
    assert AgeEstimation.spec_for("embedded", AgeOptions()) == AgeEstimation.spec
