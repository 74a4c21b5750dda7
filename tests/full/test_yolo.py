"""YOLO in the full profile: the library's own answers in batches of ours, and files that cannot run code."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analyzers.body_pose import BodyPose, BodyPoseOptions
from analyzers.models import yolo
from analyzers.models.hub import LocalModel
from analyzers.object_detection import ObjectDetection, ObjectDetectionOptions
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.types import SCAN, FrameBatch
from pipeline.worker import AnalyzerWorker
from tests.full.checkpoints.yolo import COCO, write_yolo

FACTS = VideoFacts(source="made", sha256="0" * 64, bytes=0, duration_s=2.0)
SCORE = 0.25
ROUNDING = 2e-5
"""Coordinates in 0..1, and scores: fp32 convolutions of different batch sizes add up in different orders."""


def pictures(count: int, height: int = 320, width: int = 180, seed: int = 5) -> npt.NDArray[np.uint8]:
    """Soft patches of colour [N, H, W, 3], as the checkpoints' heads were measured with."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 20, 12, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in coarse])


def chunk(frames: npt.NDArray[np.uint8], video: str = "v") -> FrameBatch:
    pts_s = np.arange(len(frames)) * 0.25
    return FrameBatch(video, SCAN, 0, frames, pts_s, last=True, end_s=float(pts_s[-1] + 0.25))


def local(folder: Path) -> LocalModel:
    return LocalModel(folder, folder.name, "local", "unknown", random_weights=True)


def opened(folder: Path, task: yolo.Task) -> yolo.Yolo:
    return yolo.Yolo(local(folder), "cpu", ObjectDetectionOptions(), task)


def same(ours: yolo.Found, boxes: Any, scores: Any, classes: Any, keypoints: Any = None) -> None:
    """Whether a picture's answers are equal, whatever the order of those of (nearly) equal score."""
    assert len(ours.scores) == len(scores) > 0
    left = set(range(len(scores)))
    for number in range(len(scores)):
        near = [k for k in left if np.abs(boxes[k] - ours.boxes[number]).max() < ROUNDING]
        near = [k for k in near if int(classes[k]) == ours.classes[number]]
        assert near, f"box {number} of score {ours.scores[number]} is in ours only"
        left.remove(near[0])
        assert abs(float(scores[near[0]]) - ours.scores[number]) < ROUNDING
        if keypoints is not None and ours.keypoints.size:
            assert np.abs(keypoints[near[0]] - ours.keypoints[number]).max() < ROUNDING


def same_as(ours: yolo.Found, other: yolo.Found) -> None:
    same(ours, other.boxes, other.scores, other.classes, other.keypoints)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Detectors and pose networks of the three families, as `.pt`, at their names in the store."""
    folder = tmp_path_factory.mktemp("yolo")
    for family in yolo.DESCRIPTIONS:
        name = f"yolo{family}n"
        write_yolo(folder / name, family=f"yolo{family}")
        write_yolo(folder / f"{name}-pose", family=f"yolo{family}", pose=True)
    return folder


def detector(store: Path, **options: Any) -> ObjectDetection:
    analyzer = ObjectDetection(ObjectDetectionOptions(**{"model": "yolo11n", **options}))
    analyzer.load("cpu", Profile("full", store))
    return analyzer


def poser(store: Path, model: str = "yolo11n-pose") -> BodyPose:
    analyzer = BodyPose(BodyPoseOptions(model=model))
    analyzer.load("cpu", Profile("full", store))
    return analyzer


# --- the library's answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n", "yolov8n-pose", "yolo11n-pose", "yolo26n-pose"])
def test_boxes_and_joints_are_those_of_the_library(store: Path, name: str, tmp_path: Path) -> None:
    from ultralytics import YOLO

    frames = pictures(2)
    ours = opened(store / name, "pose" if "pose" in name else "detect")(list(frames), SCORE)
    bgr = [np.ascontiguousarray(frame[:, :, ::-1]) for frame in frames]
    theirs = YOLO(store / name / f"{name}.pt").predict(
        bgr, conf=SCORE, iou=yolo.NMS_IOU, save=False, verbose=False, project=str(tmp_path)
    )
    for one, other in zip(ours, theirs, strict=True):
        joints = None
        if "pose" in name:
            joints = other.keypoints.data.numpy().copy()
            joints[:, :, :2] /= (frames.shape[2], frames.shape[1])
        same(one, other.boxes.xyxyn.numpy(), other.boxes.conf.numpy(), other.boxes.cls.numpy(), joints)
        assert [other.names[int(k)] for k in one.classes] == [
            (COCO if joints is None else ("person",))[k] for k in one.classes
        ]


@pytest.mark.parametrize("size", [(480, 270), (270, 480), (48, 960), (480, 480), (7, 5), (853, 481)])
def test_pictures_are_fitted_as_the_library_does(size: tuple[int, int]) -> None:
    from ultralytics.data.augment import LetterBox

    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    theirs = LetterBox((yolo.INPUT_PX, yolo.INPUT_PX), auto=True, stride=yolo.STRIDE)(image=picture)
    assert np.array_equal(yolo.letterbox(picture), theirs)


def test_the_labels_of_coco_are_the_same_in_both_profiles() -> None:
    import ultralytics
    from ultralytics.utils import YAML

    names = YAML.load(Path(ultralytics.__file__).parent / "cfg/datasets/coco.yaml")["names"]
    assert tuple(names[number] for number in range(80)) == COCO


def test_safetensors_and_a_pickle_of_one_network_answer_alike(tmp_path: Path) -> None:
    """A checkpoint that says nothing of its architecture in its file's name says it inside."""
    one = write_yolo(tmp_path / "pickle")
    (one / "yolo11n.pt").rename(one / "best.pt")
    two = write_yolo(tmp_path / "data", safetensors=True)
    frames = list(pictures(1))
    same_as(opened(one, "detect")(frames, SCORE)[0], opened(two, "detect")(frames, SCORE)[0])


