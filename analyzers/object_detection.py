"""Finds everyday objects (80 COCO classes) in every sampled picture and follows each of them through the video.

Network: SSD with a MobileNet v2 trunk at 300x300, trained on COCO, from TensorFlow's detection model zoo of
2018-03-29 (Liu et al., SSD, ECCV 2016; Sandler et al., MobileNetV2, CVPR 2018; model card: tf1_detection_zoo.md,
ssd_mobilenet_v2_coco, 22 mAP). The whole picture is squeezed to the network's square, whatever its shape: in 9:16
pictures of people and a bus that finds more than padding it to a square, and costs one pass and not two as tiles would.

Tracks: ByteTrack's idea (Zhang et al., ECCV 2022) with a greedy match. Boxes of one label are linked by overlap with
where the track's speed takes it; doubtful boxes may continue a track but never begin one. A track survives a second
unseen and ends when the whole picture changes at once, as at a cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.analyzer import Analyzer, Options, Profile
from pipeline.results import Box, Document, ModelInfo, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch

MODEL: Final = "ssd_mobilenet_v2_coco"
INPUT_PX: Final = 300

# Measured on photos, noise and drawn scenes: below, drawn blobs become frisbees; above, people at the edge are lost.
SCORE_MIN: Final = 0.5
# A doubtful box may continue a track. Lower: tracks jump to background; higher: they break when somebody turns.
CONTINUE_SCORE_MIN: Final = 0.3
# An object seen in one sampled picture only must be this certain: little that is real is there for under 0.5 s.
LONE_SCORE_MIN: Final = 0.7
SAME_LABEL_IOU: Final = 0.45
"""Two boxes of one label that overlap more are one object."""
ANY_LABEL_IOU: Final = 0.85
"""Two boxes that overlap more are one object, whatever their labels; the more certain label stays."""
AREA_MIN: Final = 0.0004
"""Share of the picture; a smaller box is 6x6 px at the network's input and not to be trusted."""
SAME_PICTURE_LEVELS: Final = 1.0
"""Largest mean difference (of 255) in any of 10x10 blocks of the network's input at which the last answer is kept."""
BLOCK_PX: Final = 30
NOISE_CORRELATION: Final = 0.5
"""Neighbouring pixels of natural pictures correlate above 0.9, of noise near 0. Below this there is no picture."""

LOST_S: Final = 1.0
"""How long a track may be unseen (covered, missed) and still go on."""
LINK_IOU: Final = 0.15
LINK_DISTANCE: Final = 0.6
"""Without enough overlap, boxes of like size are linked up to this distance of centres, in mean box sizes (pans)."""
LINK_SIZE_RATIO: Final = 2.0
SCENE_CHANGE_LEVELS: Final = 40.0
"""Mean difference (of 255) of 8x8 pixel pictures of neighbouring samples from which on nothing is the same object."""

# fmt: off
LABELS: Final = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck",
    9: "boat", 10: "traffic light", 11: "fire hydrant", 13: "stop sign", 14: "parking meter", 15: "bench",
    16: "bird", 17: "cat", 18: "dog", 19: "horse", 20: "sheep", 21: "cow", 22: "elephant", 23: "bear", 24: "zebra",
    25: "giraffe", 27: "backpack", 28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee",
    35: "skis", 36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove",
    41: "skateboard", 42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass", 47: "cup", 48: "fork",
    49: "knife", 50: "spoon", 51: "bowl", 52: "banana", 53: "apple", 54: "sandwich", 55: "orange", 56: "broccoli",
    57: "carrot", 58: "hot dog", 59: "pizza", 60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant",
    65: "bed", 67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote", 76: "keyboard",
    77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink", 82: "refrigerator", 84: "book",
    85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear", 89: "hair drier", 90: "toothbrush",
}
"""COCO's category ids (with their gaps) and names: mscoco_label_map.pbtxt of the model's repository."""
# fmt: on

Corners = tuple[float, float, float, float]


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
class Detection:
    """A box with a label and the network's score, before tracking."""

    label: str
    score: float
    box: Corners


