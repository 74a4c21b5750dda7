"""How right camera_analysis is: made-up moves (seeds that no parameter saw), a still, the photo shots of the reel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from analyzers.camera_analysis import CameraAnalysis, CameraReport
from benchmarks.truth import Figure, run_analyzer
from tests.media.clips import camera_clip, still_clip
from tests.media.reel import sample_reel

NAME: Final = "camera_analysis"
STEP_S: Final = 0.02


def measure() -> list[Figure]:
    """Share of the time with the right class; every moment counts, those beside a cut too."""
    plain = [camera_clip(1000), camera_clip(1001, upright=True)]
    movers = [camera_clip(1002, mover=True), camera_clip(1003, upright=True, mover=True)]
    still, reel = still_clip(1000), sample_reel()
    known = [shot for shot in reel.truth["shots"] if shot["motion"] is not None]
    reports = {clip.path: run_analyzer(CameraAnalysis, clip.path) for clip in [*plain, *movers, still, reel]}
    error = _speed_error(plain, reports)
    return [
        Figure(NAME, "nine motions, right for this share of the time", _mean(plain, reports), 0.9),
        Figure(NAME, "the same behind a walking subject", _mean(movers, reports), 0.9),
        Figure(NAME, "a still with sensor noise", _mean([still], reports), 0.99),
        Figure(NAME, "pans and zooms of the sample reel under captions", right_share(reports[reel.path], known), 0.9),
        Figure(NAME, "speed of pans, tilts, zooms, rolls, mean relative error", error, 0.1, at_most=True),
    ]


def right_share(report: CameraReport, motions: Sequence[dict[str, Any]]) -> float:
    """Share of the time of `motions` ({start, end, motion}) in which the report says the same."""
    right = total = 0
    for wanted in motions:
        for time_s in np.arange(wanted["start"] + STEP_S / 2, wanted["end"], STEP_S):
            found = next((s.motion for s in report.segments if s.start <= time_s < s.end), None)
            right, total = right + (found == wanted["motion"]), total + 1
    return right / total


def _mean(clips: Sequence[Any], reports: dict[Any, CameraReport]) -> float:
    return float(np.mean([right_share(reports[clip.path], clip.truth["motions"]) for clip in clips]))


def _speed_error(clips: Sequence[Any], reports: dict[Any, CameraReport]) -> float:
    errors = []
    for clip in clips:
        for wanted in clip.truth["motions"]:
            middle_s = (wanted["start"] + wanted["end"]) / 2
            segment = next(s for s in reports[clip.path].segments if s.start <= middle_s < s.end)
            if wanted["speed"] is not None:
                errors.append(abs(segment.speed - wanted["speed"]) / wanted["speed"])
    return float(np.mean(errors))
