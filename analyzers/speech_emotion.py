"""Estimates how aroused and how pleasant each stretch of speech sounds: from prosody alone, or by a wav2vec 2.0.

Arousal follows D. Bone, C.-C. Lee and S. Narayanan, "Robust unsupervised arousal rating: a rule-based framework with
knowledge-inspired vocal features", IEEE Transactions on Affective Computing 5 (2014): median log pitch, median
intensity and HF500 (energy above against below 500 Hz) are each ranked against how the voice sounds otherwise,
2 P(other < own) - 1, and averaged, each weighted by how well it agrees with the others over the stretches. Their
reference is neutral speech of the speaker; here it is the other speech of the clip, so that arousal is "against the
rest of this clip", and gain cannot change it. A little is added that needs no reference: the pitch range, wide in
lively and narrow in flat speech (H. Traunmüller and A. Eriksson, "The perceptual evaluation of F0 excursions in
speech", JASA 97, 1995).

Valence is weakly carried by prosody. The one cue used is that at equal arousal pleasant voices have less energy in high
frequencies (M. Goudbeek and K. Scherer, "Beyond arousal: valence and potency/control cues in the vocal expression of
emotion", JASA 128, 2010); it stays near the middle, and its confidence is never above 0.15.

In the full profile a network that was trained on people's ratings says both (models/wav2vec2.py), of the same
stretches; prosody is measured as well.

Both are 0..1 with 0.5 as neutral. It can be switched off per deployment: `disabled = ["speech_emotion"]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from analyzers.methods.prosody import Voice, pitch_range, voice_of
from analyzers.models import yamnet
from analyzers.models.batches import in_threads, threads_for
from analyzers.models.hub import ModelOptions, gpu_gb, locate
from analyzers.models.voice import Samples, Stretch, find_speech
from analyzers.models.wav2vec2 import CONVOLUTIONS_GB, SECOND_GB, Rating, VoiceEmotion, load_wav2vec2
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.results import Document, ModelInfo, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import AUDIO, AnalyzerSpec, AudioTrack, Item

JOIN_S: Final = 0.5
"""Stretches with shorter pauses between them are one, up to `LONGEST_S`: an emotion lasts longer than a word."""
LONGEST_S: Final = 6.0
VOICED_S_MIN: Final = 0.4
"""Less voice than this has no measurable prosody; the stretch is left out."""
SPOKEN_MIN: Final = 0.1
"""Mean YAMNet score for speech of a stretch; the voice detector alone takes drones, choirs and trains for voices."""
SUNG: Final = tuple(range(24, 33))
RELATIVE_WEIGHT: Final = 0.75
"""Of arousal against the rest of the clip; the rest is the pitch range."""
USUAL_RANGE_ST: Final = 4.2
"""20th to 80th percentile of pitch in ordinary speech, whose standard deviation is about 2.5 semitones."""
VALENCE_REACH: Final = 0.15
"""How far valence goes from the middle."""
HF_SPREAD_DB: Final = 6.0
CONFIDENCE_MAX: Final = 0.6
"""What Bone et al. report as rank correlation with listeners, about 0.6 to 0.7 over five corpora, at best."""
VALENCE_CONFIDENCE_MAX: Final = 0.15
ENOUGH_VOICE_S: Final = 3.0
"""Voice in a stretch, for full confidence."""
REFERENCE_S: Final = 12.0
"""Voice in all other stretches, for full confidence."""
TWO_SPEAKERS_ST: Final = 8.0
"""Stretches whose median pitches are farther apart may be of two speakers: confidence is halved."""

VIDEOS_AT_ONCE: Final = 8
"""In the full profile: their stretches fill a batch that one video's would not."""

Array = npt.NDArray[np.float64]


class EmotionOptions(ModelOptions):
    """Settings of speech_emotion. All are the full profile's."""

    model: str = Field("wav2vec2_base_superb_er", description="a wav2vec 2.0 of emotion classes or dimensions")
    batch_s: float = Field(240.0, ge=1, le=3600, description="seconds of speech that go through the model at once")


class EmotionLabel(Document):
    """An emotion by name, with its probability."""

    name: str
    score: Score


class EmotionSegment(Segment):
    """One stretch of speech. `arousal` and `valence` are 0..1 around 0.5; the rest is what prosody made them of.

    `labels` are a classifier's emotions, likeliest first; empty where none ran.

    `pitch_st` is the median in semitones above 27.5 Hz, `pitch_range_st` between the 20th and 80th percentile,
    `hf500_db`, `alpha_ratio_db`, `hammarberg_db` and `level_db` are medians over voiced frames (methods/prosody.py).
    """

    arousal: Score
    valence: Score
    confidence: Score
    valence_confidence: Score
    pitch_st: Number
    pitch_range_st: Number
    level_db: Number
    hf500_db: Number
    alpha_ratio_db: Number
    hammarberg_db: Number
    voiced_per_s: Number
    labels: list[EmotionLabel] = Field(default_factory=list)


