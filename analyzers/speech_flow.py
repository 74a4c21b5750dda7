"""Says how fluently somebody speaks: where speech, pauses and fillers are, and how much of each.

The time from the first word to the last is tiled; what lies before and behind is nobody's pause. Pauses are where the
sound is 25 dB below the loudest speech (N. de Jong and T. Wempe, "Praat script to detect syllable nuclei and measure
speech rate automatically", Behavior Research Methods 41, 2009) for a quarter of a second (N. de Jong and H. Bosker,
"Choosing a threshold for silent pauses to measure second language fluency", DiSS 2013), and gaps between words in
which the voice detector (models/voice.py) hears nobody, though music sounds on. Whisper drops many fillers and gives
their time to the next word, so they are taken from the text (`FILLERS`) and from the sound: a voice that stands still
between pauses (methods/filled_pauses.py).

Fluency has the three sides of P. Skehan's model as N. de Jong uses it ("Fluency in second language assessment",
2016): breakdown, speed is left to speech_rate, and repair. `fluency = 0.5 phonation + 0.25 (1 - pauses per minute /
40) + 0.25 (1 - (fillers + repetitions) per minute / 20)`, each clipped to 0..1; the weights and scales are ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt

from analyzers.methods.filled_pauses import held_voices
from analyzers.methods.levels import RATE_HZ, levels_100_hz
from analyzers.models.voice import find_speech
from pipeline.analyzer import Analyzer, Profile
from pipeline.results import ModelInfo, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import AUDIO, AnalyzerSpec, AudioTrack

PAUSE_S_MIN: Final = 0.25
SOUND_S_MIN: Final = 0.1
"""A shorter sound between two pauses is none (De Jong and Wempe)."""
BREAK_S: Final = 3.0
"""A longer pause is a scene without speech: it is in the segments, but counts for no figure."""
QUIET_DB: Final = 25.0
HELD_SHARE: Final = 0.3
"""Of a sound between two pauses, that must stand still for a filler; its onset and its end move."""
VOICED_SHARE: Final = 0.5
"""Of that sound, that the voice detector must take for speech: a note of music stands still too."""
FILLER_S_MAX: Final = 2.0
INSIDE_SHARE: Final = 0.8
MISHEARD: Final = 0.7
"""A word with a lower score may be a filler misheard."""
SPEECH_S_MIN: Final = 2.0
"""Less speech has no fluency."""
PAUSES_PER_MINUTE: Final = 40.0
DISFLUENCIES_PER_MINUTE: Final = 20.0
"""Where the parts of fluency reach zero."""
FILLERS: Final[dict[str, frozenset[str]]] = {
    "en": frozenset({"uh", "uhh", "um", "umm", "uhm", "er", "erm", "hm", "hmm", "mm", "mmm"}),
    "de": frozenset({"äh", "ähm", "öh", "öhm", "ehm", "hm", "hmm", "mh", "mhm"}),
    "fr": frozenset({"euh", "heu", "hum", "hmm"}),
    "es": frozenset({"eh", "em", "ehm", "mmm"}),
    "it": frozenset({"ehm", "eh", "mmm", "uhm"}),
    "pt": frozenset({"hã", "ahn", "hum", "ehm"}),
}
"""Filled pauses by language. Discourse markers ("like", "also") are words."""
_BARE: Final = re.compile(r"\W+")

Kind = Literal["speech", "pause", "filler"]
Flags = npt.NDArray[np.bool_]


class FlowSegment(Segment):
    """A stretch of speech, a pause or a filler; `text` is a filler's word where it was heard as one."""

    kind: Kind
    text: str | None


class FlowSummary(Summary):
    """From the first word to the last, without pauses over `BREAK_S`. Shares and fluency are null without speech.

    `pause_share` is silent time over all time; `repetitions` counts words said twice in a row; `longest_pause_s` may
    be a break.
    """

    pause_share: Score | None
    fillers: int
    fluency: Score | None
    pauses: int
    mean_pause_s: Seconds | None
    longest_pause_s: Seconds | None
    fillers_per_minute: Number | None
    repetitions: int
    speech_s: Seconds


class FlowReport(Report[FlowSegment, FlowSummary]):
    """Report of speech_flow. Segments tile the time from the first word to the last; without words there are none."""


@dataclass(frozen=True)
class FlowPart:
    """One part of the sound.

    Args:
        start_s: when it starts.
        levels: float32, RMS amplitude at 100 Hz.
        voiced: (start, end) in seconds of the video where Silero VAD hears speech.
        held: (start, end) in seconds of the video where a voice stands still.
    """

    start_s: float
    levels: npt.NDArray[np.float32]
    voiced: list[tuple[float, float]]
    held: list[tuple[float, float]]


