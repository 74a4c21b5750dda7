"""How right composition_analysis is: portraits at known scales, drawn symmetry and places, photos of things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from analyzers.composition_analysis import CompositionAnalysis, CompositionReport, CompositionSegment
from analyzers.cut_analysis import CutAnalysis
from benchmarks.truth import Figure, run_analyzer
from pipeline.analyzer import Profile
from pipeline.settings import load_settings
from tests.media.composition_clips import nothing_clip, place_clip, portrait_clip, symmetry_clip, things_clip
from tests.media.encode import Clip

NAME: Final = "composition_analysis"


def measure() -> list[Figure]:
    """Shares of pictures with the right answer."""
    settings = load_settings()
    analyzer = CompositionAnalysis()
    analyzer.load("cpu", Profile(settings.profile, settings.models_dir))

    def pairs(clip: Clip) -> Iterator[tuple[dict[str, Any], CompositionSegment]]:
        cuts = run_analyzer(CutAnalysis, clip.path)
        report: CompositionReport = run_analyzer(analyzer, clip.path, {"cut_analysis": cuts})
        for want in clip.truth["pictures"]:
            middle_s = (want["start"] + want["end"]) / 2 + 0.1
            yield want, next(s for s in report.segments if s.start <= middle_s < s.end)

    sizes = [one.shot_size == want["shot_size"] for want, one in pairs(portrait_clip())]
    mirrored = [(want["symmetric"], one.symmetry or 0.0, one.balance or 0.0) for want, one in pairs(symmetry_clip())]
    places = list(pairs(place_clip()))
    things = [any(label.name in want["labels"] for label in one.labels[:1]) for want, one in pairs(things_clip())]
    nothing: CompositionReport = run_analyzer(analyzer, nothing_clip().path)
    invented = sum(len(one.labels) + (one.shot_size is not None) for one in nothing.segments)
    thirds = [abs((one.thirds if one.thirds is not None else -1.0) - want["thirds"]) for want, one in places]
    balance = [one.balance or 0.0 for want, one in places if want["centred"]]
    gap = min(symmetry for true, symmetry, _ in mirrored if true) - max(s for true, s, _ in mirrored if not true)
    return [
        Figure(NAME, "portraits at five scales, shot size right, share", float(np.mean(sizes)), 0.8),
        Figure(NAME, "mirrored scenes, least symmetry", min(s for true, s, _ in mirrored if true), 0.95),
        Figure(NAME, "mirrored scenes against plain ones, gap of symmetry", gap, 0.3),
        Figure(NAME, "mirrored scenes and a centred ball, least balance",
               min([*balance, *(b for true, _, b in mirrored if true)]), 0.9),
        Figure(NAME, "a ball at four places, framing in the right words, share",
               float(np.mean([one.framing == want["framing"] for want, one in places])), 1.0),
        Figure(NAME, "the same, error of thirds, worst", max(thirds), 0.15, at_most=True),
        Figure(NAME, "a bus, a cat, a coffee: first word right, share", float(np.mean(things)), 1.0),
        Figure(NAME, "noise, ramps, plain, drawn scenes: words and shot sizes invented", invented, 0, at_most=True),
    ]  # fmt: skip
