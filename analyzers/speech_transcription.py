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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from analyzers.methods.pitch import median_pitch_hz
from analyzers.models.batches import in_threads, threads_for
from analyzers.models.hub import ModelOptions, gpu_gb, locate
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
from analyzers.models.whisper import (
    WINDOW_GB,
    WITHOUT_SPACES,
    Decoded,
    RawWord,
    among,
    embedded_whisper,
    full_whisper,
)
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.results import Document, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import AUDIO, SAMPLE_RATE_HZ, AnalyzerSpec, AudioTrack, Item

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
VIDEOS_AT_ONCE: Final = 8
"""In the full profile: their stretches fill a batch that one video's would not."""
_SENTENCE_END: Final = re.compile(r"[.!?…。！？]+[\"'”»)\]]*$")
_BARE: Final = re.compile(r"\W+")


class SpeechOptions(ModelOptions):
    """Settings of speech_transcription. The model, its arithmetic and `batch_size` are the full profile's."""

    model: str = Field("whisper_large_v3_turbo", description="a Whisper in CTranslate2's format")
    batch_size: int = Field(16, ge=1, le=256, description="stretches of speech that go through the model at once")
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


@dataclass(frozen=True)
class _Piece:
    """Neighbouring stretches of speech that are decoded at once: samples `start` to `end` of the track `number`."""

    track: AudioTrack
    number: int
    stretches: list[Stretch]
    start: int
    end: int
    language: str

    @property
    def samples(self) -> Samples:
        return self.track.samples[self.start : self.end]

    @property
    def spoken_s(self) -> float:
        return (self.stretches[-1].end - self.stretches[0].start) / SAMPLE_RATE_HZ


class SpeechTranscription(Analyzer[SpeechPart, SpeechReport]):
    """What is said, by Whisper: base in the embedded profile, large-v3-turbo or another in the full one."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec(
        # A part of 600 s takes about a minute of one core; the limit leaves room for slow and busy machines.
        "speech_transcription",
        "1",
        AUDIO,
        timeout_s=1800,
    )
    options_model = SpeechOptions
    options: SpeechOptions

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """See `Analyzer.spec_for`."""
        if profile != "full" or not isinstance(options, SpeechOptions):
            return cls.spec
        return replace(cls.spec, gpu_gb=gpu_gb(options, WINDOW_GB * options.batch_size), batch=VIDEOS_AT_ONCE)

    def load(self, device: str, profile: Profile) -> None:
        """Read Whisper from the model store.

        Raises:
            ModelUnavailable: the weights are not there.
            ValueError: an option names a language that the model does not know.
        """
        if profile.name == "full":
            self._whisper, self.model = full_whisper(
                locate(profile.models_dir, self.options.model, self.spec.name),
                device,
                self.options,
                self.options.batch_size,
            )
        else:
            self._whisper, self.model = embedded_whisper(profile.models_dir, device)
        self._threads = threads_for(device)
        known = self._whisper.languages
        unknown = set(self.options.languages) - known
        if unknown and len(known) > 1:
            raise ValueError(f"speech_transcription.languages has codes that Whisper does not know: {sorted(unknown)}")
        # An English-only model has no choice.
        self._candidates = (len(known) > 1 and self.options.languages) or tuple(sorted(known))
        self.model = self.model.model_copy(
            update={"note": "; ".join(filter(None, [self.model.note, "voice activity by Silero VAD v6 (MIT)"]))}
        )

    def analyze(self, item: AudioTrack) -> SpeechPart:
        """Transcribe one part of the sound."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[Item]) -> list[SpeechPart]:
        """Transcribe parts of any videos; their stretches go through the model together."""
        tracks = [item for item in items if isinstance(item, AudioTrack)]
        found = in_threads(tracks, lambda track: find_speech(track.samples), self._threads)
        languages = self._languages([track.samples for track in tracks], found)
        pieces = [
            _Piece(track, number, window, *with_margins(window, track.samples), language)
            for number, (track, stretches, spoken) in enumerate(zip(tracks, found, languages, strict=True))
            for window, language in windows(stretches, spoken)
        ]
        parts = [SpeechPart(end_s=track.end_s) for track in tracks]
        for piece, (decoded, score) in zip(pieces, self._decode(pieces), strict=True):
            part = parts[piece.number]
            for sentence in sentences(on_the_clock(decoded.words, piece.start, piece.stretches)):
                part.segments.append(_segment(sentence, piece.track, decoded, piece.language))
                part.language_scores.append(score)
        return parts

    def _languages(self, sounds: Sequence[Samples], found: Sequence[Sequence[Stretch]]) -> list[list[str]]:
        """The language of each stretch of each sound."""
        if len(self._candidates) == 1:
            return [[self._candidates[0]] * len(stretches) for stretches in found]
        groups = [language_groups(stretches) for stretches in found]
        scores = iter(
            self._whisper.language_scores(
                [
                    samples[slice(*with_margins(group, samples))]
                    for samples, own in zip(sounds, groups, strict=True)
                    for group in own
                ]
            )
        )
        return [self._path(own, [next(scores) for _ in own]) for own in groups]

    def _path(self, groups: Sequence[Sequence[Stretch]], found: Sequence[Mapping[str, float]]) -> list[str]:
        """The likeliest language of each stretch of one sound, from the scores of its groups."""
        if not groups:
            return []
        known = sorted(self._whisper.languages)
        free = np.array([list(among(scores, known).values()) for scores in found])
        lengths_s = np.array([sum(s.duration_s for s in group) for group in groups])
        others = sure_languages(free, lengths_s, known) if self.options.other_languages else ()
        candidates = tuple(dict.fromkeys((*self._candidates, *others)))
        scores = free[:, [known.index(language) for language in candidates]]
        log_scores = np.log(np.maximum(scores / scores.sum(axis=1, keepdims=True), LANGUAGE_SCORE_MIN))
        weights = np.minimum(1.0, lengths_s / LANGUAGE_S_SURE)
        path = likeliest_path(log_scores * weights[:, None], SWITCH_COST)
        return [candidates[state] for group, state in zip(groups, path, strict=True) for _ in group]

    def _decode(self, pieces: Sequence[_Piece]) -> list[tuple[Decoded, float]]:
        """The words of each window, none if they fail the gates, and the language's score."""
        answers: dict[int, tuple[Decoded, float]] = {}
        doubtful = list(range(len(pieces)))
        for full in (True,) if self._whisper.always_full else (False, True):
            sounds = [(pieces[n].samples, pieces[n].language) for n in doubtful]
            decoded = self._whisper.transcribe(sounds, self.options.beam_size, full=full)
            for number, one in zip(doubtful, decoded, strict=True):
                piece = pieces[number]
                words_per_s = math.inf if piece.language in WITHOUT_SPACES else HURRIED if full else HURRIED_FIRST
                if passes_gates(one) and len(one.words) <= piece.spoken_s * words_per_s:
                    candidates = tuple(dict.fromkeys((*self._candidates, piece.language)))
                    answers[number] = one, among(one.languages, candidates)[piece.language]
                elif full:
                    answers[number] = replace(one, words=()), 0.0
            doubtful = [number for number in doubtful if number not in answers]
        return [answers[number] for number in range(len(pieces))]

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
