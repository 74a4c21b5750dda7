"""How right the analyzers are, on clips whose truth is known.

Each module here measures one analyzer: `measure() -> list[Figure]`. `python -m benchmarks.truth` prints the table;
tests/golden/test_truth.py holds every figure to its bar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.analyzer import Analyzer, Options, Profile
from pipeline.media import decode, probe
from pipeline.results import Report, Upstream
from pipeline.settings import load_settings
from pipeline.types import Audio, AudioTrack, FrameBatch, View


@dataclass(frozen=True)
class Figure:
    """One measured figure and the bar it must reach.

    Args:
        analyzer: whose.
        what: the material and the measure, for example ``hard cuts and dissolves, F1 within 0.1 s``.
        value: what was measured.
        bar: what it must be: at least this, or at most this if `at_most`.
    """

    analyzer: str
    what: str
    value: float
    bar: float
    at_most: bool = False

    @property
    def reached(self) -> bool:
        """Whether the value meets the bar."""
        return self.value <= self.bar if self.at_most else self.value >= self.bar


def run_analyzer(
    analyzer: Analyzer[Any, Any] | type[Analyzer[Any, Any]],
    path: Path,
    upstream: Mapping[str, Report[Any, Any]] | None = None,
    options: Options | None = None,
) -> Any:
    """Load one analyzer (unless an already loaded one is given), feed it a file in this process, return its report."""
    if isinstance(analyzer, type):
        settings = load_settings()
        analyzer = analyzer(options)
        analyzer.load("cpu", Profile(settings.profile, settings.models_dir))
    facts = probe(path)
    needs = analyzer.spec.needs
    parts: list[Any] = []
    if needs is not None:
        views = (needs,) if isinstance(needs, View) else ()
        for item in decode(path, video_id="v", views=views, audio=isinstance(needs, Audio)):
            if isinstance(item, FrameBatch | AudioTrack):
                parts += analyzer.analyze_many([item])
    return analyzer.summarize(parts, Upstream(facts, dict(upstream or {})))
