"""How right eye_tracking is: portraits that look into the camera or aside, each also mirrored, irises painted at known
places, painted blinks, a talking face, and material without faces.

The portraits on which the method's one own constant was measured (the astronaut, biden.jpg) are not scored for gaze.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from analyzers.eye_tracking import EyeTracking, GazeReport, TrackedGaze
from analyzers.models.face_mesh import IRIS_FILE, IRIS_PX, MODEL, IrisNetwork
from analyzers.models.store import ModelStore
from benchmarks.truth import Figure, run_analyzer
from pipeline.analyzer import Profile
from pipeline.settings import load_settings
from tests.media.face_clips import blink_clip, face_clip, faceless_clip, group_clip, turned_clip
from tests.media.packages import package_file

NAME: Final = "eye_tracking"
INTO_CAMERA: Final = ("obama", "obama3")
ASIDE: Final = ("obama2", "ancelotti")
"""Both look to the picture's left."""
BLINK_S: Final = 0.26
"""A step of the samples."""
OFFSETS_PX: Final = (-6, -4, -2, 0, 2, 4, 6)
"""An eye of 28 px is drawn: 6 px are a look of some 35 degrees aside, further than people look without turning."""


def first_faces(report: GazeReport) -> list[TrackedGaze]:
    """The largest face of each sample that has one."""
    return [segment.faces[0] for segment in report.segments if segment.faces]


def contact(report: GazeReport) -> float:
    """Its eye contact share; not a number without eyes to read."""
    share = report.summary.eye_contact_share
    return np.nan if share is None else share


def middle(report: GazeReport) -> npt.NDArray[np.float64]:
    """Median yaw, pitch and openness of the largest faces; not a number without any."""
    faces = first_faces(report)
    values = [[face.yaw, face.pitch, face.openness or 0.0] for face in faces] or [[np.nan] * 3]
    return np.asarray(np.median(np.array(values), axis=0))


def drawn_eye(right_px: float) -> npt.NDArray[np.uint8]:
    """A right eye as the iris network gets it, its iris moved to the right by so many pixels of 64."""
    scale = 8
    eye = np.full((IRIS_PX * scale, IRIS_PX * scale, 3), (205, 165, 140), np.uint8)
    mask = np.zeros(eye.shape[:2], np.uint8)
    cv2.ellipse(mask, (32 * scale, 33 * scale), (14 * scale, 6 * scale), 0, 0, 360, 255, -1, cv2.LINE_AA)
    ball = np.full_like(eye, (235, 228, 222))
    at = (round((32 + right_px) * scale), 32 * scale)
    cv2.circle(ball, at, 6 * scale, (90, 60, 35), -1, cv2.LINE_AA)
    cv2.circle(ball, at, round(2.5 * scale), (15, 12, 10), -1, cv2.LINE_AA)
    cover = mask.astype(np.float32)[:, :, None] / 255
    eye = np.asarray(eye * (1 - cover) + ball * cover, np.uint8)
    cv2.ellipse(eye, (32 * scale, 33 * scale), (14 * scale, 6 * scale), 0, 180, 360, (60, 40, 30), scale, cv2.LINE_AA)
    cv2.ellipse(eye, (32 * scale, 22 * scale), (17 * scale, 5 * scale), 0, 190, 350, (70, 45, 30), 2 * scale)
    return np.asarray(cv2.resize(eye, (IRIS_PX, IRIS_PX), interpolation=cv2.INTER_AREA), np.uint8)


