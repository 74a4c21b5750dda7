"""How right cut_analysis is: on made-up films (seeds that no parameter saw), the sample reel and a real film.

The reel and the real film were looked at while the detector was made; the made-up ones were not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from analyzers.cut_analysis import CutAnalysis, CutReport
from benchmarks.truth import Figure, run_analyzer
from tests.media.clips import cut_clip, no_cut_clip
from tests.media.packages import package_file
from tests.media.reel import sample_reel

NAME: Final = "cut_analysis"
TOLERANCE_S: Final = 0.1
SEEDS: Final = (1000, 1001, 1002, 1003, 1004, 1005)
VARIABLE_SEEDS: Final = (1006, 1007)
BIKES_CUTS_S: Final = (1.20, 3.04, 5.48, 7.48, 9.68)
"""The first frames of the new shots in bikes.mp4, found by stepping through it."""


def measure() -> list[Figure]:
    """F1 within 0.1 s over all films; kinds must agree."""
    clips = [cut_clip(seed) for seed in SEEDS] + [cut_clip(seed, variable_rate=True) for seed in VARIABLE_SEEDS]
    pairs = [(run_analyzer(CutAnalysis, clip.path), clip.truth["cuts"]) for clip in [*clips, sample_reel()]]
    figures = [
        Figure(NAME, f"{kinds}, made-up films and the sample reel, F1 within 0.1 s", f1(pairs, wanted), 0.95)
        for kinds, wanted in (
            ("hard cuts and dissolves", ("cut", "dissolve")),
            ("hard cuts", ("cut",)),
            ("dissolves", ("dissolve",)),
            ("fades", ("fade",)),
        )
    ]
    quiet = [run_analyzer(CutAnalysis, no_cut_clip(seed).path) for seed in (1000, 1001)]
    false = sum(len(report.summary.cuts) for report in quiet)
    figures.append(
        Figure(NAME, "pans, flashes, movers, zooms without a cut: false ones in 24 s", false, 0, at_most=True)
    )
    bikes = [(run_analyzer(CutAnalysis, package_file("bikes.mp4")), [{"time": t, "kind": "cut"} for t in BIKES_CUTS_S])]
    figures.append(
        Figure(NAME, "bikes.mp4, real footage, F1 within 0.1 s", f1(bikes, ("cut", "dissolve", "fade")), 0.95)
    )
    return figures


def f1(pairs: Iterable[tuple[CutReport, Sequence[dict[str, Any]]]], kinds: tuple[str, ...]) -> float:
    """Harmonic mean of precision and recall of the transitions of those kinds over several films."""
    right = found = true = 0
    for report, truth in pairs:
        left = [cut for cut in report.summary.cuts if cut.kind in kinds]
        wanted = [cut for cut in truth if cut["kind"] in kinds]
        found, true = found + len(left), true + len(wanted)
        for cut in wanted:
            match = next((c for c in left if c.kind == cut["kind"] and abs(c.time - cut["time"]) <= TOLERANCE_S), None)
            if match is not None:
                left.remove(match)
                right += 1
    return 2 * right / max(found + true, 1)
