"""Where people's joints are in every sampled picture, what posture that is, what their arms do, how much they move.

People are found by SSD MobileNet v2 (see object_detection, whose report holds no pixels), once a second and whenever
the picture is another one; MoveNet Lightning then reads 17 COCO keypoints in a square around each (model card:
MoveNet.SinglePose, Google 2021), and in the pictures between follows each person from where they were. MediaPipe's
pose detector costs a third of the SSD but found 1 of 3 and 1 of 2 people in photos, and one in an animated rabbit.

A person is only claimed where the network found one and MoveNet finds enough joints inside of it. Posture and gestures:
analyzers/methods/posture.py. Tracks: analyzers/models/tracking.py, as in object_detection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from analyzers.methods.poses import Pose, carried, distinct, is_evident, movement, size_of
from analyzers.methods.posture import Gesture, Posture, gestures_of, posture_of
from analyzers.models.movenet import JOINT_SCORE_MIN, MoveNet
from analyzers.models.ssd import changed, input_of, is_picture, shared_ssd
from analyzers.models.tracking import (
    Corners,
    Detection,
    Sample,
    camera_shift,
    confirmed,
    difference,
    link,
    look,
    scene_changes,
    small_picture,
    suppress,
)
from pipeline.analyzer import Analyzer, Profile
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
PERSON: Final = 1
"""COCO's category id."""
PERSON_SCORE_MIN: Final = 0.5
"""As object_detection: below, drawn blobs become people."""
AREA_MIN: Final = 0.01
"""Share of the picture; in a smaller box joints are a few pixels apart."""
PEOPLE_MAX: Final = 6
"""The largest are taken."""
LOOK_AGAIN_SHIFT: Final = 0.25
"""After the camera moved so far (0..1 of the picture) new people may be in view."""
OTHER_LEVELS: Final = 25.0
"""Mean difference (of 255) of 8x8 pixel pictures from which on people are looked for anew."""
LONE_SCORE_MIN: Final = 0.7
"""A person seen in one sample only must be this certain, as in object_detection."""
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


class BodyPose(Analyzer[PosePart, PoseReport]):
    """People's keypoints, posture, gestures, tracks and movement; see the module's head for the method."""

    spec = AnalyzerSpec("body_pose", "1.0", SCAN, timeout_s=60)
    tiles = True

    def load(self, device: str, profile: Profile) -> None:
        """Open both networks on one thread.

        Raises:
            ModelUnavailable: the weights are not in the model store.
        """
        from analyzers.models.store import ModelStore

        store = ModelStore(profile.models_dir)
        graph, poses = store.path(DETECTOR, "frozen_inference_graph.pb"), store.path(POSES, "movenet_lightning.tflite")
        import cv2

        cv2.setNumThreads(1)
        self._detector, self._movenet = shared_ssd(graph), MoveNet(poses)
        self.model = ModelInfo(id=POSES, revision="4", backend="LiteRT", note=f"people found by {DETECTOR}")

    def analyze(self, item: FrameBatch) -> PosePart:
        """Find people at the start and after changes; follow them in between; take over where nothing changed."""
        samples: list[Sample] = []
        people: list[tuple[Pose, ...]] = []
        before: npt.NDArray[np.uint8] | None = None
        shift = 0.0
        for number in range(item.lead_in, len(item.frames)):
            frame, small = item.frames[number], input_of(item.frames[number])
            sample = Sample(float(item.pts_s[number]), (), _thumb(small), small_picture(small))
            found: tuple[Pose, ...] = ()
            if before is not None and not changed(before, small):
                found = people[-1]
            else:
                again = before is None or _is_other(samples[-1], sample)
                if not again:
                    moved = camera_shift(samples[-1], sample)
                    shift += max(abs(moved[0]), abs(moved[1]))
                    again = shift > LOOK_AGAIN_SHIFT
                if not again:
                    found = self._follow(frame, small, people[-1], moved)
                    again = len(found) < len(people[-1])
                if again:
                    found, shift = self._find(frame, small), 0.0
                before = small
            people.append(found)
            samples.append(sample)
        return PosePart(tuple(samples), tuple(people), item.frames.shape[2] / item.frames.shape[1], item.end_s)

    def _find(self, frame: npt.NDArray[np.uint8], small: npt.NDArray[np.uint8]) -> tuple[Pose, ...]:
        if not is_picture(small):
            return ()
        boxes, scores = self._detector(small)
        boxes = np.clip(boxes, 0.0, 1.0)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        good = np.flatnonzero((scores[:, PERSON] >= PERSON_SCORE_MIN) & (areas >= AREA_MIN))
        candidates = suppress([Detection("person", float(scores[n, PERSON]), _corners(boxes[n])) for n in good])
        largest = sorted(candidates, key=lambda d: (-size_of(d.box), d.box))[:PEOPLE_MAX]
        return distinct([pose for found in largest if (pose := self._pose(frame, small, found)) is not None])

    def _follow(
        self,
        frame: npt.NDArray[np.uint8],
        small: npt.NDArray[np.uint8],
        people: Sequence[Pose],
        moved: tuple[float, float],
    ) -> tuple[Pose, ...]:
        """The same people in the next picture: where they were with the camera's shift, then as far as they moved."""
        following = []
        for person in people:
            crop = Detection("person", person.found.score, _shifted(person.found.box, moved))
            pose = self._pose(frame, small, crop, person)
            if pose is not None:
                following.append(pose)
        return distinct(following)

    def _pose(
        self,
        frame: npt.NDArray[np.uint8],
        small: npt.NDArray[np.uint8],
        found: Detection,
        before: Pose | None = None,
    ) -> Pose | None:
        points = self._movenet(frame, found.box)
        box = found.box if before is None else carried(before.found.box, before.points, points)
        if box[2] - box[0] < 0.01 or box[3] - box[1] < 0.01 or not is_evident(points, box):
            return None
        return Pose(Detection("person", found.score, box, look(small, box)), points.tobytes())

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
        lone_score_min = LONE_SCORE_MIN if len(samples) > 1 else 0.0
        tracks = confirmed(link(samples, PERSON_SCORE_MIN), lone_score_min=lone_score_min)
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


# --- one picture ------------------------------------------------------------------------------------------------------


def _thumb(small: npt.NDArray[np.uint8]) -> bytes:
    import cv2

    return np.asarray(cv2.resize(small, (8, 8), interpolation=cv2.INTER_AREA)).tobytes()


def _is_other(before: Sample, after: Sample) -> bool:
    a, b = (np.frombuffer(sample.thumb, np.uint8) for sample in (before, after))
    return scene_changes(before, after) or (
        difference(a, b) > OTHER_LEVELS and camera_shift(before, after) == (0.0, 0.0)
    )


def _corners(box: npt.NDArray[np.float32]) -> Corners:
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1, y1


def _shifted(box: Corners, by: tuple[float, float]) -> Corners:
    return box[0] + by[0], box[1] + by[1], box[2] + by[0], box[3] + by[1]


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
