"""Cross-analyzer intelligence: lines that restate reports, findings that compare them, and nothing nobody said."""

from __future__ import annotations

import pickle

import pytest

from analyzers.cross_analyzer_intelligence import CrossAnalyzerIntelligence, CrossReport, clock, seconds
from analyzers.methods.evidence import quoted
from pipeline.results import Upstream, VideoFacts
from tests.media import reports


def drawn(duration_s: float = 10.0, missing: dict[str, str] | None = None, **given: reports.AnyReport) -> CrossReport:
    facts = VideoFacts(source="", sha256="", bytes=0, duration_s=duration_s)
    return CrossAnalyzerIntelligence().summarize([], Upstream(facts, given, missing or {}))


def test_a_second_reads_like_an_editors_note() -> None:
    report = drawn(
        object_detection=reports.objects([(4.0, 5.0, "person", (0.05, 0.2, 0.25, 0.9))]),
        text_overlay=reports.texts([(3.5, 6.0, "WAS GEHT AB")]),
        camera_analysis=reports.camera([(0.0, 4.0, "static"), (4.0, 10.0, "pan_right")]),
        cut_analysis=reports.cuts([4.02], 10.0),
        audio_analysis=reports.sound(10.0, beats=[4.0]),
    )
    fifth = report.segments[4]
    assert fifth.line == "0:04 a person at left, caption 'WAS GEHT AB', camera pans right, cut on the beat"
    assert fifth.evidence == ["object_detection", "text_overlay", "camera_analysis", "cut_analysis", "audio_analysis"]


def test_without_reports_every_second_says_that_nothing_was_found() -> None:
    report = drawn(3.4, missing={"blip2": "no weights"})
    assert [s.line for s in report.segments] == [f"0:0{n} nothing was found" for n in range(4)]
    assert all(s.evidence == [] for s in report.segments)
    summary = report.summary
    assert (summary.agreements, summary.contradictions, summary.key_moments) == ([], [], [])
    assert summary.beat_cut_sync is None
    assert summary.missing == {"blip2": "no weights"}


@pytest.mark.parametrize(
    ("duration_s", "count"), [(0, 0), (0.04, 1), (1, 1), (1.2, 1), (1.3, 2), (30, 30), (30.03, 30)]
)
def test_the_seconds_cover_the_video(duration_s: float, count: int) -> None:
    stretches = seconds(duration_s)
    assert len(stretches) == count
    if count:
        assert (stretches[0][0], stretches[-1][1]) == (0, duration_s)


def test_words_are_quoted_in_the_second_in_which_they_are_said() -> None:
    report = drawn(speech_transcription=reports.said([("ask", 1.2, 1.6), ("not", 1.7, 2.1), ("what", 2.2, 2.6)]))
    assert report.segments[1].line == "0:01 voice says 'ask not'"
    assert report.segments[2].line == "0:02 voice says 'what'"
    assert report.segments[3].line == "0:03 nothing was found"


def test_text_from_the_video_stays_one_quoted_line() -> None:
    assert quoted("it's\n a \x00'trap'") == "'it’s a ’trap’'"
    assert len(quoted("word " * 100)) <= 63


def test_two_of_a_kind_are_counted() -> None:
    left, right = (0.1, 0.1, 0.3, 0.9), (0.6, 0.1, 0.8, 0.9)
    report = reports.objects([(0.0, 1.0, "person", left)])
    report.segments[0].objects.append(reports.objects([(0.0, 1.0, "person", right)]).segments[0].objects[0])
    assert drawn(1, object_detection=report).segments[0].line == "0:00 two people"


def test_silence_and_music_are_named() -> None:
    report = drawn(4, audio_analysis=reports.sound(4, music=[(0, 2)], silences=[(2.1, 4.0)]))
    assert [s.line for s in report.segments] == ["0:00 music", "0:01 music", "0:02 silence", "0:03 silence"]


def test_beat_sync_stands_beside_chance() -> None:
    beats = [0.5 * n for n in range(40)]
    sync = drawn(
        20, cut_analysis=reports.cuts([2.0, 5.55, 9.25], 20), audio_analysis=reports.sound(20, beats=beats)
    ).summary.beat_cut_sync
    assert sync is not None
    assert (sync.cuts, sync.on_beat) == (3, 2)
    assert sync.share == pytest.approx(2 / 3, abs=1e-4)
    assert sync.chance == pytest.approx(0.4, abs=0.01)
    assert sync.p_value == pytest.approx(3 * 0.4**2 * 0.6 + 0.4**3, abs=0.02)


