"""The windows of a video: every second every half second, answered once, whatever the frame rate and the chunks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from analyzers.models.vlm.windows import DESCRIBE, Window, bin_of, windows_of
from pipeline.media import decode
from pipeline.types import FrameBatch
from tests.analyzers.frames import batches
from tests.media.encode import write_clip

FPS = 30.0


def shaded(count: int) -> npt.NDArray[np.uint8]:
    """Frames [count, 32, 48, 3] that tell their number by their grey: 4 levels each, so that encoding keeps it."""
    grey = (np.arange(count) % 60 * 4).astype(np.uint8)
    return np.broadcast_to(grey[:, None, None, None], (count, 32, 48, 3)).copy()


def windows_at(pts_s: Sequence[float], end_s: float) -> list[list[Window]]:
    """Windows per chunk, of frames at these times."""
    return [windows_of(batch) for batch in batches(shaded(len(pts_s)), pts_s, end_s, DESCRIBE)]


def decoded(path: Path) -> list[Window]:
    """All windows of a file, through the real decoder."""
    items = decode(path, video_id="v", views=(DESCRIBE,), audio=False)
    return [window for item in items if isinstance(item, FrameBatch) for window in windows_of(item)]


def assert_covers(windows: Sequence[Window], start_s: float, end_s: float) -> None:
    """From the first moment to the last, half a second apart, each overlapping or touching the next."""
    assert windows[0].start_s == pytest.approx(start_s, abs=1e-3)
    assert windows[-1].end_s == pytest.approx(end_s, abs=1e-3)
    for before, after in pairwise(windows):
        assert before.start_s < after.start_s <= before.end_s <= after.end_s


def numbers_in(window: Window) -> list[int]:
    """Which frames of `shaded` a window looks at."""
    return [int(frame[0, 0, 0]) // 4 for piece in window.pieces for frame in piece.frames]


def test_49_seconds_are_97_windows_each_a_second_long(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "reel.mp4", iter(shaded(49 * 30)), fps=FPS)
    windows = decoded(path)
    assert len(windows) == 97
    assert [round(window.start_s, 3) for window in windows] == [0.5 * number for number in range(97)]
    assert_covers(windows, 0.0, 49.0)
    assert {len(window.pieces) for window in windows} == {2}


def test_a_window_looks_at_the_first_and_last_frame_of_its_half_seconds() -> None:
    (only,), (second, third), *_ = windows_at([0.25 * number for number in range(12)], 3.0)
    assert numbers_in(only) == [0, 1, 2, 3]
    assert numbers_in(second) == [2, 3, 4, 5]
    assert numbers_in(third) == [4, 5, 6, 7]


def test_overlapping_windows_share_their_piece_within_a_chunk_and_its_content_between_chunks() -> None:
    chunks = windows_at([0.25 * number for number in range(12)], 3.0)
    assert chunks[1][0].pieces[1] is chunks[1][1].pieces[0]
    assert chunks[1][1].pieces[1].key == chunks[2][0].pieces[0].key
    assert chunks[1][0].pieces[0].key != chunks[1][0].pieces[1].key


@pytest.mark.parametrize(("duration_s", "count"), [(0.3, 1), (0.9, 1), (1.2, 2), (2.5, 4), (3.1, 6), (3.4, 6)])
def test_odd_ends_are_covered(tmp_path: Path, duration_s: float, count: int) -> None:
    path = write_clip(tmp_path / "odd.mp4", iter(shaded(round(duration_s * FPS))), fps=FPS)
    windows = decoded(path)
    assert len(windows) == count
    assert_covers(windows, 0.0, round(duration_s * FPS) / FPS)


def test_a_rest_without_a_frame_belongs_to_the_last_window_unless_it_is_long() -> None:
    times = [0.0, 0.25, 0.5, 0.75]
    for end_s, count in ((1.0, 1), (1.1, 1), (1.3, 2)):
        windows = [window for chunk in windows_at(times, end_s) for window in chunk]
        assert len(windows) == count
        assert_covers(windows, 0.0, end_s)


def test_one_frame_is_one_window_of_one_doubled_picture() -> None:
    ((window,),) = windows_at([0.0], 1 / FPS)
    assert numbers_in(window) == [0, 0]
    assert (window.start_s, window.end_s) == (0.0, pytest.approx(1 / FPS))


def test_a_video_that_starts_late_is_described_from_its_first_frame() -> None:
    chunks = windows_at([2.25, 2.5, 2.75, 3.0, 3.25, 3.5], 4.0)
    windows = [window for chunk in chunks for window in chunk]
    assert_covers(windows, 2.25, 4.0)


@pytest.mark.parametrize("seed", range(6))
def test_any_variable_rate_is_covered_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Two frames at least in the first second: the chunks after it repeat two.
    times = [0.0, 0.3, *(1.0 + np.cumsum(rng.choice([0.25, 0.26, 0.4, 0.7, 1.6, 3.2], 30)))]
    end_s = times[-1] + 0.2
    windows = [window for chunk in windows_at(times, end_s) for window in chunk]
    assert_covers(windows, 0.0, end_s)
    starts = [window.start_s for window in windows]
    assert len(set(starts)) == len(starts)
    # Every frame is looked at, but those between the first and the last of their half second.
    seen = {number for window in windows for number in numbers_in(window)}
    bins = [bin_of(time) for time in times]
    assert seen >= {bins.index(one) for one in bins} | {len(bins) - 1 - bins[::-1].index(one) for one in bins}


def test_a_half_second_without_frames_shows_the_frame_before() -> None:
    (first,), (second, third) = windows_at([0.0, 0.25, 1.0, 1.25, 1.5, 1.75], 2.0)
    assert numbers_in(first) == [0, 1, 1, 1]
    assert numbers_in(second) == [1, 1, 2, 3]
    assert numbers_in(third) == [2, 3, 4, 5]


def test_a_picture_that_stands_still_for_long_is_one_long_window() -> None:
    chunks = windows_at([0.0, 0.25, 0.5, 0.75, 600.0, 600.25], 600.5)
    windows = [window for chunk in chunks for window in chunk]
    assert len(windows) == 3
    assert_covers(windows, 0.0, 600.5)
    assert numbers_in(windows[-1]) == [3, 3, 4, 5]


def test_a_frame_a_hair_before_its_tick_belongs_to_it_in_every_chunk() -> None:
    hair = 1e-4
    times = [0.25 * number - (hair if number else 0.0) for number in range(16)]
    assert [bin_of(time) for time in times] == [number // 2 for number in range(16)]
    # The decoder cuts by the time itself: the frame just before a full second ends the chunk before.
    windows = [window for chunk in windows_at(times, 4.0) for window in chunk]
    assert_covers(windows, 0.0, 4.0)
    assert len(windows) == 7
