"""Feeds made frames to one analyzer as the decoder would: chunks of a second, lead-in, end times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analyzer import Analyzer, Profile
from pipeline.results import Upstream, VideoFacts
from pipeline.types import FrameBatch, View

FACTS = VideoFacts(source="made", sha256="0" * 64, bytes=0, duration_s=1.0)


def loaded(kind: type[Analyzer[Any, Any]]) -> Analyzer[Any, Any]:
    """An analyzer that is ready."""
    analyzer = kind()
    analyzer.load("cpu", Profile("embedded", Path("nowhere")))
    return analyzer


def batches(frames: npt.NDArray[np.uint8], pts_s: Sequence[float], end_s: float, view: View) -> list[FrameBatch]:
    """Chunks of a second of frames [N, H, W, 3] at those times."""
    times = np.asarray(pts_s, np.float64)
    grid = times.astype(int)
    out: list[FrameBatch] = []
    for second in np.unique(grid):
        numbers = np.flatnonzero(grid == second)
        after = int(numbers[-1]) + 1
        first = int(numbers[0]) - (view.lead_in if out else 0)
        last = after == len(times)
        out.append(
            FrameBatch(
                "v", view, len(out), frames[first:after], times[first:after], last, end_s if last else times[after]
            )
        )
    return out


def analyzed(kind: type[Analyzer[Any, Any]], frames: Any, pts_s: Sequence[float], end_s: float) -> Any:
    """The report on frames [N, H, W, 3] at those times."""
    analyzer = loaded(kind)
    view = analyzer.spec.needs
    assert isinstance(view, View)
    parts = [analyzer.analyze(batch) for batch in batches(np.asarray(frames, np.uint8), pts_s, end_s, view)]
    return analyzer.summarize(parts, Upstream(FACTS))


def assert_covers(report: Any, end_s: float) -> None:
    """Segments follow each other from 0 to the end."""
    assert report.segments[0].start == 0
    assert report.segments[-1].end == round(end_s, 3)
    for before, after in zip(report.segments, report.segments[1:], strict=False):
        assert before.end == after.start


def odd_material() -> dict[str, tuple[npt.NDArray[np.uint8], list[float], float]]:
    """Frames, times and end of what an analyzer must survive."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (24, 48, 27, 3)).astype(np.uint8)
    steady = [number / 12 for number in range(24)]
    uneven = list(np.cumsum(rng.uniform(0.01, 0.3, 24)) - 0.005)
    return {
        "one frame": (noise[:1], [0.0], 0.04),
        "two frames": (noise[:2], [0.0, 1.5], 1.6),
        "black": (np.zeros((24, 27, 48, 3), np.uint8), steady, 2.0),
        "white": (np.full((24, 27, 48, 3), 255, np.uint8), steady, 2.0),
        "noise": (noise, steady, 2.0),
        "uneven times": (noise, uneven, uneven[-1] + 0.1),
        "a late first frame": (noise, [time + 1.3 for time in steady], 3.3),
        "very wide": (rng.integers(0, 256, (24, 8, 256, 3)).astype(np.uint8), steady, 2.0),
        "very tall": (rng.integers(0, 256, (24, 256, 8, 3)).astype(np.uint8), steady, 2.0),
        "one pixel": (noise[:, :1, :1], steady, 2.0),
        "nothing lasts": (noise[:1], [0.0], 0.0),
    }
