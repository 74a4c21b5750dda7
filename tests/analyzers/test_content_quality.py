"""content_quality: edges here, rightness on clips in benchmarks/truth."""

from __future__ import annotations

import numpy as np
import pytest

from analyzers.content_quality import ContentQuality, measure
from tests.analyzers.frames import analyzed, assert_covers, odd_material
from tests.media.scenes import scene


@pytest.mark.parametrize("name", list(odd_material()))
def test_it_survives_and_covers(name: str) -> None:
    frames, pts_s, end_s = odd_material()[name]
    report = analyzed(ContentQuality, frames, pts_s, end_s)
    assert_covers(report, end_s)
    assert all(0 <= segment.score <= 100 for segment in report.segments)
    assert report == analyzed(ContentQuality, frames, pts_s, end_s), "two runs differ"


@pytest.mark.parametrize("level", [0, 255])
def test_a_plain_picture_is_neither_blurry_nor_badly_exposed(level: int) -> None:
    report = analyzed(ContentQuality, np.full((2, 270, 480, 3), level), [0.0, 1.0], 2.0)
    assert report.segments[0].causes == ["plain"]
    assert report.segments[0].sharpness is None
    assert report.summary.sharpness is None


def test_a_plain_moment_does_not_count_in_the_summary() -> None:
    picture = scene(7, 480, 270)
    frames = np.stack([picture, np.zeros_like(picture), picture])
    report = analyzed(ContentQuality, frames, [0.0, 1.0, 2.0], 3.0)
    assert report.summary.sharpness == report.segments[0].sharpness
    assert report.segments[1].causes == ["plain"]


def test_black_bars_change_nothing() -> None:
    picture = scene(7, 480, 272)
    barred = np.pad(picture, ((104, 104), (0, 0), (0, 0)))
    assert measure(barred) == measure(picture)


def test_noise_is_found_in_levels() -> None:
    picture = scene(7, 960, 540).astype(np.float32)
    for sigma in (2.0, 8.0):
        noisy = picture + np.random.default_rng(1).normal(0, sigma, (540, 960, 1)) + 0.5
        assert measure(np.clip(noisy, 0, 255).astype(np.uint8)).noise == pytest.approx(sigma, rel=0.15)


def test_steps_in_a_smooth_surface_are_banding() -> None:
    smooth = np.repeat(np.tile(np.linspace(40, 120, 960), (540, 1))[:, :, None], 3, axis=2)
    assert measure(smooth.astype(np.uint8)).banding == 0
    assert measure((smooth // 4 * 4).astype(np.uint8)).banding > 0.2
