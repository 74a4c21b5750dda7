"""What rules that compare reports share: findings with the evidence of each side, runs of time, words, languages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from analyzers.methods.evidence import PRESENT, Reports, Stretch, quoted, segments_in

BLUR_S: Final = 0.3
"""A word this near a second counts for it: analyzers blur their borders."""
RUN_S_MIN: Final = 2.0
"""A shorter disagreement about a state (speech, people) is the analyzers' different resolution."""
SURE_SCORE: Final = 0.6
"""Both sides of a comparison must be at least this sure, where they say how sure they are."""
BREAK_S: Final = 0.2
"""How near a break that the camera's motion shows must be to a transition: motion is sampled at 12 fps."""
LANGUAGE_WORDS_MIN: Final = 3
"""Function words that tell the language of written text, and twice as many as of the other."""

_BREAKING: Final = ("flash", "freeze_frame", "zoom_punch", "glitch", "shake", "overlay_graphic", "split_screen")
"""Effects under which corners cannot be followed."""
WORD: Final = re.compile(r"\w+")
# The commonest function words of both languages that the other does not have.
# fmt: off
_FUNCTION_WORDS: Final = {
    "en": frozenset((
        "the", "and", "is", "are", "you", "your", "for", "with", "this", "that", "my", "of", "to", "it", "at", "have",
        "be", "how", "why", "what",
    )),
    "de": frozenset((
        "der", "das", "und", "ist", "nicht", "ich", "du", "wir", "mit", "dein", "deine", "für", "auf", "ein", "eine",
        "zu", "wie", "warum", "den", "dem",
    )),
}
# fmt: on


@dataclass(frozen=True)
class Side:
    """What one analyzer reported, from `start_s` to `end_s`, in words."""

    analyzer: str
    start_s: float
    end_s: float
    what: str


@dataclass(frozen=True)
class Found:
    """Something that follows from several reports: by which rule, from when to when, in words, and what each said."""

    rule: str
    start_s: float
    end_s: float
    what: str
    sides: tuple[Side, ...]


def by_time(found: Iterator[Found]) -> list[Found]:
    """In order of time."""
    return sorted(found, key=lambda item: (item.start_s, item.end_s, item.what))


def words_in(reports: Reports, stretch: Stretch) -> list[Any]:
    """Words that touch a stretch."""
    near = segments_in(reports["speech_transcription"], stretch)
    return [word for s, _ in near for word in s.words if word.end > stretch[0] and word.start < stretch[1]]


def said(words: Sequence[Any]) -> str:
    """Words as a quotation."""
    return f"says {quoted(' '.join(word.word.strip() for word in words))}"


def speech_seconds(reports: Reports) -> Iterator[tuple[float, float, bool, list[Any]]]:
    """(start, end, whether the sound is speech, the words) for each second of the sound."""
    for second in reports["audio_analysis"].segments:
        near = words_in(reports, (max(0.0, second.start - BLUR_S), second.end + BLUR_S))
        yield second.start, second.end, second.speech >= PRESENT, near


def runs(stretches: Sequence[Stretch], shortest_s: float = RUN_S_MIN) -> list[Stretch]:
    """Adjoining stretches joined; those of at least `shortest_s`."""
    joined: list[Stretch] = []
    for start, end in sorted(stretches):
        if joined and start - joined[-1][1] <= 0.01:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return [(start, end) for start, end in joined if end - start >= shortest_s - 0.01]


def breaks(reports: Reports) -> Iterator[tuple[float, Any]]:
    """(time of a break in the camera's motion, the transition beside it or None)."""
    if {"camera_analysis", "cut_analysis"} <= set(reports):
        transitions = getattr(reports["cut_analysis"].summary, "cuts", ())
        for broken in getattr(reports["camera_analysis"].summary, "breaks", ()):
            near = (
                cut
                for cut in transitions
                if getattr(cut, "start", cut.time) - BREAK_S <= broken <= getattr(cut, "end", cut.time) + BREAK_S
            )
            yield broken, next(near, None)


def effect_at(reports: Reports, time_s: float) -> Any:
    """An effect of visual_effects that is sure and begins, ends or stands at a time; None if there is none."""
    if "visual_effects" not in reports:
        return None
    near = segments_in(reports["visual_effects"], (max(0.0, time_s - BREAK_S), time_s + BREAK_S))
    return next((s for s, _ in near if s.kind in _BREAKING and s.score >= SURE_SCORE), None)


def persons_in(reports: Reports, stretch: Stretch) -> int:
    """Persons that object_detection has at once in a stretch, at most."""
    seen = segments_in(reports["object_detection"], stretch)
    return max((sum(thing.label == "person" for thing in s.objects) for s, _ in seen), default=0)


def written_language(text: str) -> str | None:
    """English or German by function words; None where too few of them tell."""
    words = [word.casefold() for word in WORD.findall(text)]
    counts = {language: sum(word in known for word in words) for language, known in _FUNCTION_WORDS.items()}
    best = max(counts, key=lambda language: counts[language])
    others = sum(counts.values()) - counts[best]
    return best if counts[best] >= LANGUAGE_WORDS_MIN and counts[best] >= 2 * others else None


def captions(reports: Reports) -> list[Any]:
    """Overlays of text_overlay, in order."""
    return [segment for segment in reports["text_overlay"].segments if segment.kind == "overlay"]


def labelled(report: Any, stretch: Stretch, name: str) -> float:
    """Highest score of a label in a stretch, 0 if it is not there."""
    near = [label for s, _ in segments_in(report, stretch) for label in s.labels if label.name == name]
    return max((label.score for label in near), default=0.0)