@pytest.mark.parametrize("kind", ["dissolve", "fade"])
def test_only_hard_cuts_count_for_the_beat(kind: str) -> None:
    report = drawn(cut_analysis=reports.cuts([4.0], 10, kind), audio_analysis=reports.sound(10, beats=[4.0]))
    assert report.summary.beat_cut_sync is None
    assert report.segments[4].line == f"0:04 {kind}"


def test_no_beats_or_no_cuts_give_no_sync() -> None:
    sound, cut = reports.sound(10, beats=[1.0]), reports.cuts([1.0], 10)
    assert drawn(cut_analysis=cut, audio_analysis=reports.sound(10)).summary.beat_cut_sync is None
    assert drawn(cut_analysis=reports.cuts([], 10), audio_analysis=sound).summary.beat_cut_sync is None
    assert drawn(audio_analysis=sound).summary.beat_cut_sync is None


def test_a_caption_that_repeats_the_speech_is_an_agreement() -> None:
    spoken = reports.said([("Ask", 2.0, 2.3), ("not", 2.3, 2.6), ("what!", 2.6, 3.0)])
    same = drawn(speech_transcription=spoken, text_overlay=reports.texts([(1.5, 4, "ASK NOT WHAT")]))
    other = drawn(speech_transcription=spoken, text_overlay=reports.texts([(1.5, 4, "NEW SHOES HERE")]))
    assert [found.analyzers for found in same.summary.agreements] == [["text_overlay", "speech_transcription"]]
    assert other.summary.agreements == []


def test_speech_without_words_is_a_contradiction() -> None:
    heard = reports.sound(10, speech=[(3, 7)])
    (found,) = drawn(audio_analysis=heard, speech_transcription=reports.said([])).summary.contradictions
    assert (found.start, found.end) == (3, 7)
    assert "no words" in found.what
    assert drawn(audio_analysis=heard).summary.contradictions == []  # nothing to compare with


def test_words_in_silence_are_a_contradiction() -> None:
    report = drawn(
        audio_analysis=reports.sound(10, silences=[(2.0, 5.0)]),
        speech_transcription=reports.said([("thanks", 3.0, 3.6)]),
    )
    assert [found.what for found in report.summary.contradictions] == [
        "the word 'thanks' is understood where it is silent"
    ]


def test_breaks_of_motion_agree_or_disagree_with_cuts() -> None:
    summary = drawn(
        camera_analysis=reports.camera([(0, 10, "static")], breaks=[2.05, 7.0]), cut_analysis=reports.cuts([2.0], 10)
    ).summary
    assert [found.end for found in summary.agreements] == [2.05]
    assert [found.start for found in summary.contradictions] == [7.0]


def test_a_key_moment_needs_two_analyzers() -> None:
    caption, cut = reports.texts([(5.2, 7, "NEW")]), reports.cuts([5.0], 10)
    (moment,) = drawn(text_overlay=caption, cut_analysis=cut).summary.key_moments
    assert (moment.time, moment.score) == (5.0, 2.0)
    assert set(moment.analyzers) == {"text_overlay", "cut_analysis"}
    assert drawn(text_overlay=caption).summary.key_moments == []
    assert drawn(text_overlay=reports.texts([(8, 9, "LATE")]), cut_analysis=cut).summary.key_moments == []


def test_evidence_names_only_reports_that_were_there() -> None:
    report = drawn(audio_analysis=reports.sound(10, music=[(0, 10)]), cut_analysis=reports.cuts([3.0], 10))
    assert report.summary.sources == ["audio_analysis", "cut_analysis"]
    assert {name for segment in report.segments for name in segment.evidence} == {"audio_analysis", "cut_analysis"}


def test_an_hour_is_written_with_hours() -> None:
    assert [clock(4), clock(75), clock(3723)] == ["0:04", "1:15", "1:02:03"]


def test_it_is_sent_to_workers_before_it_is_loaded() -> None:
    assert pickle.loads(pickle.dumps(CrossAnalyzerIntelligence())).spec.after_if_ok == ("*",)
