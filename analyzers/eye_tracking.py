"""eye_tracking: whose face is where, where they look, whether they look into the camera, and when they blink.

Faces: MediaPipe's BlazeFace (analyzers/models/faces.py), each confirmed by the face mesh's own flag. Direction: head
pose from the mesh, iris on its ball (analyzers/models/face_mesh.py, analyzers/methods/gaze.py). Yaw > 0 looks to the
picture's right, pitch > 0 looks up; 0, 0 looks into the camera. Nobody is calibrated, so a direction errs by 5 to 10
degrees, and more in faces turned away by more than 30. Four samples a second miss half of all blinks, since these take
0.1 to 0.4 s: `blinks` is a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from analyzers.models.faces import (
    FILE,
    MODEL,
    Face,
    FaceDetector,
    Picture,
    Small,
    clipped,
    follow,
    letterbox,
    small,
    still,
)
from pipeline.analyzer import Analyzer, Profile
from pipeline.results import Box, Document, ModelInfo, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch

FACES_MAX: Final = 12
"""Faces of one picture that are looked at, the most certain first: a crowd must not take a chunk's time limit."""


class TrackedGaze(Document):
    """One face in one sampled picture; angles in degrees, see the module's head for their signs.

    Args:
        track: the same number wherever it is the same face, from 1.
        yaw, pitch: where it looks; from its eyes, or where they are closed or too small (`source`), where it faces.
        source: what yaw and pitch were read from.
        head_yaw, head_pitch, head_roll: where it faces; roll > 0 is tilted clockwise in the picture.
        eye_contact: it looks into the camera, within 12 degrees (the middle of three samples decides); in a blink as
            before it, false where the eyes are too small.
        openness: of the eyes, height over width (usually 0.2 to 0.4); null where they are too small.
        blink: they are closed.
    """

    track: int
    box: Box
    score: Score
    yaw: Number
    pitch: Number
    source: Literal["eyes", "head"]
    head_yaw: Number
    head_pitch: Number
    head_roll: Number
    eye_contact: bool
    openness: Number | None
    blink: bool


class GazeSegment(Segment):
    """The faces from one sample to the next, largest first."""

    faces: list[TrackedGaze]


class PersonGaze(Document):
    """One face over its time: seconds it was seen, share of the readable ones with eye contact (null without any), when
    it blinked."""

    track: int
    start: Seconds
    end: Seconds
    seen_s: Seconds
    eye_contact_share: Score | None
    blinks: list[Seconds]


class GazeSummary(Summary):
    """`eye_contact_share` is the share of `readable_s`, the time with a face whose eyes are large enough, in which one
    looks into the camera, and null without such time; `face_share` is the share of the video with any face; `blinks`
    are those of all faces, a lower bound."""

    eye_contact_share: Score | None
    readable_s: Seconds
    face_share: Score
    blinks: int
    people: list[PersonGaze]


class GazeReport(Report[GazeSegment, GazeSummary]):
    """One segment per sampled picture."""


@dataclass(frozen=True)
class Seen:
    """One face of one sample, before tracking: angles in degrees; gaze and openness None where eyes are too small."""

    face: Face
    head: tuple[float, float, float]
    gaze: tuple[float, float] | None
    openness: float | None


@dataclass(frozen=True)
class GazeSample:
    """One sampled picture: its time in s, it made small, its faces."""

    pts_s: float
    small: Small
    faces: tuple[Seen, ...]


@dataclass(frozen=True)
class GazePart:
    """One chunk's samples, and where the chunk ends in seconds."""

    samples: tuple[GazeSample, ...]
    end_s: float


