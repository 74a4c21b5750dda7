"""color_analysis: edges here, rightness on clips in benchmarks/truth."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from analyzers.color_analysis import ColorAnalysis
from analyzers.methods.color_names import ciede2000
from tests.analyzers.frames import analyzed, assert_covers, batches, loaded, odd_material


@pytest.mark.parametrize("name", list(odd_material()))
def test_it_survives_and_covers(name: str) -> None:
    frames, pts_s, end_s = odd_material()[name]
    report = analyzed(ColorAnalysis, frames, pts_s, end_s)
    assert_covers(report, end_s)
    assert report == analyzed(ColorAnalysis, frames, pts_s, end_s), "two runs differ"


def test_parts_are_small_and_the_model_is_named() -> None:
    analyzer = loaded(ColorAnalysis)
    view: Any = analyzer.spec.needs
    rng = np.random.default_rng(0)
    fps = view.fps or 60
    short = min(view.short_side, 480)
    frames = rng.integers(0, 256, (int(fps), short, short * 16 // 9, 3)).astype(np.uint8)
    part = analyzer.analyze(batches(frames, [number / fps for number in range(int(fps))], 1.0, view)[0])
    assert len(pickle.dumps(part)) < 1_000_000
    assert analyzer.model.backend.startswith("opencv")


def _field(*colors: tuple[int, int, int]) -> Any:
    return np.concatenate([np.full((96, 48, 3), color, np.uint8) for color in colors], axis=1)


def test_colors_have_their_hex_their_share_and_a_name() -> None:
    report = analyzed(ColorAnalysis, [_field((255, 0, 0), (255, 0, 0), (0, 0, 128))] * 4, [0, 0.25, 0.5, 0.75], 1.0)
    palette = [(color.hex, color.name, color.share) for color in report.summary.palette]
    assert palette == [
        ("#ff0000", "red", pytest.approx(2 / 3, abs=0.02)),
        ("#000080", "navy", pytest.approx(1 / 3, abs=0.02)),
    ]


@pytest.mark.parametrize(
    ("color", "brightness", "saturated", "warmth"),
    [((0, 0, 0), 0, False, 0), ((255, 255, 255), 1, False, 0), ((119, 119, 119), 0.5, False, 0)],
)
def test_gray_is_neutral(color: tuple[int, int, int], brightness: float, saturated: bool, warmth: float) -> None:
    summary = analyzed(ColorAnalysis, [_field(color)] * 2, [0, 0.25], 0.5).summary
    assert summary.brightness == pytest.approx(brightness, abs=0.01)
    assert (summary.saturation > 0.05) == saturated
    assert summary.warmth == pytest.approx(warmth, abs=0.01)
    assert summary.contrast == 0
    assert summary.black_and_white


def test_orange_is_warm_and_blue_is_cold() -> None:
    warm, cold = (
        analyzed(ColorAnalysis, [_field(color)], [0], 0.2).summary.warmth for color in ((230, 140, 50), (60, 110, 200))
    )
    assert warm > 0.5
    assert cold < -0.5


def test_a_change_of_grading_is_told_with_its_aspects() -> None:
    frames = [_field((200, 150, 90), (90, 70, 50))] * 12 + [_field((90, 110, 150), (50, 60, 90))] * 12
    report = analyzed(ColorAnalysis, frames, [number / 4 for number in range(24)], 6.0)
    assert [(segment.start, segment.end) for segment in report.segments] == [(0, 3), (3, 6)]
    assert [change.time for change in report.summary.grading_changes] == [3.0]
    assert report.summary.grading_changes[0].aspects["warmth"] < -0.2


def test_time_and_not_the_number_of_frames_weighs() -> None:
    frames = [_field((255, 0, 0))] * 8 + [_field((0, 0, 255))] * 2
    report = analyzed(ColorAnalysis, frames, [*(number / 4 for number in range(8)), 2.0, 5.0], 6.0)
    shares = {color.name: color.share for color in report.summary.palette}
    assert shares["red"] == pytest.approx(1 / 3, abs=0.01)


SHARMA = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425), ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065), ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, 2.5, 0), (73, 25, -18), 27.1492), ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
]  # fmt: skip
"""From the table of Sharma, Wu, Dalal 2005."""


@pytest.mark.parametrize(("one", "two", "difference"), SHARMA)
def test_color_difference_agrees_with_its_published_data(one: Any, two: Any, difference: float) -> None:
    found = ciede2000(np.array([one], np.float64), np.array([two], np.float64))
    assert float(found[0]) == pytest.approx(difference, abs=1e-4)
