"""Finds everyday objects (80 COCO classes) in every sampled picture and follows each of them through the video.

Network: SSD with a MobileNet v2 trunk at 300x300, trained on COCO, from TensorFlow's detection model zoo of
2018-03-29 (Liu et al., SSD, ECCV 2016; Sandler et al., MobileNetV2, CVPR 2018; model card: tf1_detection_zoo.md,
ssd_mobilenet_v2_coco, 22 mAP). The whole picture is squeezed to the network's square, whatever its shape: in 9:16
pictures of people and a bus that finds more than padding it to a square, and costs one pass and not two as tiles would.

Where neighbouring samples differ little, every second one is looked at and the boxes between are interpolated
along their tracks; a picture that did not change at all is not looked at again.

How boxes become tracks: analyzers/models/tracking.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

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
from pipeline.analyzer import Analyzer, Options, Profile
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


class ObjectDetectionOptions(Options):
    """`score_min`: the least score, 0..1, that begins a track."""

    score_min: float = SCORE_MIN


class ObjectDetection(Analyzer[ObjectsPart, ObjectsReport]):
    """Labels, scores, boxes and persistent tracks of everyday objects; see the module's head for the method.

    Both profiles use SSD MobileNet v2 for now; `self.model` says so.
    """

    spec = AnalyzerSpec("object_detection", "1.1", SCAN, timeout_s=60)
    tiles = True
    options_model = ObjectDetectionOptions

    def load(self, device: str, profile: Profile) -> None:
        """Open the network on one thread.

        Raises:
            ModelUnavailable: the weights are not in the model store.
        """
        from analyzers.models.store import ModelStore

        graph = ModelStore(profile.models_dir).path(MODEL, "frozen_inference_graph.pb")
        import cv2
        import onnxruntime

        cv2.setNumThreads(1)
        self._network = shared_ssd(graph)
        self.model = ModelInfo(id=MODEL, revision="2018_03_29", backend=f"onnxruntime {onnxruntime.__version__}")

    def analyze(self, item: FrameBatch) -> ObjectsPart:
        """Detect in every picture that differs from the one before, and in every second of those that differ little."""
        import cv2

        smalls = [input_of(frame) for frame in item.frames]
        thumbs = [np.asarray(cv2.resize(small, (8, 8), interpolation=cv2.INTER_AREA)) for small in smalls]
        samples: list[Sample] = []
        asked: npt.NDArray[np.uint8] | None = None
        found: tuple[Detection, ...] = ()
        for number in range(item.lead_in, len(smalls)):
            detections: tuple[Detection, ...] | None = found
            if asked is None or changed(asked, smalls[number]):
                end = item.last and number == len(smalls) - 1
                like = number > item.lead_in and difference(thumbs[number], thumbs[number - 1]) <= LIKE_LEVELS
                if like and not end and samples[-1].detections is not None:
                    detections = None
                else:
                    asked, detections = smalls[number], self._detect(smalls[number])
                    found = detections
            samples.append(
                Sample(float(item.pts_s[number]), detections, thumbs[number].tobytes(), small_picture(smalls[number]))
            )
        return ObjectsPart(tuple(samples), item.end_s)

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

    def summarize(self, parts: Sequence[ObjectsPart], upstream: Upstream) -> ObjectsReport:
        """Link the boxes of all samples to tracks."""
        assert isinstance(self.options, ObjectDetectionOptions)
        samples = [sample for part in parts for sample in part.samples]
        lone_score_min = LONE_SCORE_MIN if len(samples) > 1 else 0.0
        tracks = confirmed(link(samples, self.options.score_min), lone_score_min=lone_score_min)
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
