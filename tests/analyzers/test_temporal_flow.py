"""Phases, pace and calls to action from made reports."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import pairwise

import pytest

from analyzers.temporal_flow import FlowReport, TemporalFlow
from pipeline.errors import NotApplicable
from pipeline.results import Upstream, VideoFacts
from tests.media import reports


def told(duration_s: float = 30.0, **given: reports.AnyReport) -> FlowReport:
    facts = VideoFacts(source="", sha256="", bytes=0, duration_s=duration_s)
    return TemporalFlow().summarize([], Upstream(facts, given))


def phases(report: FlowReport) -> list[tuple[str, float, float]]:
    return [(s.phase, s.start, s.end) for s in report.segments]


def captions(*shown: tuple[float, float, str], duration_s: float = 30.0) -> FlowReport:
    return told(duration_s, text_overlay=reports.texts(shown))


def montage(start: float, end: float) -> list[float]:
    return [start + 0.5 * n for n in range(int((end - start) / 0.5))]


def test_a_call_at_the_end_is_the_cta_and_what_follows_the_outro() -> None:
    report = captions((24.0, 27.0, "Follow for more"))
    assert phases(report) == [("hook", 0, 3), ("build", 3, 24), ("cta", 24, 27), ("outro", 27, 30)]
    cta = report.segments[2]
    assert cta.why == "'Follow for more'"
    assert cta.analyzers == ["text_overlay"]


def test_calls_that_follow_one_another_are_one_phase_that_ends_with_the_video() -> None:
    report = told(
        text_overlay=reports.texts([(26.5, 29.5, "LINK IN BIO")]),
        speech_transcription=reports.said([("Folgt", 22.7, 23.1), ("mir", 23.1, 23.3), ("schreibt", 24.9, 25.3),
                                           ("mir", 25.3, 25.6)]),
    )  # fmt: skip
    assert phases(report)[-1] == ("cta", 22.7, 30.0)
    assert [call.kind for call in report.summary.calls_to_action] == ["follow", "comment", "link"]


def test_an_early_call_is_listed_and_is_no_phase() -> None:
    report = captions((4.0, 6.0, "comment below"))
    assert phases(report) == [("hook", 0, 3), ("build", 3, 30)]
    assert [call.words for call in report.summary.calls_to_action] == ["comment below"]


@pytest.mark.parametrize("text", ["we follow the river", "no comment", "the link is broken", "er kauft jetzt ein"])
def test_single_words_are_no_call(text: str) -> None:
    assert captions((24.0, 27.0, text)).summary.calls_to_action == []


def test_a_sign_in_the_scene_calls_nobody() -> None:
    assert told(text_overlay=reports.texts([(24, 27, "SHOP NOW")], kind="scene")).summary.calls_to_action == []


def test_a_farewell_is_the_outro() -> None:
    spoken = [("Danke", 26.0, 26.4), ("fürs", 26.4, 26.6), ("Zuschauen", 26.6, 27.2)]
    report = told(speech_transcription=reports.said(spoken))
    assert phases(report)[-1] == ("outro", 26.0, 30.0)


def test_many_cuts_and_movement_are_the_peak_and_its_borders_are_cuts() -> None:
    report = told(
        cut_analysis=reports.cuts([5.0, *montage(14.2, 17.7)], 30.0),
        camera_analysis=motion([(0, 14.2, 0.01), (14.2, 17.7, 0.6), (17.7, 30, 0.01)]),
    )
    ((_, start, end),) = [phase for phase in phases(report) if phase[0] == "peak"]
    assert start in montage(14.2, 17.7)
    assert 14.0 <= start <= 15.3
    assert 16.9 <= end <= 18.2
    assert report.summary.peak_s == pytest.approx((start + end) / 2)


def motion(moves: Sequence[tuple[float, float, float]]) -> reports.AnyReport:
    """(start, end, pan) of each stretch."""
    report = reports.camera([(start, end, "pan_right") for start, end, _ in moves])
    for number, (_, _, pan) in enumerate(moves):
        still = {"tilt": 0.0, "zoom": 0.0, "roll": 0.0, "shake": 0.0}
        report.segments[number] = report.segments[number].model_copy(update={"pan": pan, **still})
    return report


def test_a_flat_video_has_no_peak() -> None:
    report = told(cut_analysis=reports.cuts([2.0 * n for n in range(1, 15)], 30.0))
    assert [phase for phase, _, _ in phases(report)] == ["hook", "build"]


def test_one_report_alone_tells_of_no_peak_and_no_fading_end() -> None:
    assert [phase for phase, _, _ in phases(told(cut_analysis=reports.cuts(montage(8, 12), 30.0)))] == ["hook", "build"]


def test_the_hook_ends_at_a_cut_nearby_and_not_at_one_far_away() -> None:
    assert phases(told(cut_analysis=reports.cuts([3.4], 30.0)))[0] == ("hook", 0, 3.4)
    assert phases(told(cut_analysis=reports.cuts([3.8], 30.0)))[0] == ("hook", 0, 3.0)


@pytest.mark.parametrize("duration_s", [0.03, 1.0, 1.7, 2.4, 3.9])
def test_a_very_short_video_is_all_hook(duration_s: float) -> None:
    assert phases(told(duration_s, cut_analysis=reports.cuts([], duration_s))) == [("hook", 0, duration_s)]


@pytest.mark.parametrize("duration_s", [4.1, 5.0, 7.3, 12.0, 61.7])
def test_phases_cover_the_video_without_gap_or_overlap(duration_s: float) -> None:
    for call in ((0.6, 0.7), (0.55, 0.95), (0.9, 0.99)):
        shown = [(call[0] * duration_s, call[1] * duration_s, "jetzt kaufen")]
        cut = reports.cuts(montage(duration_s * 0.4, duration_s * 0.6), duration_s)
        found = phases(told(duration_s, text_overlay=reports.texts(shown), cut_analysis=cut))
        assert found[0][1] == 0
        assert found[-1][2] == pytest.approx(duration_s)
        assert all(before[2] == after[1] for before, after in pairwise(found))
        assert all(end > start for _, start, end in found)


def test_a_long_quiet_end_is_an_outro() -> None:
    calm = motion([(0, 25, 0.4), (25, 30, 0.0)])
    report = told(cut_analysis=reports.cuts(montage(0.5, 25.0), 30.0), camera_analysis=calm)
    (name, start, end) = phases(report)[-1]
    assert (name, end) == ("outro", 30.0)
    assert 25.0 <= start <= 27.0


def test_the_hook_has_its_figures() -> None:
    hook = told(
        cut_analysis=reports.cuts([1.0, 2.0, 8.0], 30.0),
        text_overlay=reports.texts([(0.5, 2.0, "Did you know?"), (5.0, 6.0, "later")]),
        speech_transcription=reports.said([("wait", 0.8, 1.0), ("what", 1.0, 1.3), ("later", 9.0, 9.4)]),
    ).summary.hook
    assert hook is not None
    assert (hook.cuts, hook.captions, hook.first_caption_s, hook.words, hook.first_word_s) == (2, 1, 0.5, 2, 0.8)
    assert hook.question
    assert hook.louder_db is None
    assert hook.pace_ratio is not None
    assert hook.pace_ratio > 1


def test_what_no_report_tells_is_null() -> None:
    hook = told(audio_analysis=reports.sound(30.0)).summary.hook
    assert hook is not None
    assert (hook.cuts, hook.captions, hook.words, hook.louder_db) == (None, None, None, 0.0)


def test_the_curve_has_a_point_per_second_and_knows_its_parts() -> None:
    summary = told(29.5, cut_analysis=reports.cuts(montage(10, 20), 29.5)).summary
    assert [point.second for point in summary.pace_curve] == list(range(30))
    assert set(summary.pace_curve[0].parts) == {"cuts"}
    assert summary.pace_curve[15].pace > summary.pace_curve[2].pace
    assert summary.trend == "steady"


def test_a_video_that_gets_faster_is_rising() -> None:
    assert told(cut_analysis=reports.cuts(montage(18, 29), 30)).summary.trend == "rising"
    assert told(cut_analysis=reports.cuts(montage(1, 12), 30)).summary.trend == "falling"


def test_no_report_at_all_is_a_reason_to_skip() -> None:
    with pytest.raises(NotApplicable, match="no report"):
        told()


def test_it_pickles() -> None:
    assert pickle.loads(pickle.dumps(TemporalFlow())).spec.name == "temporal_flow"
