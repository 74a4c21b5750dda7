"""cut_analysis: edges here, rightness on clips in benchmarks/truth."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from analyzers.cut_analysis import CutAnalysis
from tests.analyzers.frames import analyzed, assert_covers, batches, loaded, odd_material
from tests.media.scenes import Look, blend, move, scene


@pytest.mark.parametrize("name", list(odd_material()))
def test_it_survives_and_covers(name: str) -> None:
    frames, pts_s, end_s = odd_material()[name]
    report = analyzed(CutAnalysis, frames, pts_s, end_s)
    assert_covers(report, end_s)
    assert report == analyzed(CutAnalysis, frames, pts_s, end_s), "two runs differ"


def test_parts_are_small_and_the_model_is_named() -> None:
    analyzer = loaded(CutAnalysis)
    view: Any = analyzer.spec.needs
    rng = np.random.default_rng(0)
    fps = view.fps or 60
    short = min(view.short_side, 480)
    frames = rng.integers(0, 256, (int(fps), short, short * 16 // 9, 3)).astype(np.uint8)
    part = analyzer.analyze(batches(frames, [number / fps for number in range(int(fps))], 1.0, view)[0])
    assert len(pickle.dumps(part)) < 1_000_000
    assert analyzer.model.backend.startswith("opencv")


def _steady(seed: int, count: int, x: float = 0.5) -> list[Any]:
    picture = scene(seed, 96, 54)
    return list(move(picture, Look(x, 0.5, 0.5), Look(x + 0.02, 0.5, 0.5), count, 48, 27))


def test_a_cut_is_the_first_new_frame() -> None:
    frames = _steady(1, 30) + _steady(2, 30)
    report = analyzed(CutAnalysis, frames, [number / 30 for number in range(60)], 2.0)
    assert [(cut.time, cut.kind) for cut in report.summary.cuts] == [(1.0, "cut")]
    assert [shot.enter for shot in report.segments] == ["start", "cut"]
    assert report.summary.cuts_per_minute == 30


def test_a_cut_on_a_chunk_boundary_and_inside_give_the_same() -> None:
    frames = _steady(1, 40) + _steady(2, 40)
    for shift_s in (0.0, 0.4, 2 / 3):
        pts_s = [shift_s + number / 30 for number in range(80)]
        report = analyzed(CutAnalysis, frames, pts_s, pts_s[-1] + 1 / 30)
        assert [cut.time for cut in report.summary.cuts] == [round(pts_s[40], 3)]


def test_one_mixed_frame_is_still_one_cut() -> None:
    before, after = _steady(1, 30), _steady(2, 30)
    frames = [*before, blend(before[-1], after[0], 0.5), *after]
    report = analyzed(CutAnalysis, frames, [number / 30 for number in range(61)], 61 / 30)
    assert [cut.kind for cut in report.summary.cuts] == ["cut"]
    assert report.summary.cuts[0].time == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut(length: int) -> None:
    frames = _steady(1, 60)
    for number in range(30, 30 + length):
        frames[number] = np.full_like(frames[0], 255)
    assert analyzed(CutAnalysis, frames, [number / 30 for number in range(60)], 2.0).summary.cuts == []


def test_a_fade_at_the_ends_is_no_cut_but_told() -> None:
    frames = _steady(1, 60)
    black = np.zeros_like(frames[0])
    ramp = np.clip(np.minimum(np.arange(60), np.arange(59, -1, -1)) / 15 - 0.2, 0, 1)
    report = analyzed(
        CutAnalysis, [blend(black, f, float(s)) for f, s in zip(frames, ramp, strict=True)],
        [number / 30 for number in range(60)], 2.0,
    )  # fmt: skip
    assert report.summary.cuts == []
    assert report.summary.opening_fade[0] == 0.0
    assert report.summary.closing_fade[1] == 2.0


def test_a_fade_through_white_lies_in_its_middle() -> None:
    one, two = _steady(1, 40), _steady(2, 40)
    white = np.full_like(one[0], 255)
    out = [blend(f, white, float(np.clip((n - 27) / 10, 0, 1))) for n, f in enumerate(one)]
    back = [blend(white, f, float(np.clip((n - 2) / 10, 0, 1))) for n, f in enumerate(two)]
    report = analyzed(CutAnalysis, out + back, [number / 30 for number in range(80)], 80 / 30)
    assert [cut.kind for cut in report.summary.cuts] == ["fade"]
    assert report.summary.cuts[0].time == pytest.approx(40 / 30, abs=0.06)


def test_two_films_in_one_letterbox_are_two_shots() -> None:
    frames = np.zeros((60, 48, 27, 3), np.uint8)
    for number, frame in enumerate(_steady(1, 30) + _steady(2, 30)):
        frames[number, 16:32] = frame[5:21, 10:37]
    report = analyzed(CutAnalysis, frames, [number / 30 for number in range(60)], 2.0)
    assert [cut.time for cut in report.summary.cuts] == [1.0]


def test_shots_that_get_shorter_accelerate() -> None:
    lengths = (50, 40, 30, 20, 12)
    frames = [frame for seed, length in enumerate(lengths) for frame in _steady(seed + 1, length)]
    report = analyzed(CutAnalysis, frames, [n / 30 for n in range(len(frames))], len(frames) / 30)
    assert report.summary.shots == 5
    assert report.summary.pace == "accelerating"


def test_a_long_zoom_into_a_soft_picture_is_no_dissolve() -> None:
    soft = np.asarray(scene(5, 40, 30, shapes=4).repeat(12, axis=0).repeat(12, axis=1))
    frames = list(move(soft, Look(0.5, 0.5, 0.9), Look(0.5, 0.52, 0.5), 120, 48, 27))
    for frame in frames:
        frame[18:21, 12:36] = 255
    assert analyzed(CutAnalysis, frames, [number / 30 for number in range(120)], 4.0).summary.cuts == []
