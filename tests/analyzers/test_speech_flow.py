"""Speech flow: pauses and fillers at their places, fluency by its formula, segments that tile from word to word."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest

from analyzers.methods.filled_pauses import held_voices
from analyzers.speech_flow import FILLERS, FlowReport, SpeechFlow
from benchmarks.truth.speech_flow import ENGLISH, joined, said
from pipeline.results import Upstream, VideoFacts
from tests.media import audio_clips as clips
from tests.media.reports import AnyReport
from tests.media.reports import said as transcript

FACTS = VideoFacts(source="", sha256="", bytes=0, duration_s=60)
Words = list[tuple[str, float, float]]


def flow(samples: clips.Samples, words: Words, language: str = "en", start_s: float = 0.0) -> FlowReport:
    analyzer = SpeechFlow()
    report: AnyReport = transcript([(w, a + start_s, b + start_s) for w, a, b in words], language)
    parts = [analyzer.analyze(clips.track(samples, start_s))]
    return analyzer.summarize(parts, Upstream(FACTS, {"speech_transcription": report}))


def spoken(text: str, start_s: float, length_s: float) -> Words:
    """The words of a text, of equal lengths."""
    words = text.split()
    step = length_s / len(words)
    return [(word, start_s + i * step, start_s + (i + 1) * step) for i, word in enumerate(words)]


@pytest.fixture(scope="module")
def sentences() -> list[clips.Samples]:
    return [said(text, "en-us") for text in ENGLISH]


def seconds(samples: clips.Samples) -> float:
    return len(samples) / clips.RATE_HZ


@pytest.mark.parametrize("pause_s", [0.4, 1.2, 2.5])
def test_a_pause_has_its_place_whatever_the_word_times_say(sentences: list[clips.Samples], pause_s: float) -> None:
    first, second = sentences[:2]
    samples, truth = joined([first, pause_s, second])
    after_s = 0.5 + seconds(first) + pause_s
    # The alignment gives the pause to the word behind it.
    words = spoken(ENGLISH[0], 0.5, seconds(first)) + spoken(ENGLISH[1], after_s, seconds(second))
    words[len(ENGLISH[0].split())] = (words[len(ENGLISH[0].split())][0], after_s - pause_s, words[6][2])
    (pause,) = [s for s in flow(samples, words, start_s=10).segments if s.kind == "pause"]
    assert (pause.start - 10, pause.end - 10) == pytest.approx(truth[0][:2], abs=0.1)


def test_a_filler_that_the_transcript_dropped_is_heard(sentences: list[clips.Samples]) -> None:
    um = said("uhm", "en-us", 85)
    samples, truth = joined([sentences[0], 0.4, um, 0.4, sentences[1]], [2])
    after_s = truth[-1][1]
    words = spoken(ENGLISH[0], 0.5, seconds(sentences[0])) + spoken(ENGLISH[1], after_s, seconds(sentences[1]))
    report = flow(samples, words)
    (filler,) = [s for s in report.segments if s.kind == "filler"]
    assert (filler.start, filler.end) == pytest.approx(truth[1][:2], abs=0.15)
    assert (report.summary.fillers, filler.text) == (1, None)


def test_a_filler_in_the_transcript_is_one_in_its_language_only() -> None:
    samples = clips.speech()[5_000:37_000]
    words = [("So", 0.0, 0.5), ("äh,", 0.5, 0.9), ("gut", 0.9, 2.0)]
    german, english = (flow(samples, words, language) for language in ("de", "en"))
    assert [(s.kind, s.text) for s in german.segments if s.kind == "filler"] == [("filler", "äh,")]
    assert english.summary.fillers == 0


def test_segments_tile_from_the_first_word_to_the_last(sentences: list[clips.Samples]) -> None:
    samples, _ = joined([sentences[0], 0.7, sentences[1]])
    words = spoken(ENGLISH[0], 0.5, seconds(sentences[0]))
    words += spoken(ENGLISH[1], 0.5 + seconds(sentences[0]) + 0.7, seconds(sentences[1]))
    segments = flow(samples, words).segments
    assert (segments[0].start, segments[-1].end) == pytest.approx((words[0][1], words[-1][2]), abs=0.05)
    assert all(a.end == b.start and a.kind != b.kind for a, b in pairwise(segments))
    assert [s.kind for s in segments] == ["speech", "pause", "speech"]


def test_music_in_a_gap_between_words_is_a_pause() -> None:
    song = clips.song("C major", 100, 9)[0]
    report = flow(song, [("Hello", 0.5, 1.0), ("there", 1.0, 1.5), ("again", 7.0, 7.5), ("friends", 7.5, 8.5)])
    (pause,) = [s for s in report.segments if s.kind == "pause"]
    assert (pause.start, pause.end) == pytest.approx((1.5, 7.0), abs=0.3)
    assert report.summary.pause_share == 0  # over three seconds: a scene without speech


def test_real_fluent_speech_has_pauses_and_no_fillers() -> None:
    words = [w for a, b in clips.JFK_SPOKEN for w in spoken("one two three four five", a, b - a)]
    report = flow(clips.speech(), words)
    assert report.summary.fillers == 0
    assert report.summary.pauses >= 3
    assert report.summary.pause_share == pytest.approx(0.27, abs=0.08)


def test_fluency_follows_its_formula() -> None:
    # 20 s of sound without a pause; five repetitions are 15 a minute.
    buzz = np.tile(clips.speech()[round(0.5 * 16_000) : round(1.5 * 16_000)], 20)
    plain = spoken(" ".join(f"word{i}" for i in range(40)), 0, 20)
    again = [(f"word{i - i % 2 if i < 10 else i}", a, b) for i, (_, a, b) in enumerate(plain)]
    fluent, repeating = flow(buzz, plain).summary, flow(buzz, again).summary
    assert (fluent.repetitions, repeating.repetitions) == (0, 5)
    assert fluent.fluency is not None
    assert repeating.fluency is not None
    assert fluent.fluency - repeating.fluency == pytest.approx(0.25 * 15 / 20, abs=0.01)


def test_without_words_the_report_is_empty_and_without_much_speech_there_is_no_fluency() -> None:
    nothing = flow(clips.song("C major", 100, 3)[0], [])
    assert nothing.segments == []
    assert (nothing.summary.pause_share, nothing.summary.fluency, nothing.summary.fillers) == (None, None, 0)
    assert flow(clips.speech()[5_000:21_000], [("So", 0.0, 0.9)]).summary.fluency is None


@pytest.mark.parametrize("name", ["speech", "German", "white noise", "silence", "metronome"])
def test_nothing_stands_still_in_words_and_noise(name: str) -> None:
    sounds = clips.not_speech() | {"speech": clips.speech(), "German": clips.german()}
    assert held_voices(sounds[name], 16_000) == []


@pytest.mark.parametrize("count", [0, 1, 160, 5_000])
def test_tiny_sounds_are_handled(count: int) -> None:
    report = flow(clips.noise(1)[:count], [("Hi", 0.0, 0.2)])
    assert [s.kind for s in report.segments] in ([], ["speech"])


def test_parts_are_small_and_the_lexicon_is_lower_case() -> None:
    assert len(pickle.dumps(SpeechFlow().analyze(clips.track(clips.speech())))) < 1_000_000 / 600 * 11
    assert all(word == word.casefold() for words in FILLERS.values() for word in words)