@dataclass(frozen=True)
class Heard:
    """A word of the transcript on the video's clock."""

    text: str
    start_s: float
    end_s: float
    score: float
    filler: bool


class SpeechFlow(Analyzer[FlowPart, FlowReport]):
    """Pauses, fillers and fluency from word times and the sound."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec(
        "speech_flow", "1", AUDIO, after=("speech_transcription",), cpus=0.25, timeout_s=600
    )

    def load(self, device: str, profile: Profile) -> None:
        """Nothing to read: signal processing and rules."""
        self.model = ModelInfo(id="reelscope/speech-flow", revision=self.spec.version, backend="numpy")

    def analyze(self, item: AudioTrack) -> FlowPart:
        """Levels and held voices of one part of the sound."""
        samples = np.nan_to_num(np.asarray(item.samples, np.float32))
        sounds = bool(np.any(samples))
        held = held_voices(samples, item.sample_rate) if sounds else []
        stretches = find_speech(samples) if sounds else []
        voiced = [(s.start / item.sample_rate, s.end / item.sample_rate) for s in stretches]
        return FlowPart(
            item.start_s,
            levels_100_hz(samples, item.sample_rate),
            [(item.start_s + a, item.start_s + b) for a, b in voiced],
            [(item.start_s + a, item.start_s + b) for a, b in held],
        )

    def summarize(self, parts: Sequence[FlowPart], upstream: Upstream) -> FlowReport:
        """Tile the time from the first word to the last."""
        words = [
            Heard(w.word, w.start, w.end, w.score, _bare(w.word) in FILLERS.get(segment.language, frozenset()))
            for segment in upstream["speech_transcription"].segments
            for w in segment.words
        ]
        if not words:
            return FlowReport(segments=[], summary=_summary([], 0))
        start_s, end_s = words[0].start_s, max(word.end_s for word in words)
        count = max(1, round((end_s - start_s) * RATE_HZ))
        quiet = quiet_frames(parts, words, start_s, count)
        held, spoken = ([span for part in parts for span in getattr(part, name)] for name in ("held", "voiced"))
        fillers = _held_fillers(held, spoken, words, quiet, start_s)
        # What was heard as a word and as a sound is one filler, with the sound's times.
        fillers += [f for f in _spoken_fillers(words) if not any(a < f[1] and f[0] < b for a, b, _ in fillers)]
        voiced = _frames(spoken, start_s, count)
        gaps = [(a.end_s, b.start_s) for a, b in pairwise(words) if b.start_s - a.end_s >= PAUSE_S_MIN]
        # Music in a gap is no speech; a voice in a gap is, though no word came of it.
        pause = _pauses(quiet | (_frames(gaps, start_s, count) & ~voiced))
        segments = _trimmed(tiled(pause, fillers, start_s, end_s))
        repeated = sum(
            _bare(a.text) == _bare(b.text) != "" and b.start_s - a.end_s < 1.0
            for a, b in pairwise(word for word in words if not word.filler)
        )
        return FlowReport(segments=segments, summary=_summary(segments, repeated))


def _bare(text: str) -> str:
    return _BARE.sub("", text).casefold()


def quiet_frames(parts: Sequence[FlowPart], words: Sequence[Heard], start_s: float, count: int) -> Flags:
    """[count] at 100 Hz from the first word on: where it is `QUIET_DB` below the loudest speech."""
    level = np.zeros(count)
    for part in parts:
        at = np.round((part.start_s - start_s) * RATE_HZ).astype(int) + np.arange(len(part.levels))
        inside = (at >= 0) & (at < count)
        level[at[inside]] = part.levels[inside]
    power = np.convolve(level**2, np.ones(5) / 5, "same")
    spoken = np.zeros(count, bool)
    for word in words:
        spoken[round((word.start_s - start_s) * RATE_HZ) : round((word.end_s - start_s) * RATE_HZ) + 1] = True
    loudest = float(np.percentile(power[spoken], 99)) if spoken.any() else 0.0
    return np.asarray(power < loudest * 10 ** (-QUIET_DB / 10))


def _frames(spans: Sequence[tuple[float, float]], start_s: float, count: int) -> Flags:
    """[count] at 100 Hz: what lies in one of the spans."""
    found = np.zeros(count, bool)
    for a, b in spans:
        first, last = (round((t - start_s) * RATE_HZ) for t in (a, b))
        found[max(0, first) : max(0, last)] = True
    return found


def _pauses(flags: Flags) -> Flags:
    """Without sounds shorter than `SOUND_S_MIN` between pauses, then without pauses shorter than `PAUSE_S_MIN`."""
    kept = flags.copy()
    for first, last in _runs(~flags):
        if last - first < SOUND_S_MIN * RATE_HZ:
            kept[first:last] = True
    for first, last in _runs(kept):
        kept[first:last] = last - first >= PAUSE_S_MIN * RATE_HZ
    return kept


def _trimmed(segments: list[FlowSegment]) -> list[FlowSegment]:
    """Without pauses at the ends: word times reach a little beyond the sound."""
    inner = [number for number, segment in enumerate(segments) if segment.kind != "pause"]
    return segments[inner[0] : inner[-1] + 1] if inner else []


def _runs(flags: Flags) -> list[tuple[int, int]]:
    borders = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in borders.reshape(-1, 2)]


def _spoken_fillers(words: Sequence[Heard]) -> list[tuple[float, float, str | None]]:
    return [(word.start_s, word.end_s, word.text) for word in words if word.filler]


def _held_fillers(
    held: Sequence[tuple[float, float]],
    voiced: Sequence[tuple[float, float]],
    words: Sequence[Heard],
    quiet: Flags,
    start_s: float,
) -> list[tuple[float, float, str | None]]:
    """Sounds that stand still between two pauses, and are no word that was clearly heard."""
    found: list[tuple[float, float, str | None]] = []
    for first, last in _runs(~_pauses(quiet)):
        a, b = start_s + first / RATE_HZ, start_s + last / RATE_HZ
        voiced_s = sum(max(0.0, min(b, end) - max(a, start)) for start, end in voiced)
        still_s = sum(max(0.0, min(b, end) - max(a, start)) for start, end in held)
        isolated = first > 0 and last < len(quiet) and b - a <= FILLER_S_MAX
        # A word that lies in it is itself; a word that reaches beyond it was given the filler's time by the alignment.
        inside = [w for w in words if min(b, w.end_s) - max(a, w.start_s) >= INSIDE_SHARE * (w.end_s - w.start_s)]
        clear = any(w.score >= MISHEARD and not w.filler for w in inside)
        still = still_s >= HELD_SHARE * (b - a) and voiced_s >= VOICED_SHARE * (b - a)
        if isolated and still and not clear:
            found.append((a, b, next((w.text for w in inside if w.filler), None)))
    return found


def tiled(
    pause: Flags, fillers: Sequence[tuple[float, float, str | None]], start_s: float, end_s: float
) -> list[FlowSegment]:
    """Segments without gaps; a filler goes before a pause, a pause before speech."""
    kinds = np.where(pause, 1, 0)
    texts: dict[int, str | None] = {}
    for number, (a, b, text) in enumerate(fillers):
        first, last = (round((t - start_s) * RATE_HZ) for t in (a, b))
        kinds[max(0, first) : max(last, first + 1)] = 2 + number
        texts[2 + number] = text
    borders = [0, *(np.flatnonzero(np.diff(kinds)) + 1), len(kinds)]
    segments = []
    for first, last in pairwise(borders):
        kind = int(kinds[first])
        name: Kind = "speech" if kind == 0 else "pause" if kind == 1 else "filler"
        end = end_s if last == len(kinds) else start_s + last / RATE_HZ
        segments.append(FlowSegment(start=start_s + first / RATE_HZ, end=end, kind=name, text=texts.get(kind)))
    return segments


def _summary(segments: Sequence[FlowSegment], repetitions: int) -> FlowSummary:
    def lengths(kind: Kind) -> list[float]:
        return [s.end - s.start for s in segments if s.kind == kind]

    pauses = [length for length in lengths("pause") if length <= BREAK_S]
    fillers, speech_s = lengths("filler"), sum(lengths("speech"))
    total_s = speech_s + sum(fillers) + sum(pauses)
    minutes = total_s / 60
    fluency = None
    if speech_s >= SPEECH_S_MIN:
        breakdown = 1 - len(pauses) / minutes / PAUSES_PER_MINUTE
        repair = 1 - (len(fillers) + repetitions) / minutes / DISFLUENCIES_PER_MINUTE
        fluency = 0.5 * speech_s / total_s + 0.25 * max(0.0, breakdown) + 0.25 * max(0.0, repair)
    return FlowSummary(
        pause_share=sum(pauses) / total_s if total_s else None,
        fillers=len(fillers),
        fluency=fluency,
        pauses=len(pauses),
        mean_pause_s=sum(pauses) / len(pauses) if pauses else None,
        longest_pause_s=max(lengths("pause"), default=None),
        fillers_per_minute=len(fillers) / minutes if total_s else None,
        repetitions=repetitions,
        speech_s=speech_s,
    )
