"""Words, times and language on real English speech, alone and over music, and no words where nobody speaks."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jiwer
import numpy as np

from analyzers.speech_transcription import SpeechReport, SpeechTranscription
from benchmarks.truth import Figure, run_analyzer
from pipeline.analyzer import Profile
from pipeline.settings import load_settings
from tests.media import audio_clips

NAME = "speech_transcription"


def plain(text: str) -> str:
    """Lower case, without marks, for word error rates."""
    return " ".join(re.sub(r"[^\w\s']", " ", text.lower()).split())


def word_error_rate(truth: str, heard: str) -> float:
    """Substituted, lost and invented words over the words that were said."""
    return float(jiwer.wer(plain(truth), plain(heard)))


def outside_speech_s(report: SpeechReport, spoken: Sequence[tuple[float, float]]) -> float:
    """The farthest that a word's start or end lies outside the stretches in which somebody speaks."""
    ends = [t for segment in report.segments for word in segment.words for t in (word.start, word.end)]
    return max((min(max(a - t, t - b, 0.0) for a, b in spoken) for t in ends), default=0.0)


def measure() -> list[Figure]:
    """Run the embedded profile's model on generated and packaged sound."""
    analyzer = SpeechTranscription()
    analyzer.load("cpu", Profile("embedded", load_settings().models_dir))
    speech = audio_clips.speech()
    music = audio_clips.song("C major", 110, 11)[0]
    with tempfile.TemporaryDirectory() as folder:

        def heard(samples: audio_clips.Samples) -> SpeechReport:
            report: SpeechReport = run_analyzer(analyzer, audio_clips.write_sound(Path(folder, "clip.wav"), samples))
            return report

        clean = heard(speech)
        over_music = heard(audio_clips.mixed(speech, music, 10))
        over_noise = heard(audio_clips.mixed(speech, audio_clips.noise(11), 10))
        twice = heard(np.concatenate([speech, audio_clips.silence(20), speech]))
        invented = sum(heard(samples).summary.words for samples in audio_clips.not_speech().values())
        german = heard(audio_clips.german())
        switching = heard(np.concatenate([speech, audio_clips.silence(0.5), audio_clips.german()]))
    second = tuple((a + 31, b + 31) for a, b in audio_clips.JFK_SPOKEN)
    truth = audio_clips.JFK_TEXT
    return [
        Figure(NAME, "real English speech, word error rate", word_error_rate(truth, clean.summary.text), 0.10, True),
        Figure(NAME, "the same over music 10 dB below", word_error_rate(truth, over_music.summary.text), 0.15, True),
        Figure(NAME, "the same over noise 10 dB below", word_error_rate(truth, over_noise.summary.text), 0.15, True),
        Figure(
            NAME,
            "the same twice with 20 s of silence between",
            word_error_rate(f"{truth} {truth}", twice.summary.text),
            0.10,
            True,
        ),
        Figure(
            NAME,
            "the same: how far words lie outside speech, s",
            outside_speech_s(twice, audio_clips.JFK_SPOKEN + second),
            0.15,
            True,
        ),
        Figure(NAME, "English taken for English", float(clean.summary.language == "en"), 1),
        Figure(
            NAME,
            "synthetic German, word error rate",
            word_error_rate(audio_clips.GERMAN_TEXT, german.summary.text),
            0.15,
            True,
        ),
        Figure(
            NAME,
            "English, then German: share of segments in the right language",
            float(np.mean([(s.language == "de") == (s.start > 11) for s in switching.segments])),
            1,
        ),
        Figure(
            NAME,
            "English, then German: word error rate",
            word_error_rate(f"{truth} {audio_clips.GERMAN_TEXT}", switching.summary.text),
            0.15,
            True,
        ),
        Figure(NAME, "words invented in 110 s without speech", invented, 0, True),
    ]
