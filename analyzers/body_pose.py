"""Where people's joints are in every sampled picture, what posture that is, what their arms do, how much they move.

People are found by SSD MobileNet v2 (see object_detection, whose report holds no pixels), once a second and whenever
the picture is another one; MoveNet Lightning then reads 17 COCO keypoints in a square around each (model card:
MoveNet.SinglePose, Google 2021), and in the pictures between follows each person from where they were. MediaPipe's
pose detector costs a third of the SSD but found 1 of 3 and 1 of 2 people in photos, and one in an animated rabbit.

A person is only claimed where the network found one and MoveNet finds enough joints inside of it. Posture and gestures:
analyzers/methods/posture.py. Tracks: analyzers/models/tracking.py, as in object_detection.

Full profile: YOLO pose (analyzers/models/yolo.py) finds people and joints in every sample at once; the same joints
must be evident, and everything after that is the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

import numpy as np

from analyzers.methods.poses import Pose, movement
from analyzers.methods.posture import Gesture, Posture, gestures_of, posture_of
from analyzers.models import yolo
from analyzers.models.hub import ModelOptions, locate
from analyzers.models.movenet import JOINT_SCORE_MIN
from analyzers.models.people import MoveNetReader, PoseReader, YoloReader, pictures_of
from analyzers.models.tracking import Detection, Sample, confirmed, link
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.results import (
    Box,
    Coordinate,
    Document,
    ModelInfo,
    Number,
    Report,
    Score,
    Seconds,
    Segment,
    Summary,
    Upstream,
)
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch

DETECTOR, POSES = "ssd_mobilenet_v2_coco", "movenet_lightning"
STEP_S_MAX: Final = 0.6
"""Movement is measured between sightings no further apart."""

Name = TypeVar("Name", bound=str)
Keypoint = tuple[Coordinate, Coordinate, Score]


class Person(Document):
    """One person in one sampled picture.

    `keypoints` are x, y (0..1 of the picture) and score of nose, eyes, ears, shoulders, elbows, wrists, hips, knees and
    ankles, left before right (the person's own); below 0.25 a joint is not to be trusted. `score` is the mean of those
    above. `track` is the same number wherever it is the same person. `movement` is the mean speed of the joints since
    the sample before in sizes of the person (square root of the box's area) per second, without the camera's shift;
    null where it is not known.
    """

    score: Score
    box: Box
    keypoints: list[Keypoint]
    posture: Posture
    gestures: list[Gesture]
    track: int
    movement: Number | None


class PoseSegment(Segment):
    """Who is in the picture from one sample to the next; `movement_energy` is their mean movement, null if unknown."""

    persons: list[Person]
    movement_energy: Number | None


class PoseSummary(Summary):
    """`movement_energy`: mean movement of all people (about 0.1: none but the joints' jitter); null without people.
    `people`: different ones. `postures`: share of their time. `gestures`: seconds with each."""

    movement_energy: Number | None
    people: int
    most_at_once: int
    postures: dict[Posture, Score]
    gestures: dict[Gesture, Seconds]


class PoseReport(Report[PoseSegment, PoseSummary]):
    """One segment per sampled picture."""


@dataclass(frozen=True)
class PosePart:
    """One chunk: per sample what tracking needs, and the people; the picture's width over its height; its end."""

    samples: tuple[Sample, ...]
    people: tuple[tuple[Pose, ...], ...]
    aspect: float
    end_s: float


class BodyPoseOptions(ModelOptions):
    """`model` of the full profile: ``yolov8``, ``yolo11`` or ``yolo26`` with a size and ``-pose``, or a folder."""

    model: str = "yolo11m-pose"
    quantize: Literal["none"] = "none"


class BodyPose(Analyzer[PosePart, PoseReport]):
    """People's keypoints, posture, gestures, tracks and movement; see the module's head for the method."""

    spec = AnalyzerSpec("body_pose", "1.0", SCAN, timeout_s=60)
    tiles = True
    options_model = BodyPoseOptions
    options: BodyPoseOptions

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """Under the full profile a share of a GPU, and 16 chunks at once: their 64 pictures are one call."""
        if profile != "full":
            return cls.spec
        assert isinstance(options, BodyPoseOptions)
        return replace(cls.spec, gpu_gb=yolo.needed_gb(options), batch=16)

    def load(self, device: str, profile: Profile) -> None:
        """Open the networks, on one thread of a CPU or on a GPU.

        Raises:
            ModelUnavailable: the weights are not in the model store, or cannot be used.
        """
        if profile.name == "full":
            local = locate(profile.models_dir, self.options.model, self.spec.name)
            network = yolo.Yolo(local, device, self.options, "pose")
            self._reader: PoseReader = YoloReader(network)
            self.model = network.info
            return
        from analyzers.models.store import ModelStore

        store = ModelStore(profile.models_dir)
        graph, poses = store.path(DETECTOR, "frozen_inference_graph.pb"), store.path(POSES, "movenet_lightning.tflite")
        import cv2

        cv2.setNumThreads(1)
        self._reader = MoveNetReader(graph, poses)
        self.model = ModelInfo(id=POSES, revision="4", backend="LiteRT", note=f"people found by {DETECTOR}")

    def analyze(self, item: FrameBatch) -> PosePart:
        """Read one chunk."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[FrameBatch]) -> list[PosePart]:  # type: ignore[override]
        """Read the pictures of all chunks."""
        chunks = [pictures_of(item) for item in items]
        return [
            PosePart(tuple(chunk.samples), tuple(people), item.frames.shape[2] / item.frames.shape[1], item.end_s)
            for item, chunk, people in zip(items, chunks, self._reader(chunks), strict=True)
        ]

    def summarize(self, parts: Sequence[PosePart], upstream: Upstream) -> PoseReport:
        """Link people to tracks and measure how they move."""
        samples: list[Sample] = []
        poses: list[dict[Detection, Pose]] = []
        for part in parts:
            for sample, people in zip(part.samples, part.people, strict=True):
                known = {pose.found: pose for pose in people}
                samples.append(Sample(sample.pts_s, tuple(known), sample.thumb, sample.small))
                poses.append(known)
        aspect = parts[0].aspect if parts else 1.0
        lone_score_min = self._reader.lone if len(samples) > 1 else 0.0
        tracks = confirmed(link(samples, self._reader.begin), lone_score_min=lone_score_min)
        shown: list[list[Person]] = [[] for _ in samples]
        for number, track in enumerate(tracks, start=1):
            earlier: int | None = None
            steady = steady_postures(
                {step: posture_of(poses[step][d].points, aspect) for step, d in track.seen.items()}
            )
            for step, found in track.seen.items():
                pose = poses[step][found]
                speed = None
                if earlier is not None and samples[step].pts_s - samples[earlier].pts_s <= STEP_S_MAX:
                    speed = movement(
                        poses[earlier][track.seen[earlier]], pose, (samples[earlier], samples[step]), aspect
                    )
                shown[step].append(_person(pose, number, speed, aspect, steady[step]))
                earlier = step
        ends = [sample.pts_s for sample in samples[1:]] + [part.end_s for part in parts[-1:]]
        segments = []
        for sample, end, persons in zip(samples, ends, shown, strict=True):
            speeds = [p.movement for p in persons if p.movement is not None]
            energy = float(np.mean(speeds)) if speeds else None
            segments.append(
                PoseSegment(start=sample.pts_s, end=max(end, sample.pts_s), persons=persons, movement_energy=energy)
            )
        return PoseReport(segments=segments, summary=_summary(segments))


# --- the whole video --------------------------------------------------------------------------------------------------


def steady_postures(found: Mapping[int, Posture]) -> dict[int, Posture]:
    """By sample number: what two of a sighting and its neighbours say, or what it says itself."""
    values = list(found.values())
    steady: dict[int, Posture] = {}
    for number, (step, own) in enumerate(found.items()):
        around = values[max(0, number - 1) : number + 2]
        steady[step] = next((posture for posture in around if around.count(posture) > 1), own)
    return steady


def _person(pose: Pose, track: int, speed: float | None, aspect: float, posture: Posture) -> Person:
    points = pose.points
    keypoints = [(float(x), float(y), float(score)) for x, y, score in points]
    return Person(
        score=float(points[points[:, 2] >= JOINT_SCORE_MIN, 2].mean()),
        box=pose.found.box,
        keypoints=keypoints,
        posture=posture,
        gestures=gestures_of(points, aspect),
        track=track,
        movement=speed,
    )


def _longest(seconds: Mapping[Name, float]) -> list[tuple[Name, float]]:
    return sorted(seconds.items(), key=lambda item: (-item[1], item[0]))


def _summary(segments: Sequence[PoseSegment]) -> PoseSummary:
    postures: defaultdict[Posture, float] = defaultdict(float)
    gestures: defaultdict[Gesture, float] = defaultdict(float)
    for segment in segments:
        shown_s = segment.end - segment.start
        for person in segment.persons:
            postures[person.posture] += shown_s
        for gesture in {name for person in segment.persons for name in person.gestures}:
            gestures[gesture] += shown_s
    total = sum(postures.values())
    speeds = [p.movement for segment in segments for p in segment.persons if p.movement is not None]
    return PoseSummary(
        movement_energy=float(np.mean(speeds)) if speeds else None,
        people=len({person.track for segment in segments for person in segment.persons}),
        most_at_once=max((len(segment.persons) for segment in segments), default=0),
        postures={name: seconds / total for name, seconds in _longest(postures)} if total > 0 else {},
        gestures=dict(_longest(gestures)),
    )
