"""Speech emotion: arousal orders manners of speaking and not levels; nothing is claimed where nobody speaks."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from analyzers.methods.prosody import Voice, pitch_range, voice_of
from analyzers.speech_emotion import (
    CONFIDENCE_MAX,
    VALENCE_CONFIDENCE_MAX,
    EmotionReport,
    SpeechEmotion,
    against_the_rest,
    confidences,
)
from benchmarks.truth.speech_emotion import dialogue, ordered
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import AudioTrack
from tests.media import audio_clips as clips

FACTS = VideoFacts(source="", sha256="", bytes=0, duration_s=0)


@pytest.fixture(scope="module")
def analyzer() -> SpeechEmotion:
    loaded = SpeechEmotion()
    loaded.load("cpu", Profile("embedded", load_settings().models_dir))
    return loaded


def report(analyzer: SpeechEmotion, *tracks: AudioTrack) -> EmotionReport:
    return analyzer.summarize([analyzer.analyze(track) for track in tracks], Upstream(FACTS))


def voice(pitch: float, level: float = -20.0, hf500: float = 0.0, seconds: float = 4.0) -> Voice:
    count = round(seconds * 50)
    wobble = np.linspace(-1, 1, count, dtype=np.float32)
    plain = np.zeros(count, np.float32)
    return Voice(pitch + wobble, level + wobble, hf500 + wobble, plain, plain, 4.0)


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_an_excited_voice_has_more_arousal_than_a_calm_one_at_any_level(analyzer: SpeechEmotion, gain: float) -> None:
    segments = report(analyzer, clips.track(dialogue("en-us", gain))).segments
    assert ordered([s.arousal for s in segments], [False, True, False, True]) == 1
    assert all(s.pitch_range_st > 0 and s.valence == pytest.approx(0.5, abs=0.16) for s in segments)


def test_a_change_of_gain_changes_nothing(analyzer: SpeechEmotion) -> None:
    speech = 0.3 * clips.speech()
    loud, quiet = (report(analyzer, clips.track(gain * speech)).segments for gain in (1.0, 0.1))
    assert [s.arousal for s in loud] == pytest.approx([s.arousal for s in quiet], abs=0.02)


def test_segments_are_where_somebody_speaks(analyzer: SpeechEmotion) -> None:
    found = report(analyzer, clips.track(clips.speech(), 3.0))
    for segment in found.segments:
        assert any(abs(segment.start - 3.0 - a) < 0.3 for a, _ in clips.JFK_SPOKEN)
    assert found.summary.speech_s == pytest.approx(sum(b - a for a, b in clips.JFK_SPOKEN), abs=0.6)


@pytest.mark.parametrize("name", [*sorted(clips.not_speech()), "drums", "train"])
def test_without_speech_there_is_no_emotion(analyzer: SpeechEmotion, name: str) -> None:
    others = {"drums": clips.loop("loop_amen", 8)[0], "train": clips.recording("train.ogg")[: 8 * clips.RATE_HZ]}
    found = report(analyzer, clips.track((clips.not_speech() | others)[name]))
    assert found.segments == []
    assert (found.summary.arousal, found.summary.confidence, found.summary.speech_s) == (None, None, 0)


def test_one_stretch_alone_is_neither_high_nor_low_against_the_rest() -> None:
    relative, _ = against_the_rest([voice(30)])
    assert relative.tolist() == [0]


def test_the_highest_loudest_and_brightest_stretch_has_the_most_arousal() -> None:
    relative, _ = against_the_rest([voice(25), voice(27, -18, 2), voice(32, -12, 8)])
    assert list(np.argsort(relative)) == [0, 1, 2]
    assert relative[2] > 0.9


def test_a_feature_that_disagrees_with_the_others_counts_less() -> None:
    """Four stretches, the last loud and high but dull: its brightness is overruled."""
    voices = [voice(25, -24, 3), voice(26, -22, 5), voice(28, -20, 4), voice(33, -10, -6)]
    relative, _ = against_the_rest(voices)
    assert relative.argmax() == 3


def test_confidence_needs_voice_and_a_reference_and_falls_with_a_second_speaker() -> None:
    little, much = confidences([voice(28, seconds=0.5), *[voice(28)] * 4])[:2]
    assert little < much <= CONFIDENCE_MAX
    assert confidences([voice(28)])[0] < much
    assert confidences([voice(28), voice(40), *[voice(28)] * 3])[0] == pytest.approx(much / 2, rel=0.05)


def test_valence_is_never_trusted_much(analyzer: SpeechEmotion) -> None:
    segments = report(analyzer, clips.track(clips.speech())).segments
    assert segments
    assert all(s.valence_confidence <= VALENCE_CONFIDENCE_MAX * s.confidence / CONFIDENCE_MAX + 1e-3 for s in segments)


def test_prosody_of_a_buzz_is_its_pitch_and_its_slope() -> None:
    t = np.arange(16_000) / 16_000
    dull, bright = (
        np.asarray(0.1 * sum(np.sin(2 * np.pi * 110 * h * t) / h**slope for h in range(1, 30)), np.float32)
        for slope in (2.0, 0.5)
    )
    measured = [voice_of(sound, 16_000) for sound in (dull, bright)]
    assert np.median(measured[0].pitch) == pytest.approx(24, abs=0.2)  # 110 Hz is two octaves above 27.5
    assert pitch_range(measured[0].pitch) < 0.5
    assert np.median(measured[1].hf500) > np.median(measured[0].hf500) + 10
    assert np.median(measured[1].alpha) > np.median(measured[0].alpha) + 10
    assert np.median(measured[1].hammarberg) < np.median(measured[0].hammarberg) - 10


@pytest.mark.parametrize("count", [0, 1, 160, 4_000, 8_000])
def test_tiny_sounds_are_empty_reports(analyzer: SpeechEmotion, count: int) -> None:
    assert report(analyzer, clips.track(clips.noise(1)[:count])).segments == []


def test_parts_are_small_and_weights_are_named(analyzer: SpeechEmotion, tmp_path: Path) -> None:
    assert len(pickle.dumps(analyzer.analyze(clips.track(clips.speech())))) < 1_000_000 / 600 * 11
    with pytest.raises(ModelUnavailable, match="yamnet"):
        SpeechEmotion().load("cpu", Profile("embedded", tmp_path))