@dataclass(frozen=True)
class Sample:
    """One sampled picture: its time, what was detected, and the picture as 8x8x3 bytes (to see scene changes)."""

    pts_s: float
    detections: tuple[Detection, ...]
    thumb: bytes


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

    spec = AnalyzerSpec("object_detection", "1.0", SCAN, timeout_s=60)
    options_model = ObjectDetectionOptions

    def load(self, device: str, profile: Profile) -> None:
        """Read the network into OpenCV's runtime, on one thread.

        Raises:
            ModelUnavailable: the weights are not in the model store.
        """
        from analyzers.models.store import ModelStore

        store = ModelStore(profile.models_dir)
        graph, text = store.path(MODEL, "frozen_inference_graph.pb"), store.path(MODEL, "graph.pbtxt")
        import cv2

        cv2.setNumThreads(1)
        self._net: Any = cv2.dnn.readNetFromTensorflow(str(graph), str(text))
        self.model = ModelInfo(
            id="ssd_mobilenet_v2_coco",
            revision="2018_03_29",
            backend=f"opencv-dnn {cv2.__version__}",
            licence="Apache-2.0",
        )

    def analyze(self, item: FrameBatch) -> ObjectsPart:
        """Detect in every picture; one that is unchanged keeps the answer of the one before it in the chunk."""
        import cv2

        samples: list[Sample] = []
        asked: npt.NDArray[np.uint8] | None = None
        found: tuple[Detection, ...] = ()
        for frame, pts_s in zip(item.frames, item.pts_s, strict=True):
            small = np.asarray(cv2.resize(frame, (INPUT_PX, INPUT_PX), interpolation=_interpolation(frame)), np.uint8)
            if asked is None or changed(asked, small):
                asked, found = small, self._detect(small)
            thumb = np.asarray(cv2.resize(small, (8, 8), interpolation=cv2.INTER_AREA), np.uint8)
            samples.append(Sample(float(pts_s), found, thumb.tobytes()))
        return ObjectsPart(tuple(samples[item.lead_in :]), item.end_s)

    def _detect(self, small: npt.NDArray[np.uint8]) -> tuple[Detection, ...]:
        import cv2

        if not is_picture(small):
            return ()
        self._net.setInput(cv2.dnn.blobFromImage(small))
        rows = np.asarray(self._net.forward(), np.float32).reshape(-1, 7)  # image, label, score, x0, y0, x1, y1
        boxes = np.clip(rows[:, 3:7], 0.0, 1.0)
        candidates = [
            Detection(LABELS[int(row[1])], float(row[2]), (float(b[0]), float(b[1]), float(b[2]), float(b[3])))
            for row, b in zip(rows, boxes, strict=True)
            if row[2] >= CONTINUE_SCORE_MIN and int(row[1]) in LABELS and (b[2] - b[0]) * (b[3] - b[1]) >= AREA_MIN
        ]
        return suppress(candidates)

    def summarize(self, parts: Sequence[ObjectsPart], upstream: Upstream) -> ObjectsReport:
        """Link the boxes of all samples to tracks."""
        assert isinstance(self.options, ObjectDetectionOptions)
        samples = [sample for part in parts for sample in part.samples]
        end_s = parts[-1].end_s if parts else 0.0
        tracks = confirmed(link(samples, self.options.score_min), lone_ok=len(samples) == 1)
        shown: list[list[DetectedObject]] = [[] for _ in samples]
        for number, track in enumerate(tracks, start=1):
            for step, seen in track.seen.items():
                shown[step].append(DetectedObject(label=seen.label, score=seen.score, box=seen.box, track=number))
        ends = [sample.pts_s for sample in samples[1:]] + [end_s]
        segments = [
            ObjectsSegment(start=sample.pts_s, end=max(end, sample.pts_s), objects=objects)
            for sample, end, objects in zip(samples, ends, shown, strict=True)
        ]
        return ObjectsReport(segments=segments, summary=_summary(segments))


# --- one picture ------------------------------------------------------------------------------------------------------


def _interpolation(frame: npt.NDArray[np.uint8]) -> int:
    import cv2

    return int(cv2.INTER_AREA if min(frame.shape[:2]) >= INPUT_PX else cv2.INTER_LINEAR)


