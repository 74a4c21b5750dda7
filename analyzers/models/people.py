"""Finds people and their joints: SSD MobileNet v2 with MoveNet on a CPU, or YOLO pose on every picture at once.

Both claim only people whose joints are evident (analyzers/methods/poses.py), and answer with the same `Pose`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from analyzers.methods.poses import Pose, carried, distinct, is_evident, size_of
from analyzers.models import yolo
from analyzers.models.movenet import MoveNet
from analyzers.models.ssd import changed, input_of, is_picture, shared_ssd
from analyzers.models.tracking import (
    Corners,
    Detection,
    Sample,
    camera_shift,
    difference,
    look,
    scene_changes,
    small_picture,
    suppress,
)
from pipeline.types import FrameBatch

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
YOLO_SCORE_MIN, YOLO_CONTINUE_SCORE_MIN, YOLO_LONE_SCORE_MIN = 0.25, 0.1, 0.5
"""Of people found by YOLO: to begin a track, to continue one, to be seen once; as in object_detection."""
YOLO_PEOPLE_MAX: Final = 30
"""The largest are taken: keypoints of more are a few pixels apart."""
LONE_SCORE_MIN: Final = 0.7
"""A person seen in one sample only must be this certain, as in object_detection."""


@dataclass(frozen=True)
class Pictures:
    """One chunk's own pictures as they are and squeezed to 300 px, and a sample of each without detections."""

    frames: npt.NDArray[np.uint8]
    smalls: Sequence[npt.NDArray[np.uint8]]
    samples: Sequence[Sample]


class PoseReader(Protocol):
    """Finds people and their joints. `begin`, `lone`: least scores of a track's first and of its only sighting."""

    begin: float
    lone: float

    def __call__(self, chunks: Sequence[Pictures]) -> list[list[tuple[Pose, ...]]]:
        """The people in each picture of each chunk."""


def pictures_of(item: FrameBatch) -> Pictures:
    """A chunk's own pictures, without the lead-in."""
    frames, times = item.frames[item.lead_in :], item.pts_s[item.lead_in :]
    smalls = [input_of(frame) for frame in frames]
    samples = [
        Sample(float(pts_s), (), _thumb(small), small_picture(small))
        for pts_s, small in zip(times, smalls, strict=True)
    ]
    return Pictures(frames, smalls, samples)


class MoveNetReader:
    """SSD MobileNet v2 and MoveNet on the CPU.

    Args:
        graph: the detector's frozen graph.
        poses: MoveNet.
    """

    begin, lone = PERSON_SCORE_MIN, LONE_SCORE_MIN

    def __init__(self, graph: Path, poses: Path) -> None:
        self._detector, self._movenet = shared_ssd(graph), MoveNet(poses)

    def __call__(self, chunks: Sequence[Pictures]) -> list[list[tuple[Pose, ...]]]:
        """Chunk by chunk."""
        return [self._chunk(chunk) for chunk in chunks]

    def _chunk(self, chunk: Pictures) -> list[tuple[Pose, ...]]:
        """Find people at the start and after changes; follow them in between; take over where nothing changed."""
        people: list[tuple[Pose, ...]] = []
        before: npt.NDArray[np.uint8] | None = None
        shift = 0.0
        for number, (frame, small, sample) in enumerate(zip(chunk.frames, chunk.smalls, chunk.samples, strict=True)):
            found: tuple[Pose, ...] = ()
            if before is not None and not changed(before, small):
                found = people[-1]
            else:
                last = chunk.samples[number - 1]
                again = before is None or _is_other(last, sample)
                if not again:
                    moved = camera_shift(last, sample)
                    shift += max(abs(moved[0]), abs(moved[1]))
                    again = shift > LOOK_AGAIN_SHIFT
                if not again:
                    found = self._follow(frame, small, people[-1], moved)
                    again = len(found) < len(people[-1])
                if again:
                    found, shift = self._find(frame, small), 0.0
                before = small
            people.append(found)
        return people

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


class YoloReader:
    """YOLO pose on every picture that shows something, those of all chunks in as few calls as memory allows.

    Args:
        network: of the task `pose`.
    """

    begin, lone = YOLO_SCORE_MIN, YOLO_LONE_SCORE_MIN

    def __init__(self, network: yolo.Yolo) -> None:
        self._network = network

    def __call__(self, chunks: Sequence[Pictures]) -> list[list[tuple[Pose, ...]]]:
        """The answers do not depend on which chunks come together."""
        smalls = [small for chunk in chunks for small in chunk.smalls]
        frames = [frame for chunk in chunks for frame in chunk.frames]
        asked = [number for number, small in enumerate(smalls) if is_picture(small)]
        found = self._network([frames[number] for number in asked], YOLO_CONTINUE_SCORE_MIN)
        answers = {number: _people(one, smalls[number]) for number, one in zip(asked, found, strict=True)}
        every = iter(answers.get(number, ()) for number in range(len(smalls)))
        return [[next(every) for _ in chunk.smalls] for chunk in chunks]


def _people(found: yolo.Found, small: npt.NDArray[np.uint8]) -> tuple[Pose, ...]:
    """Those whose joints are evident, most certain first, each once."""
    people = []
    for corners, score, points in zip(found.boxes, found.scores, found.keypoints, strict=True):
        box = _corners(corners)
        if size_of(box) ** 2 >= AREA_MIN and box[2] > box[0] and is_evident(points, box):
            person = Detection("person", float(score), box, look(small, box))
            people.append(Pose(person, np.ascontiguousarray(points, np.float32).tobytes()))
    return distinct(sorted(people, key=lambda pose: (-size_of(pose.found.box), pose.found.box))[:YOLO_PEOPLE_MAX])


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
