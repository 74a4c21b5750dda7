"""Arousal orders calm and excited versions of the same words, whatever their level; nothing where nobody speaks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from analyzers.speech_emotion import EmotionReport, SpeechEmotion
from benchmarks.truth import Figure
from pipeline.analyzer import Profile
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from tests.media import audio_clips
from tests.media.speech_synth import speak

NAME = "speech_emotion"
SENTENCES = {
    "en-us": ("We start with a pan and some oil on the stove.", "Then I found out what had happened that day."),
    "de": ("Wir beginnen mit einer Pfanne und etwas Öl.", "Danach habe ich erfahren, was passiert ist."),
    "en-us+f3": ("Nobody told me that it would be like this.", "Finally we serve it with lemon and herbs."),
}
CALM, EXCITED = (145, 38, 25), (185, 78, 90)
"""Words per minute, pitch and pitch range of the synthesizer."""


@cache
def said(text: str, voice: str, manner: tuple[int, int, int]) -> audio_clips.Samples:
    """A sentence at 16 kHz with 0.8 s of silence behind it."""
    from scipy.signal import resample_poly

    samples, rate_hz = speak(text, voice, *manner)
    spoken = np.asarray(resample_poly(samples, audio_clips.RATE_HZ, rate_hz), np.float32)
    return np.concatenate([0.3 * spoken, audio_clips.silence(0.8)])


def dialogue(voice: str, excited_gain: float) -> audio_clips.Samples:
    """Calm, excited, calm, excited: each sentence in both manners."""
    pieces = []
    for text in SENTENCES[voice]:
        calm, excited = said(text, voice, CALM), said(text, voice, EXCITED)
        level = float(np.sqrt(np.mean(calm**2) / np.mean(excited**2)))
        pieces += [calm, level * excited_gain * excited]
    return np.concatenate(pieces)


def raised(samples: audio_clips.Samples) -> audio_clips.Samples:
    """The same recording a fourth higher and faster, 6 dB louder, with more high frequencies."""
    high = np.interp(np.arange(0, len(samples) - 1, 4 / 3), np.arange(len(samples)), samples)
    brighter = high - 0.5 * np.concatenate([[0.0], high[:-1]])
    gain = 2 * np.sqrt(np.mean(samples**2) / np.mean(brighter**2))
    return np.asarray(np.clip(gain * brighter, -1, 1), np.float32)


def ordered(arousals: Sequence[float], excited: Sequence[bool]) -> float:
    """Share of (calm, excited) pairs in which the excited one has more; 0 if their number is not right."""
    if len(arousals) != len(excited):
        return 0.0
    calm = [a for a, flag in zip(arousals, excited, strict=True) if not flag]
    high = [a for a, flag in zip(arousals, excited, strict=True) if flag]
    return float(np.mean([b > a for a in calm for b in high]))


def measure() -> list[Figure]:
    """Run the analyzer over synthetic and real speech, and over what is none."""
    analyzer = SpeechEmotion()
    analyzer.load("cpu", Profile("embedded", load_settings().models_dir))
    facts = VideoFacts(source="", sha256="", bytes=0, duration_s=0)

    def heard(samples: audio_clips.Samples) -> EmotionReport:
        return analyzer.summarize([analyzer.analyze(audio_clips.track(samples))], Upstream(facts))

    def arousals(samples: audio_clips.Samples) -> list[float]:
        return [segment.arousal for segment in heard(samples).segments]

    louder, levelled = (
        float(np.mean([ordered(arousals(dialogue(voice, gain)), [False, True] * 2) for voice in SENTENCES]))
        for gain in (2.0, 1.0)
    )
    speech = 0.3 * audio_clips.speech()
    usual = arousals(speech)
    quiet = arousals(0.1 * speech)
    both = heard(np.concatenate([speech, audio_clips.silence(1), raised(speech)])).segments
    before, after = ([s.arousal for s in both if (s.start > 11.5) == later] for later in (False, True))
    twice = arousals(np.concatenate([speech, audio_clips.silence(1), speech]))
    spread = np.abs(np.array(twice[: len(usual)]) - np.array(twice[len(usual) :])).max()
    nobody = {
        **audio_clips.not_speech(),
        **{name: audio_clips.loop(name, 10)[0] for name in ("loop_amen", "loop_garzul", "loop_mika")},
        **{n: audio_clips.recording(n)[: 20 * audio_clips.RATE_HZ] for n in ("train.ogg", "amazon-rainforest.ogg")},
        "slow song": audio_clips.song("D minor", 80, 10)[0],
    }
    claims = sum(len(heard(samples).segments) for samples in nobody.values())
    sure = [segment.confidence for segment in heard(speech).segments]
    return [
        Figure(NAME, "calm and excited voices, louder when excited: share of pairs in order", louder, 0.95),
        Figure(NAME, "the same at equal level: share of pairs in order", levelled, 0.9),
        Figure(NAME, "real speech and the same raised: share of pairs in order",
            float(np.mean([b > a for a in before for b in after])), 0.8),
        Figure(NAME, "real speech 20 dB quieter: largest change of arousal",
               float(np.abs(np.array(usual) - np.array(quiet)).max()), 0.02, True),
        Figure(NAME, "the same speech twice: largest difference of arousal", float(spread), 0.1, True),
        Figure(NAME, "11 s of speech: largest confidence (little to compare with)", max(sure), 0.4, True),
        Figure(NAME, "claims in 3 min without speech", claims, 0, True),
    ]  # fmt: skip
