"""Finds everyday objects (80 COCO classes) in every sampled picture and follows each of them through the video.

Network: SSD with a MobileNet v2 trunk at 300x300, trained on COCO, from TensorFlow's detection model zoo of
2018-03-29 (Liu et al., SSD, ECCV 2016; Sandler et al., MobileNetV2, CVPR 2018; model card: tf1_detection_zoo.md,
ssd_mobilenet_v2_coco, 22 mAP). The whole picture is squeezed to the network's square, whatever its shape: in 9:16
pictures of people and a bus that finds more than padding it to a square, and costs one pass and not two as tiles would.

Where neighbouring samples differ little, every second one is looked at and the boxes between are interpolated
along their tracks; a picture that did not change at all is not looked at again.

Full profile: Ultralytics YOLO (analyzers/models/yolo.py) on every sample, the pictures of many chunks at once.

How boxes become tracks: analyzers/models/tracking.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from analyzers.models import yolo
from analyzers.models.hub import ModelOptions, locate
from analyzers.models.ssd import LABELS, changed, input_of, is_picture, shared_ssd
from analyzers.models.tracking import (
    Detection,
    Sample,
    confirmed,
    difference,
    interpolate,
    link,
    look,
    small_picture,
    suppress,
)
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.results import Box, Document, ModelInfo, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch

MODEL: Final = "ssd_mobilenet_v2_coco"

# Measured on photos, noise and drawn scenes: below, drawn blobs become frisbees; above, people at the edge are lost.
SCORE_MIN: Final = 0.5
# A doubtful box may continue a track. Lower: tracks jump to background; higher: they break when somebody turns.
CONTINUE_SCORE_MIN: Final = 0.3
# An object seen in one sampled picture only must be this certain: little that is real is there for under 0.5 s.
LONE_SCORE_MIN: Final = 0.7
AREA_MIN: Final = 0.0004
"""Share of the picture; a smaller box is 6x6 px at the network's input and not to be trusted."""
YOLO_SCORE_MIN, YOLO_CONTINUE_SCORE_MIN, YOLO_LONE_SCORE_MIN = 0.25, 0.1, 0.5
"""The same for YOLO: the first two as its library's own tracker (bytetrack.yaml), the last by reasoning."""
LIKE_LEVELS: Final = 5.0
"""Mean difference (of 255) of 8x8 pixel pictures up to which two samples show the same things, moved a little."""


class DetectedObject(Document):
    """One object in one sampled picture. `track` is the same number wherever it is the same object; they start at 1."""

    label: str
    score: Score
    box: Box
    track: int


class ObjectsSegment(Segment):
    """What is in the picture from one sample to the next."""

    objects: list[DetectedObject]


class LabelFigures(Document):
    """One label over the whole video.

    `tracks` different objects were seen, `most_at_once` in one picture; `on_screen_s` is the time with at least one,
    `longest_s` the longest that a single one was followed, `score` the best.
    """

    label: str
    tracks: int
    most_at_once: int
    first_s: Seconds
    last_s: Seconds
    on_screen_s: Seconds
    longest_s: Seconds
    score: Score


class ObjectsSummary(Summary):
    """`counts` says how many different objects of each label there were; `labels` more of each, most seen first."""

    counts: dict[str, int]
    labels: list[LabelFigures]


class ObjectsReport(Report[ObjectsSegment, ObjectsSummary]):
    """One segment per sampled picture."""


@dataclass(frozen=True)
class ObjectsPart:
    """One chunk's samples, and where the chunk ends in seconds."""

    samples: tuple[Sample, ...]
    end_s: float


class ObjectDetectionOptions(ModelOptions):
    """`score_min`: the least score, 0..1, that begins a track; None: 0.5, and 0.25 in the full profile.

    `model` of the full profile: ``yolov8``, ``yolo11`` or ``yolo26`` with a size of n, s, m, l, x, or a folder.
    """

    model: str = "yolo11m"
    quantize: Literal["none"] = "none"
    score_min: float | None = None


@dataclass(frozen=True)
class Pictures:
    """One chunk's own pictures: as they are, squeezed to 300 px and to 8 px; whether the video ends with them."""

    frames: npt.NDArray[np.uint8]
    smalls: Sequence[npt.NDArray[np.uint8]]
    thumbs: Sequence[npt.NDArray[np.uint8]]
    last: bool


