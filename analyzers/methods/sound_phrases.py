"""What the reports on the sound say about a second, as facts for a line of notes (see evidence.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from analyzers.methods.evidence import (
    PRESENT,
    Indexed,
    Phrase,
    Reports,
    Stretch,
    article,
    hedged,
    longest_in,
    quoted,
    segments_in,
    spelled,
)

SPEECH_RANK, MANNER_RANK, SOUND_RANK, EVENT_RANK, PLACE_RANK = range(10, 15)
EXCITED, CALM = 0.7, 0.3
"""Arousal 0..1 from which a voice is called excited, and below which calm."""
MANNER_SURE: Final = 0.25
"""Least confidence of speech_emotion whose word is passed on. Prosody alone, measured against the clip, stays below."""
WORDS_SURE: Final = 0.5
"""Mean score of a second's words below which they are hedged."""
SILENT_SHARE: Final = 0.8

LANGUAGES: Final = {
    "en": "English", "de": "German", "es": "Spanish", "fr": "French", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "pl": "Polish", "tr": "Turkish", "ru": "Russian", "uk": "Ukrainian", "ar": "Arabic", "hi": "Hindi",
    "ja": "Japanese", "ko": "Korean", "zh": "Chinese",
}  # fmt: skip
_PLACES: Final = {
    "crowd": "a crowd is heard", "street": "street noise", "vehicle": "a vehicle is heard",
    "nature": "sounds of nature", "weather": "wind or rain is heard", "water": "water is heard",
    "home": "household sounds", "machine": "a machine runs", "noise": "noise",
}  # fmt: skip
"""Voice, music and silence are said by other facts; indoor, outdoor, room and hall are guesses from echo."""


def facts(reports: Reports, stretch: Stretch) -> Iterator[Phrase]:
    """All facts of the sound in a stretch."""
    for name, speak in _SPEAKERS.items():
        if name in reports:
            yield from speak(reports[name], stretch, name)


def _speech(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    main = getattr(report.summary, "language", None)
    spoken: list[tuple[str, str, float, bool]] = []
    for segment, _ in segments_in(report, stretch):
        words = [w for w in segment.words if stretch[0] <= (w.start + w.end) / 2 < stretch[1]]
        if words:
            score = sum(w.score for w in words) / len(words)
            said = " ".join(w.word.strip() for w in words)
            starts = words[0] is segment.words[0] and _changes(report, segment)
            spoken.append((getattr(segment, "language", main) or "", said, score, starts))
    for language in dict.fromkeys(language for language, _, _, _ in spoken):
        own = [one for one in spoken if one[0] == language]
        named = any(starts for _, _, _, starts in own)
        tongue = f" in {LANGUAGES.get(language, language)}" if named else ""
        doubt = "perhaps " if min(score for _, _, score, _ in own) < WORDS_SURE else ""
        said = " ".join(words for _, words, _, _ in own)
        yield Phrase((name,), f"voice {doubt}says{tongue} {quoted(said)}", SPEECH_RANK, 2.2, lasting=False)


def _changes(report: Indexed, segment: Any) -> bool:
    """Whether a clip of several languages begins, or changes its language, with a segment."""
    if len(getattr(report.summary, "languages", {}) or {}) < 2:
        return False
    number = next(n for n, other in enumerate(report.segments) if other is segment)
    return number == 0 or bool(report.segments[number - 1].language != segment.language)


def _sound(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    segment = longest_in(report, stretch)
    silent_s = sum(
        max(0.0, min(end, stretch[1]) - max(start, stretch[0]))
        for start, end in getattr(report.summary, "silences", ())
    )
    if silent_s > SILENT_SHARE * (stretch[1] - stretch[0]):
        yield Phrase((name,), "silence", SOUND_RANK, 1.0)
    elif segment is not None and getattr(segment, "music", 0.0) >= PRESENT:
        yield Phrase((name,), "music", SOUND_RANK, 1.0)


def _events(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    counted: dict[str, list[Any]] = {}
    for segment, _ in segments_in(report, stretch):
        at = getattr(segment, "time", segment.start)
        if stretch[0] <= at < stretch[1] and segment.kind != "other" and getattr(segment, "score", 1.0) >= PRESENT:
            counted.setdefault(str(segment.kind), []).append(segment)
    for kind, events in counted.items():
        score = max(getattr(event, "score", 1.0) for event in events)
        text = f"{article(kind)} {spelled(kind)} sound" if len(events) == 1 else f"{len(events)} {spelled(kind)} sounds"
        yield Phrase((name,), hedged(text, score), EVENT_RANK, 1.5, lasting=False)


def _place(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    known = [label for label in getattr(longest_in(report, stretch), "labels", None) or () if label.name in _PLACES]
    top = max(known, key=lambda label: label.score, default=None)
    if top is not None and top.score >= PRESENT:
        yield Phrase((name,), hedged(_PLACES[top.name], top.score), PLACE_RANK, 0.7)


def _mood(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    segment = longest_in(report, stretch)
    arousal = getattr(segment, "arousal", None)
    if getattr(segment, "confidence", 1.0) < MANNER_SURE:
        return
    if arousal is not None and arousal >= EXCITED:
        yield Phrase((name,), "the voice sounds excited", MANNER_RANK, 0.7)
    elif arousal is not None and arousal <= CALM:
        yield Phrase((name,), "the voice sounds calm", MANNER_RANK, 0.5)


def _fillers(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    for segment, _ in segments_in(report, stretch):
        if segment.kind == "filler" and stretch[0] <= segment.start < stretch[1]:
            yield Phrase((name,), "a filler", MANNER_RANK, 0.5, lasting=False)


def _pace(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    for change in getattr(report.summary, "changes", ()):
        if stretch[0] <= change.time < stretch[1]:
            yield Phrase((name,), f"speech gets {change.kind}", MANNER_RANK, 0.8, lasting=False)


_SPEAKERS: Final[Mapping[str, Callable[[Indexed, Stretch, str], Iterator[Phrase]]]] = {
    "speech_transcription": _speech,
    "speech_emotion": _mood,
    "speech_rate": _pace,
    "speech_flow": _fillers,
    "audio_analysis": _sound,
    "sound_effects": _events,
    "audio_environment": _place,
}