def found_blinks(report: GazeReport, wanted: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Share of the blinks that are found at their time, and of those found how many are none."""
    found = [time for person in report.summary.people for time in person.blinks]
    hits = sum(any(start - 0.05 <= time <= end + BLINK_S for time in found) for start, end in wanted)
    false = sum(not any(start - 0.05 <= time <= end + BLINK_S for start, end in wanted) for time in found)
    return hits / len(wanted), false / max(1, len(found))


def measure() -> list[Figure]:
    """All of it."""
    settings = load_settings()
    analyzer = EyeTracking()
    analyzer.load("cpu", Profile(settings.profile, settings.models_dir))

    def watch(path: Any) -> GazeReport:
        report = run_analyzer(analyzer, path)
        assert isinstance(report, GazeReport)
        return report

    plain = {name: watch(face_clip(name).path) for name in INTO_CAMERA + ASIDE}
    mirrored = {name: watch(face_clip(name, mirrored=True).path) for name in INTO_CAMERA + ASIDE}
    pairs = [(middle(plain[name]), middle(mirrored[name])) for name in plain]
    everything = list(plain.values()) + list(mirrored.values())
    straight = [watched[name] for watched in (plain, mirrored) for name in INTO_CAMERA]
    aside = [watched[name] for watched in (plain, mirrored) for name in ASIDE]
    turned = watch(turned_clip().path)
    yaws = [float(np.median([f.yaw for f in first_faces(turned)[4 * n : 4 * n + 4]])) for n in range(5)]
    blinking = blink_clip()
    found, false = found_blinks(watch(blinking.path), blinking.truth["blinks"])
    iris = IrisNetwork(ModelStore(settings.models_dir).path(MODEL, IRIS_FILE))
    places = np.array([iris.look(drawn_eye(offset))[1][0, 0] - 32 for offset in OFFSETS_PX])
    talking = watch(package_file("carphone_pristine.mp4"))
    empty = [watch(path) for path in (faceless_clip().path, package_file("bigbuckbunny.mp4"))]
    return [
        Figure(NAME, "two portraits into the camera, also mirrored: least eye contact share",
               min(contact(r) for r in straight), 0.9),
        Figure(NAME, "the same: largest yaw or pitch, degrees",
               float(max(np.abs(middle(r)[:2]).max() for r in straight)), 8, at_most=True),
        Figure(NAME, "two faces that look aside, also mirrored: most eye contact share",
               max(contact(r) for r in aside), 0.1, at_most=True),
        Figure(NAME, "the same: yaw of the right sign and over 8 degrees, share",
               float(np.mean([s * middle(w[n])[0] < -8 for w, s in ((plain, 1), (mirrored, -1)) for n in ASIDE])), 1),
        Figure(NAME, "mirrored pictures: yaw changes its sign, worst error in degrees",
               float(max(abs(a[0] + b[0]) for a, b in pairs)), 5, at_most=True),
        Figure(NAME, "mirrored pictures: pitch stays, worst error in degrees",
               float(max(abs(a[1] - b[1]) for a, b in pairs)), 5, at_most=True),
        Figure(NAME, "moves towards a face: worst standard deviation of yaw, degrees",
               float(max(np.std([f.yaw for f in first_faces(r)]) for r in everything)), 3, at_most=True),
        Figure(NAME, "portraits and moves: share of samples with exactly one face",
               float(np.mean([len(s.faces) == 1 for r in everything for s in r.segments])), 0.95),
        Figure(NAME, "irises painted at five places: least step of yaw per 2 px (7 to 14 degrees), degrees",
               float(min(np.diff(yaws))), 6),
        Figure(NAME, "irises drawn at seven places of an eye: worst error of the iris, px of 64",
               float(np.abs(places - np.mean(places) - np.array(OFFSETS_PX)).max()), 2, at_most=True),
        Figure(NAME, "three painted blinks of 0.4 s, found at their time, share", found, 1),
        Figure(NAME, "the same, blinks found that are none, share", false, 0, at_most=True),
        Figure(NAME, "blinks in portraits with open eyes", sum(r.summary.blinks for r in everything), 0, at_most=True),
        Figure(NAME, "a talking face of 55 px (carphone), share of samples with it",
               float(np.mean([len(s.faces) == 1 for s in talking.segments])), 0.9),
        Figure(NAME, "a pan over a group of six: people counted too many or too few",
               abs(len(watch(group_clip().path).summary.people) - 6), 1, at_most=True),
        Figure(NAME, "a cat, noise, plain pictures, animation: faces invented",
               sum(len(s.faces) for r in empty for s in r.segments), 0, at_most=True),
    ]  # fmt: skip
