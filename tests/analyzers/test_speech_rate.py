"""Speech rate: rates over speech time, changes, and syllables counted by written rules."""

from __future__ import annotations

import pickle

import pytest

from analyzers.methods.syllables import syllables
from analyzers.speech_rate import RateReport, SpeechRate
from analyzers.speech_transcription import SpeechReport, SpeechSegment, SpeechSummary, Word
from pipeline.results import Upstream, VideoFacts


def transcript(words: list[tuple[str, float, float]], language: str = "en") -> SpeechReport:
    said = [Word(word=text, start=start, end=end, score=0.9) for text, start, end in words]
    segments = [
        SpeechSegment(
            start=said[0].start,
            end=said[-1].end,
            text=" ".join(word.word for word in said),
            words=said,
            language=language,
            avg_logprob=-0.2,
            no_speech_prob=0.0,
            pitch_hz=None,
        )
    ]
    summary = SpeechSummary(language=language, language_score=1, languages={}, text="", words=len(said), speech_s=0)
    return SpeechReport(segments=segments if said else [], summary=summary)


def rate(words: list[tuple[str, float, float]], language: str = "en") -> RateReport:
    said = (
        transcript(words, language) if words else SpeechReport(segments=[], summary=transcript([("a", 0, 1)]).summary)
    )
    facts = VideoFacts(source="", sha256="", bytes=0, duration_s=60)
    return SpeechRate().summarize([], Upstream(facts, {"speech_transcription": said}))


def spoken(count: int, every_s: float, start_s: float = 0.0) -> list[tuple[str, float, float]]:
    return [("hello", start_s + i * every_s, start_s + (i + 1) * every_s) for i in range(count)]


def test_two_words_a_second_are_120_words_and_240_syllables_a_minute() -> None:
    report = rate(spoken(20, 0.5))
    assert report.summary.words_per_minute == pytest.approx(120)
    assert report.summary.syllables_per_minute == pytest.approx(240)
    assert [s.words_per_minute for s in report.segments] == pytest.approx([120, 120])


def test_a_long_pause_is_no_speech_time() -> None:
    report = rate(spoken(10, 0.5) + spoken(10, 0.5, start_s=35))
    assert report.summary.words_per_minute == pytest.approx(120)
    assert report.summary.speech_s == pytest.approx(10)
    assert [(s.start, s.end) for s in report.segments] == [(0, 5), (35, 40)]


def test_a_faster_passage_is_reported_as_a_change() -> None:
    report = rate(spoken(10, 0.5) + spoken(20, 0.25, start_s=7))
    (change,) = report.summary.changes
    assert (change.kind, change.time) == ("faster", 7)
    assert change.after == pytest.approx(2 * change.before)


def test_nobody_speaking_is_an_empty_report_without_rates() -> None:
    report = rate([])
    assert report.segments == []
    assert report.summary.words == 0
    assert report.summary.words_per_minute is None
    assert report.summary.changes == []


def test_one_short_word_is_no_pace() -> None:
    report = rate([("yes", 1.0, 1.3)])
    assert [s.words_per_minute for s in report.segments] == [None]
    assert report.summary.syllables_per_minute is None


def test_marks_without_letters_are_no_words() -> None:
    assert rate([*spoken(4, 0.5), ("♪", 2.0, 2.5)]).summary.words == 4


@pytest.mark.parametrize(
    ("word", "language", "count"),
    [
        ("people", "en", 2), ("asked,", "en", 1), ("wanted", "en", 2), ("Science!", "en", 2), ("didn't", "en", 2),
        ("70", "en", 3), ("2024", "en", 6), ("schöne", "de", 2), ("Häuser", "de", 2), ("21", "de", 4),
        ("Nation", "de", 2), ("¡Hola!", "es", 2), ("今日は", "ja", 3), ("...", "en", 0), ("", "de", 0),
    ],
)  # fmt: skip
def test_syllables(word: str, language: str, count: int) -> None:
    assert syllables(word, language) == count


def test_it_is_sent_to_workers_before_it_is_loaded() -> None:
    assert pickle.loads(pickle.dumps(SpeechRate())).spec.name == "speech_rate"
