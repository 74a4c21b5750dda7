"""How right scene_segmentation is: films of shots over photos whose grouping is known, and the sample reel's shots."""

from __future__ import annotations

from typing import Final

from analyzers.cut_analysis import CutAnalysis
from analyzers.scene_segmentation import SceneSegmentation
from benchmarks.truth import Figure, run_analyzer
from tests.media.scene_clips import FILMS, scene_clip

NAME: Final = "scene_segmentation"
TOLERANCE_S: Final = 0.15


def measure() -> list[Figure]:
    """Boundaries of scenes within 0.15 s; cuts are found by cut_analysis, so that its faults count too."""
    right = found = true = 0
    invented = {"one_place": 0, "single_shot": 0}
    counts: list[bool] = []
    for name in FILMS:
        clip = scene_clip(name)
        cuts = run_analyzer(CutAnalysis, clip.path)
        report = run_analyzer(SceneSegmentation, clip.path, {"cut_analysis": cuts})
        wanted, times = clip.truth["boundaries"], report.summary.boundaries
        right += sum(any(abs(time - want) <= TOLERANCE_S for time in times) for want in wanted)
        found, true = found + len(times), true + len(wanted)
        counts.append(report.summary.count == len(wanted) + 1)
        if name in invented:
            invented[name] = len(times)
    return [
        Figure(
            NAME, "boundaries between places, dialogues, cutaways, F1 within 0.15 s", 2 * right / (found + true), 0.9
        ),
        Figure(NAME, "films with the right number of scenes, share", sum(counts) / len(counts), 0.8),
        Figure(
            NAME, "one place from five sides and a single shot: boundaries", sum(invented.values()), 0, at_most=True
        ),
    ]
