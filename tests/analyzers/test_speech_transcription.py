"""Speech transcription: what is said, when, in which language; and no words where nobody speaks."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from analyzers.methods.pitch import median_pitch_hz
from analyzers.models.voice import likeliest_path, sure_languages
from analyzers.models.whisper import RawWord
from analyzers.speech_transcription import SpeechOptions, SpeechReport, SpeechTranscription, sentences
from benchmarks.truth.speech_transcription import outside_speech_s, word_error_rate
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import AudioTrack
from tests.media import audio_clips as clips

FACTS = VideoFacts(source="", sha256="", bytes=0, duration_s=0)


def loaded(options: SpeechOptions | None = None) -> SpeechTranscription:
    analyzer = SpeechTranscription(options)
    analyzer.load("cpu", Profile("embedded", load_settings().models_dir))
    return analyzer


@pytest.fixture(scope="module")
def analyzer() -> SpeechTranscription:
    return loaded()


def report(analyzer: SpeechTranscription, *tracks: AudioTrack) -> SpeechReport:
    return analyzer.summarize([analyzer.analyze(track) for track in tracks], Upstream(FACTS))


@pytest.fixture(scope="module")
def english(analyzer: SpeechTranscription) -> SpeechReport:
    return report(analyzer, clips.track(clips.speech(), 4.5))


def test_real_speech_is_written_down_on_the_videos_clock(english: SpeechReport) -> None:
    assert word_error_rate(clips.JFK_TEXT, english.summary.text) <= 0.10
    assert english.summary.language == "en"
    assert english.summary.language_score is not None
    assert english.summary.language_score > 0.9
    spoken = [(a + 4.5, b + 4.5) for a, b in clips.JFK_SPOKEN]
    assert outside_speech_s(english, spoken) < 0.15


def test_words_are_in_order_and_within_their_segments(english: SpeechReport) -> None:
    words = [word for segment in english.segments for word in segment.words]
    assert all(a.end <= b.start + 1e-3 and a.start < a.end for a, b in pairwise(words))
    for segment in english.segments:
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
        assert segment.text.split() == [word.word for word in segment.words]
        assert segment.avg_logprob > -0.5


def test_a_mans_voice_has_a_mans_pitch(english: SpeechReport) -> None:
    pitches = [segment.pitch_hz for segment in english.segments]
    assert all(pitch is not None and 120 < pitch < 300 for pitch in pitches)  # he is shouting


@pytest.mark.parametrize("hz", [85.0, 130.0, 210.0, 320.0])
def test_pitch_of_a_buzz_is_its_fundamental(hz: float) -> None:
    t = np.arange(16_000) / 16_000
    buzz = sum(np.sin(2 * np.pi * hz * h * t) / h for h in range(1, 9))
    assert median_pitch_hz(np.asarray(0.1 * buzz, np.float32), 16_000) == pytest.approx(hz, rel=0.01)


def test_noise_and_silence_have_no_pitch() -> None:
    assert median_pitch_hz(clips.noise(1), 16_000) is None
    assert median_pitch_hz(clips.silence(1), 16_000) is None
    assert median_pitch_hz(clips.silence(0), 16_000) is None


@pytest.mark.parametrize("name", sorted(clips.not_speech()))
def test_without_speech_there_are_no_words(analyzer: SpeechTranscription, name: str) -> None:
    found = report(analyzer, clips.track(clips.not_speech()[name]))
    assert found.segments == []
    assert (found.summary.text, found.summary.language, found.summary.words) == ("", None, 0)


def test_a_clip_may_change_its_language(analyzer: SpeechTranscription) -> None:
    both = np.concatenate([clips.speech(), clips.silence(0.5), clips.german()])
    found = report(analyzer, clips.track(both))
    assert {s.language for s in found.segments if s.end < 11.2} == {"en"}
    assert {s.language for s in found.segments if s.start > 11.2} == {"de"}
    assert set(found.summary.languages) == {"en", "de"}


def test_speech_over_music_is_heard(analyzer: SpeechTranscription) -> None:
    mixed = clips.mixed(clips.speech(), clips.song("C major", 100, 11)[0], 10)
    assert word_error_rate(clips.JFK_TEXT, report(analyzer, clips.track(mixed)).summary.text) <= 0.15


def test_a_border_of_parts_costs_at_most_a_word(analyzer: SpeechTranscription, english: SpeechReport) -> None:
    speech = clips.speech()
    cut = round(6.0 * clips.RATE_HZ)  # inside "country"
    parts = report(analyzer, clips.track(speech[:cut], 0.0, last=False), clips.track(speech[cut:], 6.0, index=1))
    assert word_error_rate(english.summary.text, parts.summary.text) * english.summary.words <= 2
    starts = [segment.start for segment in parts.segments]
    assert starts == sorted(starts)


@pytest.mark.parametrize("count", [0, 1, 160, 511, 512, 513])
def test_tiny_tracks_are_empty_reports(analyzer: SpeechTranscription, count: int) -> None:
    assert report(analyzer, clips.track(clips.noise(1)[:count])).segments == []


def test_two_runs_give_the_same_report(analyzer: SpeechTranscription, english: SpeechReport) -> None:
    assert report(analyzer, clips.track(clips.speech(), 4.5)) == english


def test_one_candidate_fixes_the_language() -> None:
    found = report(loaded(SpeechOptions(languages=("en",))), clips.track(clips.speech()))
    assert found.summary.language == "en"
    assert word_error_rate(clips.JFK_TEXT, found.summary.text) <= 0.10


def test_an_unknown_language_is_refused_at_load() -> None:
    with pytest.raises(ValueError, match="xx"):
        loaded(SpeechOptions(languages=("en", "xx")))


def test_a_short_doubtful_stretch_keeps_its_neighbours_language() -> None:
    confident, doubtful = np.log([0.95, 0.05]), 0.3 * np.log([0.3, 0.7])
    assert likeliest_path(np.array([confident, doubtful, confident]), 1.5) == [0, 0, 0]
    assert likeliest_path(np.array([confident, confident[::-1]]), 1.5) == [0, 1]
    assert likeliest_path(np.array([confident]), 1.5) == [0]


def test_a_language_that_is_no_candidate_must_be_sure() -> None:
    names = ("de", "en", "ja")
    assert sure_languages(np.array([[0.02, 0.03, 0.95], [0.1, 0.1, 0.8]]), np.array([3.0, 2.0]), names) == ("ja",)
    assert sure_languages(np.array([[0.4, 0.3, 0.3]]), np.array([3.0]), names) == ()


def test_segments_end_at_full_stops_and_pauses() -> None:
    words = [RawWord("Hi.", 0, 0.5, 1), RawWord("So", 0.6, 0.8, 1), RawWord("what", 2.0, 2.3, 1)]
    assert [[word.text for word in group] for group in sentences(words)] == [["Hi."], ["So"], ["what"]]
    long = [RawWord("la", i * 0.5, i * 0.5 + 0.4, 1) for i in range(60)]
    assert all(group[-1].end_s - group[0].start_s <= 12 for group in sentences(long))
    assert sum(len(group) for group in sentences(long)) == 60


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="whisper_base"):
        SpeechTranscription().load("cpu", Profile("embedded", tmp_path))


def test_it_is_sent_to_workers_before_it_is_loaded() -> None:
    assert pickle.loads(pickle.dumps(SpeechTranscription(SpeechOptions(beam_size=1)))).options.beam_size == 1
