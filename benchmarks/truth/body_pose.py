"""How right body_pose is: joints of three people in zooms and pans over photos, also mirrored, people who are followed
as they pass and vanish, how much walkers move against a moving camera, and nobody where nobody is.

The joints were read off the photos by eye (to about 2 % of the person's height). A joint counts as found within a tenth
of the person's height (PCK 0.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from analyzers.body_pose import BodyPose, PoseReport
from analyzers.models.movenet import JOINT_SCORE_MIN, NAMES
from analyzers.models.tracking import iou
from benchmarks.truth import Figure, run_analyzer
from benchmarks.truth.object_detection import identity, nothing_clip, pan_clip
from pipeline.analyzer import Profile
from pipeline.settings import load_settings
from tests.media.clips import cached
from tests.media.encode import Clip, write_clip
from tests.media.packages import package_file
from tests.media.people import FPS, HEIGHT, WIDTH, tracking_clip
from tests.media.scenes import Frame, Look, between, move, scene, seen
from tests.media.text_clips import photo

NAME: Final = "body_pose"
VERSION: Final = "pose-1"
SECONDS: Final = 2.0
REACH: Final = 0.1
FOLLOWED: Final = [("crossing", 1000), ("crossing", 1001), ("occlusion", 1000), ("fast_pan", 1000), ("cut", 1000)]

# Pixels of the photo; left and right are the person's own. The height is from head to foot, or to the photo's edge.
JOINTS: Final[dict[str, list[tuple[int, dict[str, tuple[int, int]]]]]] = {
    "bus.jpg": [
        (500, {
            "nose": (141, 446), "right_shoulder": (80, 500), "left_shoulder": (168, 500), "right_elbow": (80, 575),
            "left_elbow": (192, 565), "right_knee": (85, 775), "left_knee": (168, 775), "right_ankle": (72, 860),
            "left_ankle": (188, 862),
        }),
        (455, {
            "nose": (295, 452), "right_shoulder": (250, 497), "left_shoulder": (325, 493), "left_elbow": (338, 555),
            "left_wrist": (285, 528), "right_knee": (258, 750), "left_knee": (325, 722), "right_ankle": (262, 825),
            "left_ankle": (285, 785),
        }),
    ],
    "zidane.jpg": [
        (678, {
            "nose": (997, 197), "right_eye": (966, 166), "left_eye": (1021, 168), "right_shoulder": (793, 311),
            "left_shoulder": (1057, 311),
        }),
    ],
}  # fmt: skip
LOOKS: Final = {
    "bus.jpg": (Look(0.27, 0.60, 0.46), Look(0.25, 0.60, 0.40)),
    "zidane.jpg": (Look(0.70, 0.5, 0.315), Look(0.80, 0.5, 0.315)),
}


def other_side(joint: str) -> str:
    """What a mirror makes of a joint."""
    side, _, rest = joint.partition("_")
    return {"left": "right_", "right": "left_"}.get(side, side) + rest


def joints_clip(name: str, mirrored: bool = False) -> Clip:
    """A camera move over a photo. Truth: ``people``, per frame and person {time, height, joints: {name: [x, y]}}."""

    def build(path: Path) -> dict[str, Any]:
        picture = photo(name)
        tall, wide = picture.shape[:2]
        start, end = LOOKS[name]
        if mirrored:
            picture = np.ascontiguousarray(picture[:, ::-1])
            start, end = (Look(1 - look.x, look.y, look.width) for look in (start, end))
        count = round(SECONDS * FPS)
        truth = []
        for number in range(count):
            look = between(start, end, number / max(count - 1, 1))
            scale = WIDTH / (look.width * wide)
            for height, joints in JOINTS[name]:
                placed = {}
                for joint, (x, y) in joints.items():
                    at_x = wide - 1 - x if mirrored else x
                    placed[other_side(joint) if mirrored else joint] = [
                        (at_x - look.x * wide) * scale / WIDTH + 0.5,
                        (y - look.y * tall) * scale / HEIGHT + 0.5,
                    ]
                truth.append({"time": number / FPS, "height": height * scale / HEIGHT, "joints": placed})
        write_clip(path, move(picture, start, end, count, WIDTH, HEIGHT), fps=FPS)
        return {"people": truth}

    return cached(f"joints_{name.removesuffix('.jpg')}{'_mirrored' * mirrored}", build, version=VERSION)


def joints_found(report: PoseReport, truth: list[dict[str, Any]]) -> float:
    """Share of the joints that some person has at the time and place; each true person is one reported person."""
    hits: list[bool] = []
    for segment in report.segments:
        for person in truth:
            if abs(person["time"] - segment.start) >= 0.5 / FPS:
                continue
            best = [False] * len(person["joints"])
            for found in segment.persons:
                near = []
                for joint, (x, y) in person["joints"].items():
                    at_x, at_y, score = found.keypoints[NAMES.index(joint)]
                    apart = np.hypot((at_x - x) * WIDTH / HEIGHT, at_y - y)
                    near.append(bool(score >= JOINT_SCORE_MIN and apart <= REACH * person["height"]))
                best = max(best, near, key=sum)
            hits += best
    return float(np.mean(hits))


def nobody_clip() -> Clip:
    """A made-up scene under a moving camera."""

    def frames() -> Iterator[Frame]:
        picture = scene(1000, 1200, 1200, shapes=60)
        yield from (seen(picture, Look(0.3 + 0.02 * n, 0.5, 0.4), WIDTH, HEIGHT) for n in range(16))

    return cached("nobody", lambda path: {"frames": len(str(write_clip(path, frames(), fps=4.0)))}, version=VERSION)


def measure() -> list[Figure]:
    """Joints, people, identities, movement, and clips without people."""
    settings = load_settings()
    analyzer = BodyPose()
    analyzer.load("cpu", Profile(settings.profile, settings.models_dir))

    def watch(clip: Clip | Path) -> PoseReport:
        report = run_analyzer(analyzer, clip.path if isinstance(clip, Clip) else clip)
        assert isinstance(report, PoseReport)
        return report

    street, mirrored, coach = (joints_clip("bus.jpg"), joints_clip("bus.jpg", mirrored=True), joints_clip("zidane.jpg"))
    on_street, on_coach = watch(street), watch(coach)
    panned = pan_clip("bus.jpg")
    wanted = [want for want in panned.truth["objects"] if want["label"] == "person"]
    hits = [
        any(iou(found.box, tuple(want["box"])) >= 0.5 for found in segment.persons)
        for segment in watch(panned).segments
        for want in wanted
        if abs(want["time"] - segment.start) < 0.5 / FPS
    ]
    switched, merged, walking = 0, 0, []
    for kind, seed in FOLLOWED:
        clip = tracking_clip(kind, seed)
        report = watch(clip)
        switches, mergers = identity(report, clip.truth["people"], of="persons")
        switched, merged = switched + switches, merged + mergers
        if kind == "crossing":
            walking.append(report.summary.movement_energy or 0.0)
    still = max(on_street.summary.movement_energy or 0.0, on_coach.summary.movement_energy or 0.0)
    nobody = (nothing_clip(), nobody_clip(), package_file("bigbuckbunny.mp4"))
    invented = sum(len(segment.persons) for clip in nobody for segment in watch(clip).segments)
    joints = {
        "zoom on two people": joints_found(on_street, street.truth["people"]),
        "the same mirrored (left is right)": joints_found(watch(mirrored), mirrored.truth["people"]),
        "pan over a man": joints_found(on_coach, coach.truth["people"]),
    }
    standing = on_street.summary.postures.get("standing", 0.0)
    upper_body = on_coach.summary.postures.get("upper_body", 0.0)
    return [
        *(Figure(NAME, f"{what}, joints within 0.1 heights, share", value, 0.8) for what, value in joints.items()),
        Figure(NAME, "pan over a street, people found at IoU 0.5, share", float(np.mean(hits)), 0.8),
        Figure(NAME, "two people who stand, share of time called so", standing, 0.9),
        Figure(NAME, "a man seen from the hips up, share of time called upper_body", upper_body, 0.9),
        Figure(NAME, "five clips of two people to follow, tracks switched", switched, 1, at_most=True),
        Figure(NAME, "five clips of two people to follow, tracks of both", merged, 0, at_most=True),
        Figure(NAME, "movement of walkers over that of still people under a moving camera", min(walking) / still, 2.0),
        Figure(NAME, "noise, plain, made-up scenes and animation, people invented", invented, 0, at_most=True),
    ]