def test_pictures_of_all_sizes_in_one_batch_are_told_as_each_alone(store: Path) -> None:
    frames = [*pictures(2), *pictures(2, 180, 320), *pictures(1, 200, 200)]
    mixed = [frames[k] for k in (2, 0, 4, 1, 3)]
    for name, task in (("yolo11n", "detect"), ("yolo26n-pose", "pose")):
        network = opened(store / name, task)  # type: ignore[arg-type]
        for picture, found in zip(mixed, network(mixed, SCORE), strict=True):
            same_as(found, network([picture], SCORE)[0])


def test_a_call_is_bounded_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yolo, "PIXELS_MAX", 3 * 640 * 384)
    numbers = [numbers for numbers, planes in yolo.batches(list(pictures(7))) if planes.shape[1:] == (640, 384, 3)]
    assert numbers == [[0, 1, 2], [3, 4, 5], [6]]


def test_tests_see_more_than_one_class_and_boxes_inside_the_picture(store: Path) -> None:
    (found,) = opened(store / "yolo11n", "detect")(list(pictures(1)), SCORE)
    assert len(set(found.classes.tolist())) > 3
    assert found.boxes.min() >= 0
    assert found.boxes.max() <= 1
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).mean() > 0.5


# --- the analyzers ----------------------------------------------------------------------------------------------------


def of_many(analyzer: Any, items: Sequence[FrameBatch]) -> list[Any]:
    return [analyzer.summarize([part], Upstream(FACTS)).model_dump() for part in analyzer.analyze_many(items)]


