"""camera_analysis: edges here, rightness on clips in benchmarks/truth."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from analyzers.camera_analysis import CameraAnalysis
from tests.analyzers.frames import analyzed, assert_covers, batches, loaded, odd_material
from tests.media.scenes import Look, move, scene


@pytest.mark.parametrize("name", list(odd_material()))
def test_it_survives_and_covers(name: str) -> None:
    frames, pts_s, end_s = odd_material()[name]
    report = analyzed(CameraAnalysis, frames, pts_s, end_s)
    assert_covers(report, end_s)
    assert report == analyzed(CameraAnalysis, frames, pts_s, end_s), "two runs differ"


def test_parts_are_small_and_the_model_is_named() -> None:
    analyzer = loaded(CameraAnalysis)
    view: Any = analyzer.spec.needs
    rng = np.random.default_rng(0)
    fps = view.fps or 60
    short = min(view.short_side, 480)
    frames = rng.integers(0, 256, (int(fps), short, short * 16 // 9, 3)).astype(np.uint8)
    part = analyzer.analyze(batches(frames, [number / fps for number in range(int(fps))], 1.0, view)[0])
    assert len(pickle.dumps(part)) < 1_000_000
    assert analyzer.model.backend.startswith("opencv")


def test_speed_is_in_frame_widths_per_second_whatever_the_times() -> None:
    picture = scene(3, 800, 450)
    rng = np.random.default_rng(1)
    pts_s = np.cumsum(rng.uniform(0.06, 0.16, 30)) - 0.06
    frames = [next(move(picture, Look(0.3 + 0.05 * t, 0.5, 0.5), Look(0.3, 0.5, 0.5), 1, 398, 224)) for t in pts_s]
    report = analyzed(CameraAnalysis, frames, list(pts_s), float(pts_s[-1]) + 0.1)
    assert [segment.motion for segment in report.segments] == ["pan_right"]
    assert report.segments[0].speed == pytest.approx(0.1, rel=0.05)
    assert report.segments[0].unit == "frame_widths_per_s"


def test_nothing_is_joined_across_a_cut() -> None:
    pans = [list(move(scene(s, 800, 450), Look(0.3, 0.5, 0.4), Look(0.5, 0.5, 0.4), 24, 398, 224)) for s in (3, 4)]
    report = analyzed(CameraAnalysis, pans[0] + pans[1], [number / 12 for number in range(48)], 4.0)
    assert [(s.motion, s.start, s.end) for s in report.segments] == [("pan_right", 0, 2), ("pan_right", 2, 4)]
    assert report.summary.breaks == [2.0]


def test_a_subject_that_moves_before_a_still_background_leaves_the_camera_static() -> None:
    background, subject = scene(3, 398, 224), scene(4, 120, 130)
    frames = []
    for number in range(36):
        frame = background.copy()
        frame[70:200, 20 + 6 * number : 140 + 6 * number] = subject
        frames.append(frame)
    report = analyzed(CameraAnalysis, frames, [number / 12 for number in range(36)], 3.0)
    assert report.summary.shares["static"] == 1


def test_a_caption_that_stands_still_does_not_stop_a_pan() -> None:
    frames = [f.copy() for f in move(scene(3, 800, 450), Look(0.3, 0.5, 0.4), Look(0.6, 0.5, 0.4), 36, 398, 224)]
    caption = scene(9, 240, 40)
    for frame in frames:
        frame[150:190, 80:320] = caption
    report = analyzed(CameraAnalysis, frames, [number / 12 for number in range(36)], 3.0)
    assert report.summary.dominant == "pan_right"
    assert report.summary.shares["pan_right"] == 1


def test_a_flash_does_not_end_a_shot_twice() -> None:
    frames = list(move(scene(3, 800, 450), Look(0.3, 0.5, 0.4), Look(0.6, 0.5, 0.4), 36, 398, 224))
    frames[18] = np.full_like(frames[0], 255)
    report = analyzed(CameraAnalysis, frames, [number / 12 for number in range(36)], 3.0)
    assert {segment.motion for segment in report.segments} == {"pan_right"}
    assert len(report.segments) <= 2


def test_a_pan_too_fast_for_corners_is_still_a_pan() -> None:
    picture = scene(3, 3600, 450)
    frames = list(move(picture, Look(0.1, 0.5, 0.1), Look(0.9, 0.5, 0.1), 25, 398, 224))
    report = analyzed(CameraAnalysis, frames, [number / 12 for number in range(25)], 25 / 12)
    assert report.summary.dominant == "pan_right"
