"""Says how fast somebody speaks: words and syllables per minute over time, and where the pace changes.

Rates are over speech time: a minute of somebody who pauses for thirty seconds counts as thirty seconds. Pauses up to
`BREATH_S` belong to speaking (the "articulation rate" of phonetics excludes longer ones; see Goldman-Eisler,
"Psycholinguistics: Experiments in Spontaneous Speech", 1968, whose limit of a quarter of a second is widened here by
what the transcription's word times are off). Syllables are the fairer measure across languages; they are counted from
the written words by the rules in analyzers/methods/syllables.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, Literal

from analyzers.methods.syllables import syllables
from pipeline.analyzer import Analyzer, Profile
from pipeline.results import Document, ModelInfo, Number, Report, Seconds, Segment, Summary, Upstream
from pipeline.types import AnalyzerSpec

WINDOW_S: Final = 5.0
"""Speech is cut into pieces of about this length. Shorter: a long word changes the rate. Longer: changes are missed."""
BREATH_S: Final = 0.5
"""A pause up to this length belongs to speaking."""
TURN_PAUSE_S: Final = 1.5
"""A longer pause begins a new piece."""
RATE_S_MIN: Final = 1.0
"""Less speech than this gives no rate: one shouted word is not a pace."""
CHANGE_SHARE: Final = 0.25
"""A change is reported when syllables per minute grow or fall by this share of the slower rate."""


class RateSegment(Segment):
    """A piece of speech of about `WINDOW_S`. The rates are null where there is too little speech for one."""

    words: int
    syllables: int
    speech_s: Seconds
    words_per_minute: Number | None
    syllables_per_minute: Number | None


class RateChange(Document):
    """Where the pace changes from one piece to the next, in syllables per minute."""

    time: Seconds
    kind: Literal["faster", "slower"]
    before: Number
    after: Number


class RateSummary(Summary):
    """Over all speech. The rates are null where nobody speaks, or too little."""

    words: int
    syllables: int
    speech_s: Seconds
    words_per_minute: Number | None
    syllables_per_minute: Number | None
    fastest: Number | None
    slowest: Number | None
    changes: list[RateChange]


class RateReport(Report[RateSegment, RateSummary]):
    """Report of speech_rate. Segments cover the speech; without speech there are none."""


@dataclass(frozen=True)
class SpokenWord:
    """A word on the video's clock, in seconds, and its syllables."""

    start_s: float
    end_s: float
    syllables: int


class SpeechRate(Analyzer[None, RateReport]):
    """Pace of speech from the transcription's word times."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec("speech_rate", "1", None, after=("speech_transcription",), cpus=0.1)

    def load(self, device: str, profile: Profile) -> None:
        """Nothing to read: rules only."""
        self.model = ModelInfo(id="reelscope/speech-rate", revision=self.spec.version, backend="rules")

    def summarize(self, parts: Sequence[None], upstream: Upstream) -> RateReport:
        """Rates of the words that speech_transcription heard."""
        spoken = [
            SpokenWord(word.start, word.end, syllables(word.word, segment.language))
            for segment in upstream["speech_transcription"].segments
            for word in segment.words
        ]
        segments = [_segment(piece) for piece in pieces(spoken)]
        whole = _totals([word for word in spoken if word.syllables])
        paces = [s.syllables_per_minute for s in segments if s.syllables_per_minute is not None]
        return RateReport(
            segments=segments,
            summary=RateSummary(
                words=whole.words,
                syllables=whole.syllables,
                speech_s=whole.speech_s,
                words_per_minute=whole.words_per_minute,
                syllables_per_minute=whole.syllables_per_minute,
                fastest=max(paces, default=None),
                slowest=min(paces, default=None),
                changes=changes(segments),
            ),
        )


def pieces(words: Sequence[SpokenWord]) -> list[list[SpokenWord]]:
    """Words in pieces: cut at pauses over `TURN_PAUSE_S`, then into equal parts of about `WINDOW_S`."""
    turns: list[list[SpokenWord]] = []
    for word in words:
        if not word.syllables:
            continue
        if not turns or word.start_s - turns[-1][-1].end_s > TURN_PAUSE_S:
            turns.append([])
        turns[-1].append(word)
    found: list[list[SpokenWord]] = []
    for turn in turns:
        start_s, length_s = turn[0].start_s, turn[-1].end_s - turn[0].start_s
        count = max(1, round(length_s / WINDOW_S))
        slots: list[list[SpokenWord]] = [[] for _ in range(count)]
        for word in turn:
            middle_s = (word.start_s + word.end_s) / 2 - start_s
            slots[min(count - 1, int(middle_s / max(length_s, 1e-6) * count))].append(word)
        found += [slot for slot in slots if slot]
    return found


def speech_time_s(words: Sequence[SpokenWord]) -> float:
    """Seconds from first sound to last, less the pauses longer than `BREATH_S`."""
    if not words:
        return 0.0
    pauses = (after.start_s - before.end_s for before, after in pairwise(words))
    return words[-1].end_s - words[0].start_s - sum(pause_s for pause_s in pauses if pause_s > BREATH_S)


def changes(segments: Sequence[RateSegment]) -> list[RateChange]:
    """Neighbouring pieces whose pace differs by `CHANGE_SHARE` or more."""
    paced = [(s.start, s.syllables_per_minute) for s in segments if s.syllables_per_minute is not None]
    found: list[RateChange] = []
    for (_, before), (time, after) in pairwise(paced):
        if max(before, after) >= (1 + CHANGE_SHARE) * min(before, after):
            kind: Literal["faster", "slower"] = "faster" if after > before else "slower"
            found.append(RateChange(time=time, kind=kind, before=before, after=after))
    return found


@dataclass(frozen=True)
class _Totals:
    words: int
    syllables: int
    speech_s: float
    words_per_minute: float | None
    syllables_per_minute: float | None


def _totals(words: Sequence[SpokenWord]) -> _Totals:
    speech_s, sounds = speech_time_s(words), sum(word.syllables for word in words)
    if speech_s < RATE_S_MIN:
        return _Totals(len(words), sounds, speech_s, None, None)
    return _Totals(len(words), sounds, speech_s, 60 * len(words) / speech_s, 60 * sounds / speech_s)


def _segment(words: Sequence[SpokenWord]) -> RateSegment:
    totals = _totals(words)
    return RateSegment(
        start=words[0].start_s,
        end=words[-1].end_s,
        words=totals.words,
        syllables=totals.syllables,
        speech_s=totals.speech_s,
        words_per_minute=totals.words_per_minute,
        syllables_per_minute=totals.syllables_per_minute,
    )
