"""visual_effects: edges and single effects here, rightness on clips in benchmarks/truth."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from analyzers.methods.effects_strip import runs
from analyzers.visual_effects import EffectsReport, VisualEffects
from tests.analyzers.frames import analyzed, batches, loaded, odd_material
from tests.media.scenes import Frame, Look, move, scene, seen

FPS = 12.0
WIDTH, HEIGHT = 224, 398


def pan(seconds: float = 4.0, seed: int = 3) -> list[Frame]:
    """A slow pan over a scene."""
    picture = scene(seed, 3 * WIDTH, 2 * HEIGHT)
    return list(move(picture, Look(0.4, 0.45, 0.4), Look(0.6, 0.5, 0.4), round(seconds * FPS), WIDTH, HEIGHT))


def report_on(frames: list[Frame]) -> EffectsReport:
    report = analyzed(VisualEffects, frames, [number / FPS for number in range(len(frames))], len(frames) / FPS)
    assert isinstance(report, EffectsReport)
    return report


def changed(frames: list[Frame], first: int, last: int, how: Callable[[Frame, int], Frame]) -> list[Frame]:
    """The frames with `how(frame, number from first)` in place of those from first to last."""
    return [how(frame, n - first) if first <= n <= last else frame for n, frame in enumerate(frames)]


@pytest.mark.parametrize("name", list(odd_material()))
def test_odd_material_has_no_effects_and_the_same_report_twice(name: str) -> None:
    frames, pts_s, end_s = odd_material()[name]
    report = analyzed(VisualEffects, frames, pts_s, end_s)
    assert report.segments == []
    assert report.summary.counts == {}
    assert report == analyzed(VisualEffects, frames, pts_s, end_s)


def test_parts_are_small_and_the_model_is_named() -> None:
    analyzer = loaded(VisualEffects)
    view: Any = analyzer.spec.needs
    frames = np.random.default_rng(0).integers(0, 256, (12, 224, 398, 3)).astype(np.uint8)
    part = analyzer.analyze(batches(frames, [number / 12 for number in range(12)], 1.0, view)[0])
    assert len(pickle.dumps(part)) < 1_000_000
    assert analyzer.model.backend.startswith("opencv")


def test_a_pan_a_cut_and_a_still_are_no_effects() -> None:
    still = [seen(scene(8, WIDTH, HEIGHT), Look(0.5, 0.5, 0.8), WIDTH, HEIGHT)] * 24
    assert report_on(pan(3.0) + pan(2.0, seed=5) + still).segments == []


def test_white_frames_are_one_flash() -> None:
    frames = changed(pan(), 20, 21, lambda frame, n: np.full_like(frame, 255))
    (flash,) = report_on(frames).segments
    assert flash.kind == "flash"
    assert (flash.start, flash.end) == pytest.approx((20 / FPS, 22 / FPS), abs=1e-3)


def test_a_picture_that_stops_and_goes_on_was_frozen() -> None:
    frames = pan()
    frames[24:] = [frames[24]] * 10 + frames[24:-10]
    (freeze,) = report_on(frames).segments
    assert freeze.kind == "freeze_frame"
    assert freeze.start == pytest.approx(24 / FPS, abs=0.1)
    assert freeze.end == pytest.approx(34 / FPS, abs=0.1)


def test_bars_are_a_letterbox_and_the_picture_between_is_its_box() -> None:
    def barred(frame: Frame, n: int) -> Frame:
        out = frame.copy()
        out[:60] = out[-60:] = 0
        return out

    (bars,) = report_on(changed(pan(), 12, 35, barred)).segments
    assert (bars.kind, bars.start, bars.end) == ("letterbox", 1.0, 3.0)
    assert bars.box == pytest.approx((0, 60 / HEIGHT, 1, 1 - 60 / HEIGHT), abs=0.02)
    assert bars.amount == pytest.approx(120 / HEIGHT, abs=0.02)


def test_grey_stretches_are_black_and_white_and_a_sunless_day_is_not() -> None:
    def gray(frame: Frame, n: int) -> Frame:
        return np.repeat(np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))[:, :, None], 3, axis=2)

    def pale(frame: Frame, n: int) -> Frame:
        return np.asarray(0.75 * gray(frame, n) + 0.25 * frame, np.uint8)

    assert report_on(changed(pan(), 12, 35, gray)).summary.counts == {"black_and_white": 1}
    assert report_on(changed(pan(), 12, 35, pale)).segments == []


def test_a_badge_that_pops_up_is_a_graphic_and_a_caption_is_none() -> None:
    badge = scene(9, 80, 80, shapes=8)

    def stuck(frame: Frame, n: int) -> Frame:
        out = frame.copy()
        out[40:120, 100:180] = badge
        return out

    def captioned(frame: Frame, n: int) -> Frame:
        out = frame.copy()
        cv2.rectangle(out, (10, 300), (213, 340), (250, 250, 250), -1)
        cv2.putText(out, "BUY IT NOW", (16, 330), cv2.FONT_HERSHEY_DUPLEX, 1.0, (10, 10, 10), 2)
        return out

    (graphic,) = report_on(changed(pan(seed=7), 14, 35, stuck)).segments
    assert graphic.kind == "overlay_graphic"
    assert graphic.start == pytest.approx(14 / FPS, abs=0.1)
    assert graphic.box == pytest.approx((100 / WIDTH, 40 / HEIGHT, 180 / WIDTH, 120 / HEIGHT), abs=0.06)
    assert report_on(changed(pan(), 14, 35, captioned)).segments == []


def test_a_jump_into_the_picture_is_a_punch_and_a_slow_zoom_is_none() -> None:
    def closer(frame: Frame, n: int) -> Frame:
        return seen(frame, Look(0.5, 0.5, 1 / 1.25), WIDTH, HEIGHT)

    (punch,) = report_on(changed(pan(), 24, 47, closer)).segments
    assert (punch.kind, punch.start) == ("zoom_punch", 2.0)
    assert punch.amount == pytest.approx(1.25, abs=0.08)
    slow = list(move(scene(4, 600, 900), Look(0.5, 0.5, 0.7), Look(0.5, 0.5, 0.4), 48, WIDTH, HEIGHT))
    assert report_on(slow).segments == []


def test_parted_colours_for_a_moment_are_a_glitch() -> None:
    def parted(frame: Frame, n: int) -> Frame:
        return np.stack([np.roll(frame[..., 0], 8, 1), frame[..., 1], np.roll(frame[..., 2], -8, 1)], axis=2)

    (glitch,) = report_on(changed(pan(), 24, 27, parted)).segments
    assert (glitch.kind, glitch.start, glitch.end) == ("glitch", 2.0, round(28 / FPS, 3))


def test_runs_join_across_small_gaps() -> None:
    mask = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1], bool)
    assert list(runs(mask)) == [(1, 2), (4, 4), (8, 8)]
    assert list(runs(mask, gap=1)) == [(1, 4), (8, 8)]
    assert list(runs(np.zeros(3, bool))) == []
