"""Compares what analyzers reported: where they say the same, where they contradict each other, where much happens.

The rules and their reasons are in docs/cross_analyzer_intelligence.md. A rule looks only at reports that are there; it
never fills in for one that is missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from analyzers.methods.evidence import LOUD_STEP_DB, PRESENT, Reports, Stretch, quoted, segments_in

SPOKEN_NEAR_S: Final = 1.0
"""A caption may repeat what is said this long before it appears or after it is gone."""
REPEATED_SHARE: Final = 0.6
"""Of a caption's words that must be said for it to repeat the speech."""
REPEATED_WORDS_MIN: Final = 2
BREAK_S: Final = 0.2
"""How near a break that the camera's motion shows must be to a transition: motion is sampled at 12 fps."""
RUN_S_MIN: Final = 2.0
"""A shorter disagreement about a state (speech, people) is the analyzers' different resolution."""
SILENT_WORD_S: Final = 0.3
"""A word that lies in silence for longer than this is a contradiction."""
BLUR_S: Final = 0.3
"""A word this near a second counts for it: both analyzers blur their borders."""
PAUSE_S: Final = 1.0
"""Speech after a pause of this length begins anew."""
MOMENT_SCORE_MIN: Final = 2.0
MOMENT_DISTANCE_S: Final = 2.0
MOMENTS_MAX: Final = 8
"""Key moments: at least two changes at once, apart from each other, the strongest."""

_SPEECH: Final = ("audio_analysis", "speech_transcription")
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True)
class Found:
    """Something that holds from `start_s` to `end_s`, in words, and the analyzers whose reports say so."""

    start_s: float
    end_s: float
    what: str
    analyzers: tuple[str, ...]


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


def agreements(reports: Reports) -> list[Found]:
    """Where two reports say the same independently, by time."""
    rules = (_caption_repeats_speech, _speech_twice, _breaks_at_cuts)
    return _by_time(found for rule in rules for found in rule(reports))


def contradictions(reports: Reports) -> list[Found]:
    """Where two reports cannot both be right, by time."""
    rules = (_speech_without_words, _words_in_silence, _breaks_without_cuts, _faces_without_people)
    return _by_time(found for rule in rules for found in rule(reports))


def _by_time(found: Iterator[Found]) -> list[Found]:
    return sorted(found, key=lambda item: (item.start_s, item.end_s, item.what))


def _words(reports: Reports, stretch: Stretch) -> list[Any]:
    """Words that touch a stretch."""
    near = segments_in(reports["speech_transcription"], stretch)
    return [word for s, _ in near for word in s.words if word.end > stretch[0] and word.start < stretch[1]]


def _caption_repeats_speech(reports: Reports) -> Iterator[Found]:
    if not {"text_overlay", "speech_transcription"} <= set(reports):
        return
    for caption in reports["text_overlay"].segments:
        shown = [part.casefold() for part in _WORD.findall(caption.text)]
        if caption.kind != "overlay" or len(shown) < REPEATED_WORDS_MIN:
            continue
        near = _words(reports, (max(0.0, caption.start - SPOKEN_NEAR_S), caption.end + SPOKEN_NEAR_S))
        said = {part.casefold() for word in near for part in _WORD.findall(word.word)}
        if sum(part in said for part in shown) >= REPEATED_SHARE * len(shown):
            what = f"the caption {quoted(caption.text)} repeats what is said"
            yield Found(caption.start, caption.end, what, ("text_overlay", "speech_transcription"))


def _speech_seconds(reports: Reports) -> Iterator[tuple[float, float, bool, bool]]:
    """(start, end, whether the sound is speech, whether there are words) for each second of the sound."""
    for second in reports["audio_analysis"].segments:
        near = _words(reports, (max(0.0, second.start - BLUR_S), second.end + BLUR_S))
        yield second.start, second.end, second.speech >= PRESENT, bool(near)


def _speech_twice(reports: Reports) -> Iterator[Found]:
    if set(_SPEECH) <= set(reports):
        both = [(a, b) for a, b, sounds, words in _speech_seconds(reports) if sounds and words]
        for start, end in _runs(both):
            yield Found(start, end, "the sound is speech, and words are understood", _SPEECH)


def _speech_without_words(reports: Reports) -> Iterator[Found]:
    if set(_SPEECH) <= set(reports):
        lone = [(a, b) for a, b, sounds, words in _speech_seconds(reports) if sounds and not words]
        for start, end in _runs(lone):
            yield Found(start, end, "the sound is speech, but no words are understood", _SPEECH)


def _words_in_silence(reports: Reports) -> Iterator[Found]:
    if not set(_SPEECH) <= set(reports):
        return
    for start, end in getattr(reports["audio_analysis"].summary, "silences", ()):
        for word in _words(reports, (start, end)):
            if min(word.end, end) - max(word.start, start) > SILENT_WORD_S:
                what = f"the word {quoted(word.word)} is understood where it is silent"
                yield Found(word.start, word.end, what, ("speech_transcription", "audio_analysis"))


def _breaks(reports: Reports) -> Iterator[tuple[float, float | None]]:
    """(time of a break in the camera's motion, time of the transition beside it or None)."""
    if {"camera_analysis", "cut_analysis"} <= set(reports):
        transitions = getattr(reports["cut_analysis"].summary, "cuts", ())
        for broken in getattr(reports["camera_analysis"].summary, "breaks", ()):
            near = [
                cut.time
                for cut in transitions
                if getattr(cut, "start", cut.time) - BREAK_S <= broken <= getattr(cut, "end", cut.time) + BREAK_S
            ]
            yield broken, near[0] if near else None


def _breaks_at_cuts(reports: Reports) -> Iterator[Found]:
    for broken, cut in _breaks(reports):
        if cut is not None:
            what = "the picture's motion breaks where a transition was found"
            yield Found(min(broken, cut), max(broken, cut), what, ("camera_analysis", "cut_analysis"))


def _breaks_without_cuts(reports: Reports) -> Iterator[Found]:
    for broken, cut in _breaks(reports):
        if cut is None:
            what = "the picture's motion breaks where no transition was found"
            yield Found(broken, broken, what, ("camera_analysis", "cut_analysis"))


def _faces_without_people(reports: Reports) -> Iterator[Found]:
    for name in ("eye_tracking", "age_estimation"):
        if not {name, "object_detection"} <= set(reports):
            continue
        lone = []
        for segment in reports[name].segments:
            seen = segments_in(reports["object_detection"], (segment.start, segment.end))
            if segment.faces and not any(thing.label == "person" for s, _ in seen for thing in s.objects):
                lone.append((segment.start, segment.end))
        for start, end in _runs(lone):
            yield Found(start, end, "a face is seen, but no person", (name, "object_detection"))


def _runs(stretches: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Adjoining stretches joined; those of at least `RUN_S_MIN`."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if joined and start - joined[-1][1] <= 0.01:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return [(start, end) for start, end in joined if end - start >= RUN_S_MIN - 0.01]


# --- changes and key moments ------------------------------------------------------------------------------------------


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
        yield Change(segment.start, str(segment.kind).replace("_", " "), name, 1.0)


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
