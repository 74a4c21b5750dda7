"""How right age_estimation is: photos of people whose birth and the photo's date are known, mirrored and zoomed, a
group of adults, a face that is too small, and material without faces.

Ages: Obama (born 4 August 1961) in December 2012, in September 2009 and at some time of 2009 to 2012; Biden (born 20
November 1942) of the same time; Collins (born 19 November 1956) between her selection in 1992 and her first flight in
1995; Ancelotti (born 10 June 1959) in 2013/14, his season at Real Madrid with the other man of that photo, who is
seen from the side and not found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from analyzers.age_estimation import AgeEstimation, AgeReport
from benchmarks.truth import Figure, run_analyzer
from pipeline.analyzer import Profile
from pipeline.media import decode
from pipeline.settings import load_settings
from pipeline.types import SCAN, FrameBatch
from tests.media.face_clips import face_clip, faceless_clip, far_clip, group_clip
from tests.media.packages import package_file

NAME: Final = "age_estimation"
AGES: Final = {
    "obama": (51, 51),
    "obama2": (48, 48),
    "obama3": (47, 51),
    "biden": (66, 70),
    "astronaut": (35, 38),
    "ancelotti": (54, 54),
}
"""Youngest and oldest that the person can be in the photo, in years."""
ADULTS: Final = (20, 45)
"""Of the group: they look like young adults; nothing more is known of them here."""


def off(age: float, years: tuple[int, int]) -> float:
    """How many years an age lies outside of what is possible."""
    return max(0.0, years[0] - age, age - years[1])


def measure() -> list[Figure]:
    """All of it."""
    settings = load_settings()
    analyzer = AgeEstimation()
    analyzer.load("cpu", Profile(settings.profile, settings.models_dir))

    def watch(path: Path) -> AgeReport:
        report = run_analyzer(analyzer, path)
        assert isinstance(report, AgeReport)
        return report

    def readings(path: Path) -> list[float]:
        items = decode(path, video_id="v", views=(SCAN,), audio=False)
        parts = [analyzer.analyze(item) for item in items if isinstance(item, FrameBatch)]
        return [s.age for part in parts for sample in part.samples for s in sample.sights if s.age is not None]

    plain = {name: watch(face_clip(name).path) for name in AGES}
    mirrored = {name: watch(face_clip(name, mirrored=True).path) for name in AGES}
    ages = {name: [person.age for person in report.summary.people] or [0.0] for name, report in plain.items()}
    errors = [off(age, AGES[name]) for name, told in ages.items() for age in told]
    inside = [
        p.age_range[0] <= AGES[name][1] and p.age_range[1] >= AGES[name][0]
        for watched in (plain, mirrored)
        for name, report in watched.items()
        for p in report.summary.people
    ]
    widths = [p.age_range[1] - p.age_range[0] for report in plain.values() for p in report.summary.people]
    flips = [abs(np.median(ages[name]) - mirrored[name].summary.people[0].age) for name in AGES]
    zooms = [float(np.ptp(readings(face_clip(name).path))) for name in ("obama", "obama3", "astronaut")]
    group = [person.age for person in watch(group_clip().path).summary.people] or [0.0]
    far = watch(far_clip().path)
    empty = [watch(path) for path in (faceless_clip().path, package_file("bigbuckbunny.mp4"))]
    return [
        Figure(NAME, "six photos of known people: mean error in years (published: 5.7)",
               float(np.mean(errors)), 6, at_most=True),
        Figure(NAME, "the same: worst error in years", max(errors), 12, at_most=True),
        Figure(NAME, "the same, also mirrored: ranges that hold the true age, share", float(np.mean(inside)), 0.8),
        Figure(NAME, "the same: mean width of the ranges in years", float(np.mean(widths)), 25, at_most=True),
        Figure(NAME, "six portraits: clips with exactly one person, share",
               float(np.mean([len(plain[name].summary.people) == 1 for name in AGES])), 1),
        Figure(NAME, "mirrored pictures: worst difference in years", float(max(flips)), 4, at_most=True),
        Figure(NAME, "moves towards a face: worst range of its readings in years", max(zooms), 8, at_most=True),
        Figure(NAME, "a group of young adults: ages of 20 to 45, share",
               float(np.mean([off(age, ADULTS) == 0 for age in group])), 0.9),
        Figure(NAME, "a pan over a group of six: people counted too many or too few",
               abs(len(group) - 6), 1, at_most=True),
        Figure(NAME, "a face of 30 px: ages told", len(far.summary.people), 0, at_most=True),
        Figure(NAME, "a cat, noise, plain pictures, animation: people invented",
               sum(len(r.summary.people) + len(s.faces) for r in empty for s in r.segments), 0, at_most=True),
    ]  # fmt: skip