class EmotionSummary(Summary):
    """Means over the stretches by their length, and seconds of speech. Null where nobody speaks."""

    arousal: Score | None
    valence: Score | None
    confidence: Score | None
    speech_s: Seconds


class EmotionReport(Report[EmotionSegment, EmotionSummary]):
    """Report of speech_emotion. Segments are the stretches of speech that are long enough, and nothing else."""


@dataclass(frozen=True)
class SpokenStretch:
    """A stretch of speech in seconds, its voiced frames, and what a model of the full profile says of it."""

    start_s: float
    end_s: float
    voice: Voice
    rating: Rating | None = None


class SpeechEmotion(Analyzer[list[SpokenStretch], EmotionReport]):
    """Arousal and valence, from prosody or by a model."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec("speech_emotion", "1", AUDIO, cpus=0.5, timeout_s=600)
    options_model = EmotionOptions
    options: EmotionOptions

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """See `Analyzer.spec_for`."""
        if profile != "full" or not isinstance(options, EmotionOptions):
            return cls.spec
        needed_gb = gpu_gb(options, CONVOLUTIONS_GB + SECOND_GB * options.batch_s)
        return replace(cls.spec, gpu_gb=needed_gb, batch=VIDEOS_AT_ONCE)

    def load(self, device: str, profile: Profile) -> None:
        """Read YAMNet from the model store: it says where the voice detector is wrong. In the full profile a model too.

        Raises:
            ModelUnavailable: the weights are not there.
        """
        self._yamnet, _ = yamnet.load(profile)
        self._threads = threads_for(device)
        self._rater: VoiceEmotion | None = None
        if profile.name == "full":
            local = locate(profile.models_dir, self.options.model, self.spec.name)
            self._rater, self.model = load_wav2vec2(local, device, self.options, self.options.batch_s)
            return
        self.model = ModelInfo(
            id="prosody to arousal (Bone, Lee and Narayanan 2014)",
            revision=self.spec.version,
            backend="numpy",
            note="a rule-based estimate, relative to the rest of the clip; speech by Silero VAD v6 and YAMNet",
        )

    def analyze(self, item: AudioTrack) -> list[SpokenStretch]:
        """Measure the stretches of speech of one part of the sound."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[Item]) -> list[list[SpokenStretch]]:
        """Measure the stretches of parts of any videos; a model hears all of them together."""
        tracks = [item for item in items if isinstance(item, AudioTrack)]
        found = in_threads(tracks, self._spoken, self._threads)
        if self._rater is None:
            return [[stretch for stretch, _ in own] for own in found]
        ratings = iter(self._rater.rate([piece for own in found for _, piece in own]))
        return [[replace(stretch, rating=next(ratings)) for stretch, _ in own] for own in found]

    def _spoken(self, item: AudioTrack) -> list[tuple[SpokenStretch, Samples]]:
        """The stretches in which somebody speaks, and their samples."""
        samples = np.nan_to_num(np.asarray(item.samples, np.float32))
        rate = item.sample_rate
        found = []
        for stretch in _joined(find_speech(samples) if np.any(samples) else [], rate):
            piece = samples[stretch.start : stretch.end]
            scores = self._yamnet.scores(piece)
            spoken = float(scores[:, list(yamnet.SPEECH)].max(axis=1).mean())
            sung = float(scores[:, list(SUNG)].max(axis=1).mean())
            voice = voice_of(piece, rate)
            if spoken >= SPOKEN_MIN and spoken > sung and voice.voiced_s >= VOICED_S_MIN:
                start_s, end_s = (item.start_s + at / rate for at in (stretch.start, stretch.end))
                found.append((SpokenStretch(start_s, end_s, voice), piece))
        return found

    def summarize(self, parts: Sequence[list[SpokenStretch]], upstream: Upstream) -> EmotionReport:
        """Rate each stretch against all of them."""
        stretches = [stretch for part in parts for stretch in part]
        if not stretches:
            nothing = EmotionSummary(arousal=None, valence=None, confidence=None, speech_s=0.0)
            return EmotionReport(segments=[], summary=nothing)
        relative, brightness = against_the_rest([stretch.voice for stretch in stretches])
        sure = confidences([stretch.voice for stretch in stretches])
        segments = [_segment(*values) for values in zip(stretches, relative, brightness, sure, strict=True)]
        lengths = np.array([segment.end - segment.start for segment in segments])
        arousal, valence, confidence = (
            float(np.average([getattr(segment, name) for segment in segments], weights=lengths))
            for name in ("arousal", "valence", "confidence")
        )
        return EmotionReport(
            segments=segments,
            summary=EmotionSummary(
                arousal=arousal, valence=valence, confidence=confidence, speech_s=float(lengths.sum())
            ),
        )