class EyeTracking(Analyzer[GazePart, GazeReport]):
    """Faces, gaze, eye contact and blinks; see the module's head for the method."""

    spec = AnalyzerSpec("eye_tracking", "1.0", SCAN)
    tiles = True

    def load(self, device: str, profile: Profile) -> None:
        """Open the three networks on one thread.

        Raises:
            ModelUnavailable: the weights are not in the model store.
        """
        from analyzers.models.store import ModelStore

        store = ModelStore(profile.models_dir)
        detector = store.path(MODEL, FILE)
        import cv2

        from analyzers.models import face_mesh

        mesh, iris = (store.path(face_mesh.MODEL, file) for file in (face_mesh.MESH_FILE, face_mesh.IRIS_FILE))
        cv2.setNumThreads(1)
        self._detect = FaceDetector(detector)
        self._mesh = face_mesh.FaceMesh(mesh)
        self._iris = face_mesh.IrisNetwork(iris)
        self.model = ModelInfo(
            id="mediapipe face detection (full range), face mesh, iris",
            revision="0.10.21",
            backend="litert",
            note="directions are estimates of an uncalibrated method; blinks are a lower bound",
        )

    def analyze(self, item: FrameBatch) -> GazePart:
        """Look at every picture that differs from the one before."""
        samples: list[GazeSample] = []
        before: Picture | None = None
        for number in range(item.lead_in, len(item.frames)):
            fitted, around = letterbox(item.frames[number])
            if before is not None and still(before, fitted):
                faces = samples[-1].faces
            else:
                before, faces = fitted, self._look(item.frames[number], self._detect.look(fitted, around))
            samples.append(GazeSample(float(item.pts_s[number]), small(fitted, around), faces))
        return GazePart(tuple(samples), item.end_s)

    def _look(self, picture: Picture, faces: Sequence[Face]) -> tuple[Seen, ...]:
        from analyzers.methods import gaze

        seen = []
        for face in faces[:FACES_MAX]:
            mesh = self._mesh(picture, face)
            pose = gaze.head_pose(mesh.points) if mesh is not None else None
            if mesh is None or pose is None:
                continue
            right, left = (self._iris(picture, mesh, left=left) for left in (False, True))
            read = gaze.readable(right, left)
            looks = gaze.gaze(pose, mesh.points, right, left) if read else None
            head = (pose.yaw, pose.pitch, pose.roll)
            seen.append(Seen(face, head, looks, gaze.openness(right, left) if read else None))
        return tuple(seen)

    def summarize(self, parts: Sequence[GazePart], upstream: Upstream) -> GazeReport:
        """Follow the faces, find closed eyes by each one's own openness, and add up."""
        samples = [sample for part in parts for sample in part.samples]
        ends = [sample.pts_s for sample in samples[1:]] + [part.end_s for part in parts[-1:]]
        tracks = follow([(s.pts_s, s.small, [seen.face for seen in s.faces]) for s in samples])
        shown: list[list[TrackedGaze]] = [[] for _ in samples]
        people = []
        for track in range(1, max((n for numbers in tracks for n in numbers), default=0) + 1):
            steps = [(step, numbers.index(track)) for step, numbers in enumerate(tracks) if track in numbers]
            faces = _told(track, [samples[step].faces[place] for step, place in steps])
            for (step, _), face in zip(steps, faces, strict=True):
                shown[step].append(face)
            spans = [(samples[step].pts_s, max(ends[step], samples[step].pts_s)) for step, _ in steps]
            people.append(_person(track, spans, faces))
        segments = [
            GazeSegment(start=sample.pts_s, end=max(end, sample.pts_s), faces=sorted(faces, key=_size))
            for sample, end, faces in zip(samples, ends, shown, strict=True)
        ]
        return GazeReport(segments=segments, summary=_summary(segments, people))


def _told(track: int, sightings: Sequence[Seen]) -> list[TrackedGaze]:
    """One face's samples, in order."""
    from analyzers.methods.gaze import CONTACT_DEGREES, closed

    ratios = [seen.openness for seen in sightings if seen.openness is not None]
    shut = iter(closed(ratios))
    blinking = [seen.openness is not None and next(shut) for seen in sightings]
    known = [None if blink else seen.gaze for seen, blink in zip(sightings, blinking, strict=True)]
    told = []
    contact = False
    for number, (seen, blink, looks) in enumerate(zip(sightings, blinking, known, strict=True)):
        if not blink:
            around = [other for other in known[max(0, number - 1) : number + 2] if other is not None]
            off = [_from_camera(*other) for other in around]
            contact = looks is not None and sorted(off)[len(off) // 2] <= CONTACT_DEGREES
        yaw, pitch = looks if looks is not None else seen.head[:2]
        told.append(
            TrackedGaze(
                track=track,
                box=clipped(seen.face.box),
                score=seen.face.score,
                yaw=yaw,
                pitch=pitch,
                source="head" if looks is None else "eyes",
                head_yaw=seen.head[0],
                head_pitch=seen.head[1],
                head_roll=seen.head[2],
                eye_contact=contact,
                openness=seen.openness,
                blink=blink,
            )
        )
    return told


def _from_camera(yaw: float, pitch: float) -> float:
    """The angle in degrees between a direction and that to the camera."""
    cosine = math.cos(math.radians(yaw)) * math.cos(math.radians(pitch))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def _person(track: int, spans: Sequence[tuple[float, float]], faces: Sequence[TrackedGaze]) -> PersonGaze:
    from analyzers.methods.gaze import blinks

    lengths = [end - start for start, end in spans]
    readable = [(length, face) for length, face in zip(lengths, faces, strict=True) if face.openness is not None]
    contact_s = sum(length for length, face in readable if face.eye_contact)
    times = [start for (start, _), face in zip(spans, faces, strict=True) if face.openness is not None]
    return PersonGaze(
        track=track,
        start=spans[0][0],
        end=spans[-1][1],
        seen_s=sum(lengths),
        eye_contact_share=_share(contact_s, sum(length for length, _ in readable)) if readable else None,
        blinks=blinks(times, [face.blink for _, face in readable]),
    )


def _summary(segments: Sequence[GazeSegment], people: list[PersonGaze]) -> GazeSummary:
    def lasting(wanted: Sequence[bool]) -> float:
        return sum(s.end - s.start for s, want in zip(segments, wanted, strict=True) if want)

    readable_s = lasting([any(face.openness is not None for face in s.faces) for s in segments])
    contact_s = lasting([any(face.eye_contact for face in s.faces) for s in segments])
    return GazeSummary(
        eye_contact_share=_share(contact_s, readable_s) if readable_s > 0 else None,
        readable_s=readable_s,
        face_share=_share(lasting([bool(s.faces) for s in segments]), lasting([True] * len(segments))),
        blinks=sum(len(person.blinks) for person in people),
        people=people,
    )


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _size(face: TrackedGaze) -> float:
    """Sorts the largest face first."""
    return -(face.box[2] - face.box[0]) * (face.box[3] - face.box[1])
