"""composition_analysis: measures on drawn pictures, joining and words; rightness on clips in benchmarks/truth."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.composition_analysis import CompositionAnalysis, CompositionReport, Look
from analyzers.methods.framing import (
    Framing,
    balance_of,
    depth_of,
    framing_of,
    place_of,
    size_by_face,
    thirds_of,
)
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream
from pipeline.settings import load_settings
from tests.analyzers.frames import FACTS, assert_covers, batches, odd_material
from tests.media.composition_clips import portrait
from tests.media.effect_clips import photo
from tests.media.scenes import scene


@pytest.fixture(scope="module")
def analyzer() -> CompositionAnalysis:
    made = CompositionAnalysis()
    made.load("cpu", Profile("embedded", load_settings().models_dir))
    return made


def report_on(analyzer: CompositionAnalysis, frames: Any, pts_s: list[float], end_s: float) -> CompositionReport:
    view: Any = analyzer.spec.needs
    parts = [analyzer.analyze(batch) for batch in batches(np.asarray(frames, np.uint8), pts_s, end_s, view)]
    return analyzer.summarize(parts, Upstream(FACTS))


@pytest.mark.parametrize("name", [name for name in odd_material() if name != "nothing lasts"])
def test_odd_material_is_covered_and_has_no_words_and_nobody(analyzer: CompositionAnalysis, name: str) -> None:
    frames, pts_s, end_s = odd_material()[name]
    report = report_on(analyzer, frames, pts_s, end_s)
    assert_covers(report, end_s)
    assert all(not one.labels and one.shot_size is None and one.subject is None for one in report.segments)


def test_without_weights_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch"):
        CompositionAnalysis().load("cpu", Profile("embedded", tmp_path))


def test_a_portrait_has_a_size_a_subject_and_a_place(analyzer: CompositionAnalysis) -> None:
    (one,) = report_on(analyzer, [portrait("obama.jpg", 2.7)] * 4, [0, 0.25, 0.5, 0.75], 1.0).segments
    assert one.shot_size == "medium_close_up"
    assert one.subject is not None
    assert one.subject[0] < 0.5 < one.subject[2]


def test_what_is_seen_throughout_a_shot_is_a_word_and_what_flits_by_is_none(analyzer: CompositionAnalysis) -> None:
    cat, bus = (analyzer._names.index(name) for name in ("Egyptian cat", "minibus"))
    thumb = bytes(192)

    def looks(*classes: tuple[tuple[int, float], ...]) -> list[Look]:
        return [Look(float(n), thumb, Framing(None, None, None, None), None, one) for n, one in enumerate(classes)]

    steady = looks(((cat, 0.8),), ((cat, 0.6), (bus, 0.1)), ((cat, 0.7),))
    assert [(label.name, label.score) for label in analyzer._labels(steady, False)] == [("Egyptian cat", 0.7)]
    assert analyzer._labels(looks(((cat, 0.9),), ((bus, 0.1),), ((bus, 0.2),)), False) == []
    assert analyzer._labels(looks(((cat, 0.9),)), False) == []
    assert [label.name for label in analyzer._labels(looks(((cat, 0.9),)), True)] == ["Egyptian cat"]


def test_one_photo_of_a_cat_is_a_cat(analyzer: CompositionAnalysis) -> None:
    report = report_on(analyzer, [photo("chelsea.png")], [0.0], 0.04)
    assert [label.name for label in report.summary.labels] == ["Egyptian cat"]
    assert report.summary.shot_size is None


def test_looks_are_once_a_second_and_where_the_picture_is_another(analyzer: CompositionAnalysis) -> None:
    frames = [scene(1, 135, 240)] * 2 + [255 - scene(1, 135, 240)] * 2
    view: Any = analyzer.spec.needs
    (batch,) = batches(np.asarray(frames), [0, 0.25, 0.5, 0.75], 1.0, view)
    part = analyzer.analyze(batch)
    assert [look.pts_s for look in part.looks] == [0.0, 0.5]
    assert len(pickle.dumps(part)) < 20_000


def test_mirrored_pictures_are_symmetric_and_balanced_and_one_sided_ones_are_not() -> None:
    picture = scene(2, 200, 120)
    mirrored = np.concatenate([picture, picture[:, ::-1]], axis=1)
    both = framing_of(mirrored)
    assert both.symmetry == pytest.approx(1, abs=0.01)
    assert both.balance == pytest.approx(1, abs=0.02)
    heavy = np.full((120, 400), 128, np.uint8)
    heavy[:, :80] = np.random.default_rng(0).integers(0, 256, (120, 80))
    assert balance_of(heavy) < 0.1
    assert framing_of(np.full((50, 50, 3), 90, np.uint8)) == Framing(None, None, None, None)


@pytest.mark.parametrize(
    ("point", "thirds", "words"),
    [
        ((1 / 3, 1 / 3), 1.0, "upper left"),
        ((2 / 3, 2 / 3), 1.0, "lower right"),
        ((0.5, 0.5), 0.0, "centred"),
        ((0.25, 0.5), None, "left third"),
        ((0.5, 0.8), None, "lower third"),
    ],
)
def test_places_have_words_and_crossings_of_the_thirds_count_one(
    point: tuple[float, float], thirds: float | None, words: str
) -> None:
    assert place_of(point) == words
    if thirds is not None:
        assert thirds_of(point) == pytest.approx(thirds, abs=1e-6)
    assert thirds_of(None) is None
    assert place_of(None) is None


def test_the_higher_the_face_the_closer_the_shot() -> None:
    sizes = [size_by_face(height) for height in (0.7, 0.4, 0.25, 0.17, 0.12, 0.05, 0.02)]
    assert sizes == [
        "extreme_close_up", "close_up", "medium_close_up", "medium_shot", "medium_long_shot", "long_shot",
        "extreme_long_shot",
    ]  # fmt: skip


def test_focus_between_shallow_and_deep_is_not_named() -> None:
    assert [depth_of(share) for share in (0.2, 0.5, 0.9, None)] == ["shallow_focus", None, "deep_focus", None]
