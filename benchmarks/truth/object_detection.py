"""How right object_detection is: people and a bus on pans over two photos, people who keep their track while they
pass each other, walk behind a column or are swept over by the camera, and nothing where there is nothing.

The boxes were read off the photos by eye, in 0..1 of each photo. In a pan a box counts while at least 60 % of it is in
the window; that part is where it should be found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from analyzers.models.tracking import Corners, iou
from analyzers.object_detection import ObjectDetection, ObjectsReport
from benchmarks.truth import Figure, run_analyzer
from pipeline.analyzer import Profile
from pipeline.settings import load_settings
from tests.media.clips import cached
from tests.media.encode import Clip, write_clip
from tests.media.people import FPS as PEOPLE_FPS
from tests.media.people import tracking_clip
from tests.media.scenes import Frame
from tests.media.text_clips import HEIGHT, WIDTH, pan, photo, window

NAME: Final = "object_detection"
VERSION: Final = "objects-1"
FPS: Final = 12.0
SECONDS: Final = 3.0
IN_VIEW_MIN: Final = 0.6
IOU_MIN: Final = 0.5

PHOTOS: Final[dict[str, list[tuple[str, Corners]]]] = {
    "bus.jpg": [
        ("bus", (0.01, 0.21, 0.99, 0.69)),
        ("person", (0.06, 0.37, 0.30, 0.84)),
        ("person", (0.27, 0.375, 0.43, 0.80)),
        ("person", (0.83, 0.36, 1.0, 0.82)),
    ],
    "zidane.jpg": [("person", (0.08, 0.27, 0.86, 1.0)), ("person", (0.58, 0.06, 0.89, 1.0))],
}


def pan_clip(name: str) -> Clip:
    """A vertical pan over a photo. Truth: ``objects``, per frame the time, label and box of each that is in view."""

    def build(path: Path) -> dict[str, Any]:
        picture = photo(name)
        tall, wide = picture.shape[:2]
        count = round(SECONDS * FPS)
        truth = []
        for number in range(count):
            x0, y0, w, h = window(picture, number / count)
            for label, (left, top, right, bottom) in PHOTOS[name]:
                seen = [
                    (left * wide - x0) / w,
                    (top * tall - y0) / h,
                    (right * wide - x0) / w,
                    (bottom * tall - y0) / h,
                ]
                area = (seen[2] - seen[0]) * (seen[3] - seen[1])
                inside = [min(1.0, max(0.0, value)) for value in seen]
                if (inside[2] - inside[0]) * (inside[3] - inside[1]) >= IN_VIEW_MIN * area:
                    truth.append({"time": number / FPS, "label": label, "box": inside})
        write_clip(path, (pan(picture, number / count) for number in range(count)), fps=FPS)
        return {"objects": truth}

    return cached(f"pan_{name.removesuffix('.jpg')}", build, version=VERSION)


def nothing_clip() -> Clip:
    """Noise, grey noise, blur, black and white: no objects."""

    def frames() -> Iterator[Frame]:
        rng = np.random.default_rng(3)
        for _ in range(8):
            yield np.asarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3)), np.uint8)
        for _ in range(8):
            yield np.repeat(np.asarray(rng.integers(0, 256, (HEIGHT, WIDTH, 1)), np.uint8), 3, axis=2)
        ramp = np.linspace(0, 255, HEIGHT).astype(np.uint8)
        for _ in range(8):
            yield np.repeat(np.repeat(ramp[:, None, None], WIDTH, axis=1), 3, axis=2)
        for level in (0, 255):
            for _ in range(8):
                yield np.full((HEIGHT, WIDTH, 3), level, np.uint8)

    return cached("nothing", lambda path: {"frames": len(str(write_clip(path, frames(), fps=4.0)))}, version=VERSION)


def found(report: ObjectsReport, wanted: Sequence[dict[str, Any]]) -> dict[str, float]:
    """By label, the share of wanted boxes that the report has at their time and place."""
    hits: dict[str, list[bool]] = {}
    for segment in report.segments:
        for want in wanted:
            if abs(want["time"] - segment.start) < 0.5 / FPS:
                at_place = [detected for detected in segment.objects if detected.label == want["label"]]
                x0, y0, x1, y1 = want["box"]
                hit = any(iou(detected.box, (x0, y0, x1, y1)) >= IOU_MIN for detected in at_place)
                hits.setdefault(want["label"], []).append(hit)
    return {label: sum(values) / len(values) for label, values in hits.items()}


IDENTITY_SEEDS: Final = range(1000, 1003)
VISIBLE_MIN: Final = 0.5
"""Share of a person that must be seen for their track to be judged."""


def identity(report: Any, truth: Sequence[dict[str, Any]], of: str = "objects") -> tuple[int, int]:
    """Switches (a person goes on under another track) and mergers (a track that two people had)."""
    last: dict[str, int] = {}
    owners: dict[int, set[str]] = {}
    switches = 0
    for segment in report.segments:
        now = {p["who"]: p for p in truth if abs(p["time"] - segment.start) < 0.5 / PEOPLE_FPS}
        shown = [found for found in getattr(segment, of) if getattr(found, "label", "person") == "person"]
        pairs = sorted(
            ((iou(tuple(p["box"]), found.box), p["who"], found.track) for p in now.values() for found in shown),
            reverse=True,
        )
        named: dict[str, int] = {}
        for overlap, who, track in pairs:
            if overlap >= IOU_MIN and who not in named and track not in named.values():
                named[who] = track
        named = {who: track for who, track in named.items() if now[who]["visible"] >= VISIBLE_MIN}
        for who, track in named.items():
            switches += last.get(who, track) != track
            owners.setdefault(track, set()).add(who)
        last |= named
    return switches, sum(len(people) - 1 for people in owners.values())


def measure() -> list[Figure]:
    """Pans over both photos, people to follow, and a clip of nothing."""
    settings = load_settings()
    analyzer = ObjectDetection()
    analyzer.load("cpu", Profile(settings.profile, settings.models_dir))

    def watch(clip: Clip) -> ObjectsReport:
        report = run_analyzer(analyzer, clip.path)
        assert isinstance(report, ObjectsReport)
        return report

    street, men = pan_clip("bus.jpg"), pan_clip("zidane.jpg")
    on_street, on_men = watch(street), watch(men)
    street_found, men_found = found(on_street, street.truth["objects"]), found(on_men, men.truth["objects"])
    followed = {}
    for kind in ("crossing", "occlusion", "fast_pan", "cut"):
        clips = [tracking_clip(kind, seed) for seed in IDENTITY_SEEDS]
        followed[kind] = np.sum([identity(watch(clip), clip.truth["people"]) for clip in clips], axis=0)
    invented = sum(len(segment.objects) for segment in watch(nothing_clip()).segments)
    return [
        Figure(NAME, "pan over a street, bus found at IoU 0.5, share of samples", street_found["bus"], 0.9),
        Figure(NAME, "pan over a street, people found at IoU 0.5, share", street_found["person"], 0.9),
        Figure(NAME, "pan over two men, people found at IoU 0.5, share", men_found["person"], 0.8),
        Figure(NAME, "pan over a street, tracks of the bus", on_street.summary.counts.get("bus", 0), 1, at_most=True),
        Figure(NAME, "three crossings of two people, tracks switched", int(followed["crossing"][0]), 1, at_most=True),
        Figure(NAME, "three walks behind a column, tracks switched", int(followed["occlusion"][0]), 1, at_most=True),
        Figure(NAME, "three fast pans over two people, tracks switched", int(followed["fast_pan"][0]), 1, at_most=True),
        Figure(NAME, "three cuts to another person, tracks that go on", int(followed["cut"][1]), 0, at_most=True),
        Figure(NAME, "noise, grey, black and white, objects invented", invented, 0, at_most=True),
    ]