def changed(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> bool:
    """Whether two network inputs [300, 300, 3] differ in any block by more than coding noise."""
    difference = np.abs(before.astype(np.int16) - after)
    blocks = difference.reshape(INPUT_PX // BLOCK_PX, BLOCK_PX, INPUT_PX // BLOCK_PX, BLOCK_PX, 3)
    return bool(blocks.mean(axis=(1, 3)).max() > SAME_PICTURE_LEVELS)


def is_picture(small: npt.NDArray[np.uint8]) -> bool:
    """Whether an RGB picture shows anything: not one plain colour, and not noise (the network sees umbrellas in it)."""
    light = small.astype(np.float32).mean(axis=2)
    light -= light.mean()
    variance = float((light * light).mean())
    if variance < 1.0:  # levels squared: nothing but rounding
        return False
    across, down = (light[:, 1:] * light[:, :-1]).mean(), (light[1:] * light[:-1]).mean()
    return bool(max(across, down) / variance >= NOISE_CORRELATION)


def iou(a: Corners, b: Corners) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area_a + area_b - width * height)


def suppress(candidates: Sequence[Detection]) -> tuple[Detection, ...]:
    """Keep the most certain of boxes that are one object; most certain first."""
    kept: list[Detection] = []
    for candidate in sorted(candidates, key=lambda d: (-d.score, d.label, d.box)):
        limits = ((other, SAME_LABEL_IOU if other.label == candidate.label else ANY_LABEL_IOU) for other in kept)
        if all(iou(candidate.box, other.box) <= limit for other, limit in limits):
            kept.append(candidate)
    return tuple(kept)


# --- the whole video --------------------------------------------------------------------------------------------------


@dataclass
class Track:
    """One object: what was seen of it by sample number, and its speed (of the four corners, per second)."""

    seen: dict[int, Detection]
    last_s: float
    speed: Corners = (0.0, 0.0, 0.0, 0.0)
    closed: bool = field(default=False)

    @property
    def last(self) -> Detection:
        """The latest sighting."""
        return next(reversed(self.seen.values()))

    def expected(self, pts_s: float) -> Corners:
        """Where its speed takes it."""
        box, gap_s = self.last.box, pts_s - self.last_s
        return (
            box[0] + self.speed[0] * gap_s,
            box[1] + self.speed[1] * gap_s,
            box[2] + self.speed[2] * gap_s,
            box[3] + self.speed[3] * gap_s,
        )

    def add(self, step: int, pts_s: float, detection: Detection) -> None:
        """Continue it; its speed is a mean of the old and the new (half and half, so that box jitter is damped)."""
        gap_s = max(pts_s - self.last_s, 1e-3)
        moved = [(new - old) / gap_s for new, old in zip(detection.box, self.last.box, strict=True)]
        first = len(self.seen) == 1
        x0, y0, x1, y1 = (m if first else (m + s) / 2 for m, s in zip(moved, self.speed, strict=True))
        self.speed, self.last_s = (x0, y0, x1, y1), pts_s
        self.seen[step] = detection


def link(samples: Sequence[Sample], score_min: float = SCORE_MIN) -> list[Track]:
    """Tracks of all samples in the order in which they begin."""
    tracks: list[Track] = []
    before: npt.NDArray[np.int16] | None = None
    for step, sample in enumerate(samples):
        thumb = np.frombuffer(sample.thumb, np.uint8).astype(np.int16)
        if before is not None and np.abs(thumb - before).mean() > SCENE_CHANGE_LEVELS:
            for track in tracks:
                track.closed = True
        before = thumb
        open_tracks = [t for t in tracks if not t.closed and sample.pts_s - t.last_s <= LOST_S]
        sure = [d for d in sample.detections if d.score >= score_min]
        unsure = [d for d in sample.detections if d.score < score_min]
        left = _match(open_tracks, sure, step, sample.pts_s)
        still_open = [t for t in open_tracks if step not in t.seen]
        _match(still_open, unsure, step, sample.pts_s)
        tracks += [Track({step: detection}, sample.pts_s) for detection in left]
    return tracks


def _match(tracks: Sequence[Track], detections: Sequence[Detection], step: int, pts_s: float) -> list[Detection]:
    """Continue tracks by their best boxes, best pairs first; the boxes that are left."""
    pairs = []
    for t, track in enumerate(tracks):
        for d, detection in enumerate(detections):
            if track.last.label == detection.label:
                # Where it was counts as well as where it should be: what moved may have stopped.
                likeness = max(
                    _likeness(track.expected(pts_s), detection.box), _likeness(track.last.box, detection.box)
                )
                if likeness > 0:
                    pairs.append((-likeness, t, d))
    used_tracks: set[int] = set()
    used: set[int] = set()
    for _, t, d in sorted(pairs):
        if t not in used_tracks and d not in used:
            used_tracks.add(t)
            used.add(d)
            tracks[t].add(step, pts_s, detections[d])
    return [detection for d, detection in enumerate(detections) if d not in used]


def _likeness(expected: Corners, box: Corners) -> float:
    """1..2 by overlap, 0..1 by distance where boxes of like size hardly overlap, else 0."""
    overlap = iou(expected, box)
    if overlap >= LINK_IOU:
        return 1 + overlap
    sizes = [max((b[2] - b[0]) * (b[3] - b[1]), 1e-6) ** 0.5 for b in (expected, box)]
    if max(sizes) > LINK_SIZE_RATIO * min(sizes):
        return 0.0
    dx = (expected[0] + expected[2] - box[0] - box[2]) / 2
    dy = (expected[1] + expected[3] - box[1] - box[3]) / 2
    distance = math.hypot(dx, dy) / (sum(sizes) / 2)
    return float(max(0.0, 1 - distance / LINK_DISTANCE))


def confirmed(tracks: Sequence[Track], *, lone_ok: bool = False) -> list[Track]:
    """Without those seen in one sample only and not certain there; `lone_ok` for a video that has but one sample."""
    return [t for t in tracks if len(t.seen) > 1 or lone_ok or t.last.score >= LONE_SCORE_MIN]


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