class Detector(Protocol):
    """Finds objects. `begin`, `lone`: least scores of a track's first and of its only sighting."""

    begin: float
    lone: float

    def __call__(self, chunks: Sequence[Pictures]) -> list[list[tuple[Detection, ...] | None]]:
        """Objects of each picture of each chunk; None for a picture that is like those around it."""


class ObjectDetection(Analyzer[ObjectsPart, ObjectsReport]):
    """Labels, scores, boxes and persistent tracks of everyday objects; see the module's head for the method."""

    spec = AnalyzerSpec("object_detection", "1.1", SCAN, timeout_s=60)
    tiles = True
    options_model = ObjectDetectionOptions
    options: ObjectDetectionOptions

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """Under the full profile a share of a GPU, and 16 chunks at once: their 64 pictures are one call."""
        if profile != "full":
            return cls.spec
        assert isinstance(options, ObjectDetectionOptions)
        return replace(cls.spec, gpu_gb=yolo.needed_gb(options), batch=16)

    def load(self, device: str, profile: Profile) -> None:
        """Open the network, on one thread of a CPU or on a GPU.

        Raises:
            ModelUnavailable: the weights are not in the model store, or cannot be used.
        """
        if profile.name == "full":
            local = locate(profile.models_dir, self.options.model, self.spec.name)
            network = yolo.Yolo(local, device, self.options, "detect")
            self._detector: Detector = YoloDetector(network)
            self.model = network.info
            return
        from analyzers.models.store import ModelStore

        graph = ModelStore(profile.models_dir).path(MODEL, "frozen_inference_graph.pb")
        import cv2
        import onnxruntime

        cv2.setNumThreads(1)
        self._detector = SsdDetector(graph)
        self.model = ModelInfo(id=MODEL, revision="2018_03_29", backend=f"onnxruntime {onnxruntime.__version__}")

    def analyze(self, item: FrameBatch) -> ObjectsPart:
        """Detect in one chunk."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[FrameBatch]) -> list[ObjectsPart]:  # type: ignore[override]
        """Detect in the pictures of all chunks."""
        chunks = [_pictures(item) for item in items]
        parts = []
        for item, chunk, found in zip(items, chunks, self._detector(chunks), strict=True):
            samples = [
                Sample(float(pts_s), detections, thumb.tobytes(), small_picture(small))
                for pts_s, detections, thumb, small in zip(
                    item.pts_s[item.lead_in :], found, chunk.thumbs, chunk.smalls, strict=True
                )
            ]
            parts.append(ObjectsPart(tuple(samples), item.end_s))
        return parts

    def summarize(self, parts: Sequence[ObjectsPart], upstream: Upstream) -> ObjectsReport:
        """Link the boxes of all samples to tracks."""
        samples = [sample for part in parts for sample in part.samples]
        lone_score_min = self._detector.lone if len(samples) > 1 else 0.0
        begin = self.options.score_min if self.options.score_min is not None else self._detector.begin
        tracks = confirmed(link(samples, begin), lone_score_min=lone_score_min)
        for track in tracks:
            interpolate(track, samples)
        shown: list[list[DetectedObject]] = [[] for _ in samples]
        for number, track in enumerate(tracks, start=1):
            for step, seen in track.seen.items():
                shown[step].append(DetectedObject(label=seen.label, score=seen.score, box=seen.box, track=number))
        ends = [sample.pts_s for sample in samples[1:]] + [part.end_s for part in parts[-1:]]
        segments = [
            ObjectsSegment(start=sample.pts_s, end=max(end, sample.pts_s), objects=objects)
            for sample, end, objects in zip(samples, ends, shown, strict=True)
        ]
        return ObjectsReport(segments=segments, summary=_summary(segments))


# --- the networks -----------------------------------------------------------------------------------------------------


class SsdDetector:
    """SSD MobileNet v2 on the CPU: what differs little from the picture before is not looked at.

    Args:
        graph: its frozen graph.
    """

    begin, lone = SCORE_MIN, LONE_SCORE_MIN

    def __init__(self, graph: Path) -> None:
        self._network = shared_ssd(graph)

    def __call__(self, chunks: Sequence[Pictures]) -> list[list[tuple[Detection, ...] | None]]:
        """Chunk by chunk."""
        return [self._chunk(chunk) for chunk in chunks]

    def _chunk(self, chunk: Pictures) -> list[tuple[Detection, ...] | None]:
        """Detect in every picture that differs from the one before, and in every second of those that differ little."""
        answers: list[tuple[Detection, ...] | None] = []
        asked: npt.NDArray[np.uint8] | None = None
        found: tuple[Detection, ...] = ()
        for number, small in enumerate(chunk.smalls):
            detections: tuple[Detection, ...] | None = found
            if asked is None or changed(asked, small):
                end = chunk.last and number == len(chunk.smalls) - 1
                like = number > 0 and difference(chunk.thumbs[number], chunk.thumbs[number - 1]) <= LIKE_LEVELS
                if like and not end and answers[-1] is not None:
                    detections = None
                else:
                    asked, detections = small, self._detect(small)
                    found = detections
            answers.append(detections)
        return answers

    def _detect(self, small: npt.NDArray[np.uint8]) -> tuple[Detection, ...]:
        if not is_picture(small):
            return ()
        boxes, scores = self._network(small)
        boxes = np.clip(boxes, 0.0, 1.0)
        large = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) >= AREA_MIN
        candidates = []
        for number, label in np.argwhere((scores >= CONTINUE_SCORE_MIN) & large[:, None]):
            if int(label) in LABELS:
                x0, y0, x1, y1 = (float(value) for value in boxes[number])
                candidates.append(Detection(LABELS[int(label)], float(scores[number, label]), (x0, y0, x1, y1)))
        return tuple(replace(found, look=look(small, found.box)) for found in suppress(candidates))


class YoloDetector:
    """YOLO on every picture that shows something, those of all chunks in as few calls as memory allows.

    Args:
        network: of the task `detect`.
    """

    begin, lone = YOLO_SCORE_MIN, YOLO_LONE_SCORE_MIN

    def __init__(self, network: yolo.Yolo) -> None:
        self._network = network

    def __call__(self, chunks: Sequence[Pictures]) -> list[list[tuple[Detection, ...] | None]]:
        """The answers do not depend on which chunks come together."""
        smalls = [small for chunk in chunks for small in chunk.smalls]
        frames = [frame for chunk in chunks for frame in chunk.frames]
        asked = [number for number, small in enumerate(smalls) if is_picture(small)]
        found = self._network([frames[number] for number in asked], YOLO_CONTINUE_SCORE_MIN)
        answers = dict(zip(asked, found, strict=True))
        every = iter(self._detections(answers.get(number), small) for number, small in enumerate(smalls))
        return [[next(every) for _ in chunk.smalls] for chunk in chunks]

    def _detections(self, found: yolo.Found | None, small: npt.NDArray[np.uint8]) -> tuple[Detection, ...]:
        if found is None:
            return ()
        candidates = []
        for corners, score, label in zip(found.boxes, found.scores, found.classes, strict=True):
            x0, y0, x1, y1 = (float(value) for value in corners)
            if x1 > x0 and y1 > y0 and (x1 - x0) * (y1 - y0) >= AREA_MIN:
                candidates.append(Detection(self._network.names[label], float(score), (x0, y0, x1, y1)))
        return tuple(replace(found, look=look(small, found.box)) for found in suppress(candidates))


def _pictures(item: FrameBatch) -> Pictures:
    """A chunk's own pictures, without the lead-in."""
    import cv2

    frames = item.frames[item.lead_in :]
    smalls = [input_of(frame) for frame in frames]
    thumbs = [np.asarray(cv2.resize(small, (8, 8), interpolation=cv2.INTER_AREA), np.uint8) for small in smalls]
    return Pictures(frames, smalls, thumbs, item.last)


# --- the whole video --------------------------------------------------------------------------------------------------


def _summary(segments: Sequence[ObjectsSegment]) -> ObjectsSummary:
    tracks: dict[str, dict[int, list[ObjectsSegment]]] = {}
    best: dict[str, float] = {}
    for segment in segments:
        for found in segment.objects:
            tracks.setdefault(found.label, {}).setdefault(found.track, []).append(segment)
            best[found.label] = max(best.get(found.label, 0.0), found.score)
    figures = []
    for label, by_track in tracks.items():
        shown = {segment.start: segment for spans in by_track.values() for segment in spans}
        figures.append(
            LabelFigures(
                label=label,
                tracks=len(by_track),
                most_at_once=max(sum(o.label == label for o in segment.objects) for segment in shown.values()),
                first_s=min(shown),
                last_s=max(segment.end for segment in shown.values()),
                on_screen_s=sum(segment.end - segment.start for segment in shown.values()),
                longest_s=max(spans[-1].end - spans[0].start for spans in by_track.values()),
                score=best[label],
            )
        )
    figures.sort(key=lambda f: (-f.on_screen_s, f.label))
    return ObjectsSummary(counts={f.label: f.tracks for f in figures}, labels=figures)
