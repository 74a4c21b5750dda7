"""The core types refuse what is wrong, with the received and the allowed value, and cannot be written to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.types import AUDIO, READ, SCAN, AnalyzerSpec, AudioTrack, FrameBatch, View


def batch(**changes: Any) -> FrameBatch:
    fields: dict[str, Any] = {
        "video_id": "v",
        "view": SCAN,
        "index": 0,
        "frames": np.zeros((2, 4, 6, 3), np.uint8),
        "pts_s": np.array([0.0, 0.25]),
        "last": False,
        "end_s": 0.5,
    }
    return FrameBatch(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": np.zeros((2, 4, 6, 3), np.float32)}, "uint8, got float32"),
        ({"frames": np.zeros((2, 4, 6), np.uint8)}, r"\[N, H, W, 3\]"),
        ({"frames": np.zeros((0, 4, 6, 3), np.uint8), "pts_s": np.zeros(0)}, "N, H, W >= 1"),
        ({"pts_s": np.array([0.0])}, r"must be \[2\], got \[1\]"),
        ({"pts_s": np.array([0.25, 0.25])}, "increase strictly"),
        ({"index": -1}, "index must be >= 0, got -1"),
        ({"end_s": 0.1}, "end_s must be >="),
        (
            {"view": READ, "index": 1, "frames": np.zeros((1, 4, 6, 3), np.uint8), "pts_s": np.zeros(1)},
            "frame of its own beside 1 lead-in",
        ),
    ],
)
def test_a_wrong_frame_batch_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batch(**changes)


def test_arrays_cannot_be_written() -> None:
    made = batch()
    with pytest.raises(ValueError, match="read-only"):
        made.frames[0, 0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        made.pts_s[0] = 1
    track = AudioTrack("v", np.zeros(10, np.float32), 16_000, 0.0)
    with pytest.raises(ValueError, match="read-only"):
        track.samples[0] = 1


def test_the_maker_of_an_array_keeps_its_own_writable() -> None:
    frames = np.zeros((2, 4, 6, 3), np.uint8)
    batch(frames=frames)
    frames[0] = 1


def test_a_batch_says_what_it_is_responsible_for() -> None:
    first = batch(view=READ)
    later = batch(view=READ, index=1)
    assert (first.lead_in, first.start_s) == (0, 0.0)
    assert (later.lead_in, later.start_s) == (1, 0.25)
    assert "frames=2x4x6x3" in repr(first)


def test_views_of_the_same_sampling_are_equal() -> None:
    assert View("mine", 4, 480) == SCAN
    assert len({View("mine", 4, 480), SCAN, View("mine", 5, 480)}) == 2


@pytest.mark.parametrize("changes", [{"fps": 0}, {"fps": 1000}, {"short_side": 0}, {"lead_in": -1}, {"name": "No"}])
def test_a_wrong_view_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        View(**{"name": "x", "fps": 4, "short_side": 100, "lead_in": 0} | changes)


def test_a_track_knows_where_it_ends() -> None:
    track = AudioTrack("v", np.zeros(8_000, np.float32), 16_000, 2.0)
    assert (track.duration_s, track.end_s) == (0.5, 2.5)
    with pytest.raises(ValueError, match="float32, got float64"):
        AudioTrack("v", np.zeros(3), 16_000, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Bad Name"}, "must match"),
        ({"version": ""}, "version"),
        ({"gpu_gb": -1.0}, "gpu_gb must be >= 0"),
        ({"replicas": 0}, "replicas must be >= 1"),
        ({"after": ("x",)}, "after itself"),
        ({"needs": None}, "needs a view, the sound, or the report"),
    ],
)
def test_a_wrong_spec_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnalyzerSpec(**{"name": "x", "version": "1", "needs": AUDIO} | changes)
