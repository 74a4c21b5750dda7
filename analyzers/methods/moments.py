"""Cuts on beats, and the moments at which much happens. The rules: docs/cross_analyzer_intelligence.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from analyzers.methods.evidence import LOUD_STEP_DB, PRESENT, Reports, quoted, spelled

PAUSE_S: Final = 1.0
"""Speech after a pause of this length begins anew."""
MOMENT_SCORE_MIN: Final = 2.0
MOMENT_DISTANCE_S: Final = 2.0
MOMENTS_MAX: Final = 8
"""Key moments: at least two changes at once, apart from each other, the strongest."""
SURE_EFFECT: Final = 0.6
"""Score from which an effect counts as a change."""


@dataclass(frozen=True)
class Change:
    """Something that begins or ends at a time, in words; `weight` is 1 for what everybody notices."""

    time_s: float
    what: str
    analyzer: str
    weight: float


@dataclass(frozen=True)
class Sync:
    """How many of `cuts` hard cuts lie on a beat, against chance (see `beat_cut_sync`)."""

    cuts: int
    on_beat: int
    chance: float
    p_value: float


def beats_of(reports: Reports) -> list[float]:
    """Times of the beats; none without a report or a rhythm."""
    return list(getattr(reports["audio_analysis"].summary, "beats", ())) if "audio_analysis" in reports else []


def beat_cut_sync(reports: Reports, duration_s: float, window_s: float) -> Sync | None:
    """Hard cuts within `window_s` of a beat; None without cuts or beats.

    `chance` is the share of the video's time that lies so near a beat: where cuts that know nothing of the music would
    be. `p_value` is how likely so many or more would be there by chance (binomial).
    """
    beats = beats_of(reports)
    all_cuts = getattr(reports["cut_analysis"].summary, "cuts", ()) if "cut_analysis" in reports else ()
    cuts = [cut.time for cut in all_cuts if cut.kind == "cut"]
    if not beats or not cuts or duration_s <= 0:
        return None
    on_beat = sum(any(abs(cut - beat) <= window_s + 1e-9 for beat in beats) for cut in cuts)
    covered_s, reached_s = 0.0, 0.0
    for beat in sorted(beats):
        begin, end = max(reached_s, beat - window_s), min(duration_s, beat + window_s)
        covered_s += max(0.0, end - begin)
        reached_s = max(reached_s, end)
    chance = min(1.0, covered_s / duration_s)
    return Sync(len(cuts), on_beat, chance, _at_least(on_beat, len(cuts), chance))


def _at_least(successes: int, trials: int, chance: float) -> float:
    """Probability of so many successes or more (binomial), by logarithms: a long video has hundreds of cuts."""
    if chance <= 0 or chance >= 1:
        return 1.0 if chance >= 1 or successes == 0 else 0.0
    total = 0.0
    for count in range(successes, trials + 1):
        ways = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
        total += math.exp(ways + count * math.log(chance) + (trials - count) * math.log1p(-chance))
    return min(1.0, total)


def changes(reports: Reports) -> list[Change]:
    """What begins or changes after the start of the video, by time."""
    found = [c for name, rule in _CHANGES if name in reports for c in rule(reports[name], name) if c.time_s > 0]
    return sorted(found, key=lambda change: (change.time_s, change.analyzer, change.what))


def _cut_changes(report: Any, name: str) -> Iterator[Change]:
    for cut in getattr(report.summary, "cuts", ()):
        yield Change(cut.time, str(cut.kind), name, 1.0)


def _caption_changes(report: Any, name: str) -> Iterator[Change]:
    for segment in report.segments:
        if segment.kind == "overlay":
            yield Change(segment.start, f"caption {quoted(segment.text)} appears", name, 1.0)


def _object_changes(report: Any, name: str) -> Iterator[Change]:
    seen: set[str] = set()
    for segment in report.segments:
        for thing in segment.objects:
            if thing.label not in seen:
                seen.add(thing.label)
                yield Change(segment.start, f"the first {thing.label} appears", name, 1.0)


def _camera_changes(report: Any, name: str) -> Iterator[Change]:
    for before, after in pairwise(report.segments):
        if before.motion != after.motion:
            yield Change(after.start, f"camera: {str(after.motion).replace('_', ' ')}", name, 0.5)


def _speech_changes(report: Any, name: str) -> Iterator[Change]:
    end_s = -math.inf
    for segment in report.segments:
        if segment.start - end_s >= PAUSE_S:
            yield Change(segment.start, "speech begins", name, 1.0)
        end_s = max(end_s, segment.end)


def _pace_changes(report: Any, name: str) -> Iterator[Change]:
    for change in getattr(report.summary, "changes", ()):
        yield Change(change.time, f"speech gets {change.kind}", name, 0.5)


def _sound_changes(report: Any, name: str) -> Iterator[Change]:
    for before, after in pairwise(report.segments):
        step_db = after.rms_db - before.rms_db
        if abs(step_db) >= LOUD_STEP_DB:
            yield Change(after.start, f"{abs(step_db):.0f} dB {'louder' if step_db > 0 else 'quieter'}", name, 1.0)
        if (before.music >= PRESENT) != (after.music >= PRESENT):
            yield Change(after.start, f"music {'begins' if after.music >= PRESENT else 'ends'}", name, 1.0)


def _kind_changes(report: Any, name: str) -> Iterator[Change]:
    for segment in report.segments:
        if segment.kind != "other" and getattr(segment, "score", 1.0) >= SURE_EFFECT:
            yield Change(getattr(segment, "time", segment.start), spelled(segment.kind), name, 1.0)


def _brand_changes(report: Any, name: str) -> Iterator[Change]:
    for segment in report.segments:
        if segment.brand:
            yield Change(segment.start, f"brand {quoted(segment.brand)}", name, 0.5)


def _scene_changes(report: Any, name: str) -> Iterator[Change]:
    for segment in report.segments[1:]:
        yield Change(segment.start, "a new scene", name, 0.5)


def _phase_changes(report: Any, name: str) -> Iterator[Change]:
    for segment in report.segments[1:]:
        if segment.phase in ("peak", "cta"):
            what = "the peak begins" if segment.phase == "peak" else "the call to action begins"
            yield Change(segment.start, what, name, 0.5)


def _gaze_changes(report: Any, name: str) -> Iterator[Change]:
    looked = False
    for segment in report.segments:
        looks = any(face.eye_contact for face in segment.faces)
        if looks and not looked:
            yield Change(segment.start, "somebody looks into the camera", name, 0.5)
        looked = looks


_CHANGES: Final[tuple[tuple[str, Callable[[Any, str], Iterator[Change]]], ...]] = (
    ("cut_analysis", _cut_changes),
    ("text_overlay", _caption_changes),
    ("object_detection", _object_changes),
    ("camera_analysis", _camera_changes),
    ("speech_transcription", _speech_changes),
    ("speech_rate", _pace_changes),
    ("audio_analysis", _sound_changes),
    ("visual_effects", _kind_changes),
    ("sound_effects", _kind_changes),
    ("product_detection", _brand_changes),
    ("scene_segmentation", _scene_changes),
    ("temporal_flow", _phase_changes),
    ("eye_tracking", _gaze_changes),
)


def key_moments(found: Sequence[Change]) -> list[tuple[float, float, list[Change]]]:
    """(time, score, changes) of the moments at which two or more analyzers see a change within a second, by time."""
    windows = []
    for index, first in enumerate(found):
        inside = [change for change in found[index:] if change.time_s - first.time_s < 1.0]
        # An analyzer counts once with its strongest change: six captions at once are one event.
        strongest: dict[str, Change] = {}
        for change in inside:
            if change.analyzer not in strongest or change.weight > strongest[change.analyzer].weight:
                strongest[change.analyzer] = change
        score = sum(change.weight for change in strongest.values())
        if score >= MOMENT_SCORE_MIN and len(strongest) >= 2:
            cut = strongest.get("cut_analysis")  # the eye dates a moment by its cut
            windows.append((cut.time_s if cut else first.time_s, score, list(strongest.values())))
    chosen: list[tuple[float, float, list[Change]]] = []
    for window in sorted(windows, key=lambda item: (-item[1], item[0])):
        if all(abs(window[0] - other[0]) >= MOMENT_DISTANCE_S for other in chosen):
            chosen.append(window)
        if len(chosen) == MOMENTS_MAX:
            break
    return sorted(chosen, key=lambda item: item[0])
