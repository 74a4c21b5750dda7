"""How right visual_effects is: each kind over made-up scenes, photos and footage, and clips that have none.

No parameter saw the scored seeds. The real films were only ever looked at to see that nothing is claimed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from analyzers.visual_effects import EffectsReport, VisualEffects
from benchmarks.truth import Figure, run_analyzer
from tests.media.clips import camera_clip, still_clip
from tests.media.effect_clips import KINDS, effect_clip, plain_clip
from tests.media.packages import package_file

NAME: Final = "visual_effects"
SEEDS: Final = (1000, 1001)
TOLERANCE_S: Final = 0.25


def measure() -> list[Figure]:
    """F1 per kind with start and end to 0.25 s; effects claimed where there are none."""
    right: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    false: Counter[str] = Counter()
    for clip in (effect_clip(seed) for seed in SEEDS):
        score(run_analyzer(VisualEffects, clip.path), clip.truth["effects"], right, missed, false)
    f1 = {kind: 2 * right[kind] / max(2 * right[kind] + missed[kind] + false[kind], 1) for kind in KINDS}
    plain = [plain_clip(1000), camera_clip(1000), still_clip(1000)]
    real = [package_file(name) for name in ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")]
    invented = sum(len(run_analyzer(VisualEffects, clip.path).segments) for clip in plain)
    on_real = sum(len(run_analyzer(VisualEffects, path).segments) for path in real)
    return [
        Figure(NAME, "all fifteen kinds, F1 with start and end to 0.25 s, mean", sum(f1.values()) / len(f1), 0.9),
        Figure(NAME, "the worst kind, F1", min(f1.values()), 0.8),
        Figure(
            NAME, "made-up pans, zooms, cuts, dissolves, dark, handheld, a still: invented", invented, 0, at_most=True
        ),
        Figure(NAME, "three real films (19 s): invented", on_real, 0, at_most=True),
    ]


def score(
    report: EffectsReport, truth: list[dict[str, Any]], right: Counter[str], missed: Counter[str], false: Counter[str]
) -> None:
    """Count what was found, missed and claimed wrongly, by kind."""
    left = list(report.segments)
    for want in truth:
        match = next((one for one in left if _same(one, want)), None)
        if match is None:
            missed[want["kind"]] += 1
        else:
            left.remove(match)
            right[want["kind"]] += 1
    false.update(one.kind for one in left)


def _same(one: Any, want: dict[str, Any]) -> bool:
    near = max(abs(one.start - want["start"]), abs(one.end - want["end"])) <= TOLERANCE_S
    return bool(one.kind == want["kind"] and near)
