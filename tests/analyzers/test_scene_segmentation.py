"""scene_segmentation: grouping on made shots, reasons, tiling; rightness on films in benchmarks/truth."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest

from analyzers.cut_analysis import CutReport, CutSummary, Shot
from analyzers.methods.scene_groups import LINK_MAX, apart, describe, group
from analyzers.scene_segmentation import SceneSegmentation, ScenesReport, reason
from pipeline.results import Upstream
from tests.analyzers.frames import FACTS, assert_covers, batches, loaded, odd_material
from tests.media.effect_clips import photo
from tests.media.scenes import Frame, Look, seen


def cuts(*bounds_s: float) -> CutReport:
    """cut_analysis' report of shots between these times."""
    shots = [
        Shot(start=a, end=b, index=n, enter="cut" if n else "start")
        for n, (a, b) in enumerate(itertools.pairwise(bounds_s))
    ]
    summary = CutSummary(
        cuts=[], shots=len(shots), mean_shot_s=1, median_shot_s=1, shortest_shot_s=1, longest_shot_s=1,
        cuts_per_minute=0, shot_length_variation=0, pace="steady",
    )  # fmt: skip
    return CutReport(segments=shots, summary=summary)


def report_on(frames: Any, pts_s: list[float], shots: CutReport, end_s: float) -> ScenesReport:
    analyzer = loaded(SceneSegmentation)
    view: Any = analyzer.spec.needs
    parts = [analyzer.analyze(batch) for batch in batches(np.asarray(frames, np.uint8), pts_s, end_s, view)]
    report = analyzer.summarize(parts, Upstream(FACTS, {"cut_analysis": shots}))
    assert isinstance(report, ScenesReport)
    return report


def views(name: str, count: int = 4) -> list[Frame]:
    return [seen(photo(name), Look(0.5 + 0.01 * n, 0.5, 0.3), 135, 240) for n in range(count)]


@pytest.mark.parametrize("name", list(odd_material()))
def test_any_material_is_covered_and_answered_the_same_twice(name: str) -> None:
    frames, pts_s, end_s = odd_material()[name]
    shots = cuts(0.0, end_s / 2, end_s) if end_s > 0.5 else cuts(0.0, end_s)
    report = report_on(frames, pts_s, shots, end_s)
    assert_covers(report, end_s)
    assert report.segments[0].shots[0] == 0
    assert report.segments[-1].shots[1] == len(shots.segments) - 1
    assert report == report_on(frames, pts_s, shots, end_s)


def test_shots_of_one_place_are_one_scene_and_another_place_begins_one() -> None:
    frames = [*views("bus.jpg"), *views("bus.jpg"), *views("t1.jpg")]
    report = report_on(frames, [n / 4 for n in range(12)], cuts(0.0, 1.0, 2.0, 3.0), 3.0)
    assert [(scene.shots, scene.start, scene.end) for scene in report.segments] == [((0, 1), 0, 2), ((2, 2), 2, 3)]
    assert report.summary.boundaries == [2.0]
    assert report.segments[0].reason == "The video begins."
    assert report.segments[1].distance is not None
    assert report.segments[1].distance > LINK_MAX


def test_a_cutaway_stays_in_its_scene_and_a_late_return_is_a_new_one() -> None:
    a, b = describe(views("bus.jpg")), describe(views("t1.jpg"))
    assert group([a, b, a, b], [0, 1, 2, 3], [1, 2, 3, 4]) == [(0, 3)]
    assert group([a, b, a], [0, 1, 30], [1, 30, 31]) == [(0, 0), (1, 1), (2, 2)]
    assert group([a], [0], [1]) == [(0, 0)]
    assert group([], [], []) == []


def test_likeness_is_zero_to_itself_and_large_to_another_photo() -> None:
    a, b = describe(views("bus.jpg")), describe(views("zidane.jpg"))
    assert apart(a, a) == pytest.approx(0, abs=1e-3)
    assert apart(a, b) == pytest.approx(apart(b, a))
    assert apart(a, b) > LINK_MAX


def test_the_reason_names_what_was_measured() -> None:
    dark, light = (describe([np.full((48, 48, 3), level, np.uint8)]) for level in (10, 240))
    red = describe([np.full((48, 48, 3), (220, 20, 20), np.uint8)])
    assert "brighter" in reason(dark, light)
    assert "darker" in reason(light, dark)
    assert "stronger" in reason(light, red)
    assert "firebrick" in reason(light, red)


def test_parts_are_small() -> None:
    analyzer = loaded(SceneSegmentation)
    view: Any = analyzer.spec.needs
    frames = np.random.default_rng(0).integers(0, 256, (4, 480, 853, 3)).astype(np.uint8)
    part = analyzer.analyze(batches(frames, [0, 0.25, 0.5, 0.75], 1.0, view)[0])
    assert len(pickle.dumps(part)) < 100_000
    assert analyzer.model.backend.startswith("opencv")