def close(one: Any, other: Any) -> None:
    """Whether two reports are equal up to the rounding of their numbers."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            close(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            close(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=3e-4)
    else:
        assert one == other


def test_chunks_of_several_videos_at_once_give_the_reports_of_each_alone(store: Path) -> None:
    frames = pictures(4)
    still = np.stack([frames[0], frames[0], frames[1]])
    items = [chunk(still, "a"), chunk(pictures(2, 180, 320), "b"), chunk(np.zeros((1, 320, 180, 3), np.uint8), "c")]
    for analyzer in (detector(store), poser(store)):
        batched = of_many(analyzer, items)
        for item, report in zip(items, batched, strict=True):
            close(report, analyzer.summarize([analyzer.analyze(item)], Upstream(FACTS)).model_dump())
        for item, report in zip(items[::-1], of_many(analyzer, items[::-1]), strict=True):
            close(report, batched[items.index(item)])
        assert all(len(pickle.dumps(part)) < 1_000_000 for part in analyzer.analyze_many(items))


def test_the_report_has_the_fields_of_the_embedded_profile_and_says_that_weights_are_random(store: Path) -> None:
    analyzer = detector(store)
    frames = pictures(1)
    report = analyzer.summarize([analyzer.analyze(chunk(np.repeat(frames, 3, axis=0)))], Upstream(FACTS))
    assert [(segment.start, segment.end) for segment in report.segments] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75)]
    objects = report.segments[0].objects
    assert objects
    assert {one.label for one in objects} <= set(COCO)
    assert [one.track for one in objects] == [one.track for one in report.segments[2].objects]
    assert report.summary.counts
    assert analyzer.model.random_weights
    assert "random weights" in str(analyzer.model.note)
    assert analyzer.model.backend.startswith("ultralytics 8.")


def test_people_come_with_seventeen_joints_a_posture_and_a_track(store: Path) -> None:
    analyzer = poser(store)
    report = analyzer.summarize([analyzer.analyze(chunk(np.repeat(pictures(1), 3, axis=0)))], Upstream(FACTS))
    people = [person for segment in report.segments for person in segment.persons]
    assert people
    assert all(len(person.keypoints) == 17 for person in people)
    assert report.summary.people == len({person.track for person in people})
    assert report.summary.postures
    still = [person.movement for person in report.segments[1].persons if person.movement is not None]
    assert still
    assert max(still) < 0.01


def test_a_score_asked_for_begins_tracks(store: Path) -> None:
    item = chunk(np.repeat(pictures(1), 2, axis=0))
    many, few = detector(store, score_min=0.2), detector(store, score_min=0.5)
    counts = [len(a.summarize([a.analyze(item)], Upstream(FACTS)).segments[0].objects) for a in (many, few)]
    assert counts[0] > counts[1] > 0


def test_out_of_memory_halves_the_batch(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    worker = AnalyzerWorker(ObjectDetection, ObjectDetectionOptions(model="yolo11n"), "cpu", Profile("full", store))
    assert worker.load().ok
    sizes: list[int] = []
    ask = yolo.Yolo._ask

    def scarce(self: yolo.Yolo, planes: npt.NDArray[np.uint8], score_min: float) -> Any:
        sizes.append(len(planes))
        if len(planes) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ask(self, planes, score_min)

    monkeypatch.setattr(yolo.Yolo, "_ask", scarce)
    outcomes = worker.analyze([chunk(pictures(1, seed=k), str(k)) for k in range(4)])
    assert all(outcome.ok for outcome in outcomes)
    assert sizes == [4, 2, 2]


def test_more_is_asked_of_a_gpu_by_larger_networks(store: Path) -> None:
    small, large = (
        ObjectDetection.spec_for("full", ObjectDetectionOptions(model=name)) for name in ("yolo11n", "yolo26x")
    )
    assert 0 < small.gpu_gb < large.gpu_gb < 6
    assert small.batch > 1
    assert ObjectDetection.spec_for("embedded", ObjectDetectionOptions()) == ObjectDetection.spec


# --- files ------------------------------------------------------------------------------------------------------------


class Runs:
    """Unpickling this calls a function that leaves a trace."""

    def __init__(self, call: Any, *given: Any) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> Any:
        return self.call, self.given


@pytest.mark.parametrize("where", ["beside the network", "in its place", "a class of the library"])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, where: str) -> None:
    import torch

    folder = tmp_path / "yolo11n"
    folder.mkdir()
    trace = tmp_path / "it ran"
    content: Any = {"model": None, "ema": None, "extra": Runs(exec, f"open({str(trace)!r}, 'w')")}
    if where == "in its place":
        content = Runs(exec, f"open({str(trace)!r}, 'w')")
    if where == "a class of the library":
        from ultralytics.utils.downloads import safe_download

        # Allowed by its module's name, and taken for an inert thing: nothing is downloaded or deleted.
        content = {"model": Runs(safe_download, trace.as_uri(), str(trace))}
    torch.save(content, folder / "yolo11n.pt")
    with pytest.raises(ModelUnavailable, match="cannot be used") as refused:
        opened(folder, "detect")
    assert not trace.exists()
    if where != "a class of the library":
        assert "it is not opened" in str(refused.value)


def test_the_same_pickle_would_run_if_read_freely(tmp_path: Path) -> None:
    trace = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Runs(exec, f"open({str(trace)!r}, 'w').close()")))
    assert trace.exists()


def test_a_pickle_that_names_nothing_and_holds_no_network_is_refused(tmp_path: Path) -> None:
    import torch

    (tmp_path / "yolo11n").mkdir()
    torch.save({"model": {"yaml": {}}}, tmp_path / "yolo11n" / "yolo11n.pt")
    with pytest.raises(ModelUnavailable, match="holds no network"):
        opened(tmp_path / "yolo11n", "detect")


def test_missing_damaged_and_other_files_name_the_remedy(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch yolo11m"):
        detector(tmp_path, model="yolo11m")
    with pytest.raises(ModelUnavailable, match="neither a model of the manifest nor a folder"):
        detector(tmp_path, model="yolo99z")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("nothing")
    with pytest.raises(ModelUnavailable, match="0 are there"):
        opened(tmp_path / "empty", "detect")
    cut = tmp_path / "yolo11n"
    cut.mkdir()
    whole = (store / "yolo11n" / "yolo11n.pt").read_bytes()
    (cut / "yolo11n.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelUnavailable, match="cannot be used"):
        opened(cut, "detect")
    with pytest.raises(ModelUnavailable, match="no network for pose"):
        opened(store / "yolo11n", "pose")
    other = tmp_path / "yolo26n"
    other.mkdir()
    (other / "yolo26n.pt").write_bytes(whole)
    with pytest.raises(ModelUnavailable, match="state_dict"):
        opened(other, "detect")


def test_safetensors_that_lack_a_tensor_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_yolo(tmp_path / "short", safetensors=True)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.0.conv.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelUnavailable, match=r"model\.0\.conv\.weight"):
        opened(folder, "detect")