def _joined(stretches: Sequence[Stretch], rate: int) -> list[Stretch]:
    joined: list[Stretch] = []
    for stretch in stretches:
        last = joined[-1] if joined else None
        if last and stretch.start - last.end <= JOIN_S * rate and stretch.end - last.start <= LONGEST_S * rate:
            joined[-1] = Stretch(last.start, stretch.end)
        else:
            joined.append(stretch)
    return joined


def against_the_rest(voices: Sequence[Voice]) -> tuple[Array, Array]:
    """[N] arousal of each stretch against all, -1..1; [N] how bright it is for its arousal, -1..1.

    One stretch alone has nothing to be compared with and gets 0.
    """
    if len(voices) < 2:
        return np.zeros(len(voices)), np.zeros(len(voices))
    features = [[getattr(voice, name) for voice in voices] for name in ("pitch", "level", "hf500")]
    ranks = np.array([_ranks(values) for values in features])
    mean = ranks.mean(axis=0)
    agreement = np.array([_spearman(row, mean) if len(voices) >= 3 else 1.0 for row in ranks])
    weights = np.maximum(agreement, 0.0)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(3, 1 / 3)
    bright = np.array([float(np.median(values)) for values in features[2]])
    centred = np.tanh((bright - bright.mean()) / HF_SPREAD_DB)
    arousal = weights @ ranks
    return arousal, np.clip(centred - arousal, -1, 1)


def _ranks(values: Sequence[npt.NDArray[np.float32]]) -> Array:
    """2 P(others' frames < own median) - 1 for each stretch."""
    found = []
    for number, own in enumerate(values):
        others = np.concatenate([other for index, other in enumerate(values) if index != number])
        median = float(np.median(own))
        found.append(float(np.mean(others < median) + np.mean(others <= median)) - 1)
    return np.array(found)


def _spearman(one: Array, other: Array) -> float:
    """Rank correlation; 0 where one of them is constant."""
    first, second = (np.argsort(np.argsort(values)).astype(float) for values in (one, other))
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def confidences(voices: Sequence[Voice]) -> Array:
    """[N] how far each stretch's arousal can be trusted, 0..`CONFIDENCE_MAX`: little with little voice or reference."""
    own = np.array([voice.voiced_s for voice in voices])
    reference = np.minimum(1.0, (own.sum() - own) / REFERENCE_S)
    medians = [float(np.median(voice.pitch)) for voice in voices]
    one_voice = 0.5 if max(medians) - min(medians) > TWO_SPEAKERS_ST else 1.0
    # Without a reference only the pitch range speaks.
    known = (1 - RELATIVE_WEIGHT) + RELATIVE_WEIGHT * reference
    return np.asarray(CONFIDENCE_MAX * np.minimum(1.0, own / ENOUGH_VOICE_S) * known * one_voice)


def _segment(stretch: SpokenStretch, relative: float, brightness: float, sure: float) -> EmotionSegment:
    voice = stretch.voice
    width = pitch_range(voice.pitch)
    lively = float(np.tanh((width - USUAL_RANGE_ST) / USUAL_RANGE_ST))
    both = RELATIVE_WEIGHT * relative + (1 - RELATIVE_WEIGHT) * lively
    rating = stretch.rating or Rating(
        arousal=0.5 + 0.5 * both,
        valence=0.5 - VALENCE_REACH * brightness,
        confidence=sure,
        valence_confidence=VALENCE_CONFIDENCE_MAX * sure / CONFIDENCE_MAX,
    )
    return EmotionSegment(
        start=stretch.start_s,
        end=stretch.end_s,
        arousal=rating.arousal,
        valence=rating.valence,
        confidence=rating.confidence,
        valence_confidence=rating.valence_confidence,
        pitch_st=float(np.median(voice.pitch)),
        pitch_range_st=width,
        level_db=float(np.median(voice.level)),
        hf500_db=float(np.median(voice.hf500)),
        alpha_ratio_db=float(np.median(voice.alpha)),
        hammarberg_db=float(np.median(voice.hammarberg)),
        voiced_per_s=voice.onsets_per_s,
        labels=[EmotionLabel(name=name, score=score) for name, score in rating.labels],
    )
