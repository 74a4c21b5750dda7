"""Cross-analyzer intelligence: lines that restate reports, findings that compare them, and nothing nobody said."""

from __future__ import annotations

import pickle

import pytest

from analyzers.cross_analyzer_intelligence import CrossAnalyzerIntelligence, CrossReport, clock, seconds
from analyzers.methods.evidence import quoted
from analyzers.product_detection import ProductDetection
from analyzers.speech_emotion import EmotionReport, EmotionSegment
from analyzers.temporal_flow import TemporalFlow
from pipeline.results import Upstream, VideoFacts
from tests.media import reports


def drawn(duration_s: float = 10.0, missing: dict[str, str] | None = None, **given: reports.AnyReport) -> CrossReport:
    facts = VideoFacts(source="", sha256="", bytes=0, duration_s=duration_s)
    return CrossAnalyzerIntelligence().summarize([], Upstream(facts, given, missing or {}))


def test_a_second_reads_like_an_editors_note() -> None:
    report = drawn(
        object_detection=reports.objects([(4.0, 5.0, "person", (0.05, 0.2, 0.25, 0.9))]),
        text_overlay=reports.texts([(4.1, 6.0, "WAS GEHT AB")]),
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


# --- the line ---------------------------------------------------------------------------------------------------------

LEFT = (0.05, 0.2, 0.25, 0.9)


def lines(report: CrossReport) -> list[str]:
    return [segment.line.split(" ", 1)[1] for segment in report.segments]


def people(start: float, end: float, score: float = 0.9) -> reports.AnyReport:
    """One person at left, sampled four times a second."""
    steps = int((end - start) * 4)
    report = reports.objects([(start + n / 4, start + (n + 1) / 4, "person", LEFT) for n in range(steps)])
    for segment in report.segments:
        segment.objects[0] = segment.objects[0].model_copy(update={"score": score})
    return report


def test_what_goes_on_is_not_repeated_while_there_is_something_new() -> None:
    report = drawn(
        4,
        object_detection=people(0, 4),
        camera_analysis=reports.camera([(0, 4, "static")]),
        text_overlay=reports.texts([(0.0, 4.0, "HELLO"), (1.0, 4.0, "NEW"), (1.0, 4.0, "THINGS")]),
    )
    assert lines(report) == [
        "a person at left, caption 'HELLO', static camera", "caption 'NEW', caption 'THINGS'",
        "a person at left, caption 'HELLO'", "a person at left, caption 'HELLO'",
    ]  # fmt: skip


def test_a_line_is_no_list_of_ten_things() -> None:
    shown = reports.texts([(0.0, 1.0, f"TEXT {n}") for n in range(9)])
    signs = reports.texts([(0.0, 1.0, f"SIGN {n}") for n in range(9)], kind="scene")
    shown.segments.extend(signs.segments)
    report = drawn(1, text_overlay=shown, object_detection=people(0, 1), cut_analysis=reports.cuts([0.5], 1))
    assert len(lines(report)[0].split(", ")) <= 6
    assert "cut" in lines(report)[0]
    assert "a person at left" in lines(report)[0]


def test_a_fact_that_blinks_is_not_new_again() -> None:
    seen = people(0, 4)
    report = drawn(
        4,
        object_detection=seen.model_copy(update={"segments": [s for s in seen.segments if not 1 <= s.start < 2]}),
        text_overlay=reports.texts([(2.0, 3.0, "A CAPTION"), (2.0, 3.0, "ANOTHER ONE")]),
    )
    assert lines(report)[2] == "caption 'A CAPTION', caption 'ANOTHER ONE'"


def test_people_stand_with_what_they_do_each_by_its_analyzer() -> None:
    report = drawn(
        1,
        object_detection=people(0, 1),
        body_pose=reports.poses([(0, 1, "standing", ["hand_raised"])]),
        eye_tracking=reports.eyes([(0, 1, 1, True)]),
    )
    assert lines(report) == ["a person at left, standing, raising a hand, looking into the camera"]
    assert report.segments[0].evidence == ["object_detection", "body_pose", "eye_tracking"]


def test_doubt_is_said_and_more_doubt_is_left_out() -> None:
    assert lines(drawn(1, object_detection=people(0, 1, 0.55))) == ["perhaps a person at left"]
    assert lines(drawn(1, object_detection=people(0, 1, 0.45))) == ["nothing was found"]
    assert lines(drawn(1, visual_effects=reports.effects([(0.2, 0.4, "glitch", 0.55)]))) == ["perhaps a glitch"]
    assert lines(drawn(1, visual_effects=reports.effects([(0.2, 0.4, "glitch", 0.3)]))) == ["nothing was found"]
    assert lines(drawn(1, sound_effects=reports.sounds([(0.5, "whoosh", 0.4)]))) == ["nothing was found"]


def test_a_move_that_begins_on_a_beat_is_said_to() -> None:
    camera = reports.camera([(0.0, 2.0, "static"), (2.0, 4.0, "zoom_in")])
    report = drawn(4, camera_analysis=camera, audio_analysis=reports.sound(4, beats=[2.02]))
    assert lines(report)[2] == "camera pushes in on the beat"
    assert report.segments[2].evidence == ["camera_analysis", "audio_analysis"]
    with_cut = drawn(
        4, camera_analysis=camera, audio_analysis=reports.sound(4, beats=[2.02]), cut_analysis=reports.cuts([2.0], 4)
    )
    assert lines(with_cut)[2] == "camera pushes in, cut on the beat"


def test_effects_and_sounds_are_said_where_they_begin() -> None:
    report = drawn(
        3,
        visual_effects=reports.effects([(1.2, 2.5, "freeze_frame", 0.9)]),
        sound_effects=reports.sounds([(1.25, "impact", 0.9), (2.1, "click", 0.9), (2.4, "click", 0.9)]),
    )
    assert lines(report) == [
        "nothing was found", "the picture freezes, an impact sound", "the picture freezes, 2 click sounds"
    ]  # fmt: skip


def test_a_language_is_named_where_it_begins() -> None:
    report = reports.said([("hello", 0.1, 0.4), ("there", 1.1, 1.4)])
    other = reports.said([("guten", 2.1, 2.4), ("Tag", 3.1, 3.4)], language="de")
    report.segments.extend(other.segments)
    report = report.model_copy(
        update={"summary": report.summary.model_copy(update={"languages": {"en": 1.0, "de": 1.0}})}
    )
    assert lines(drawn(4, speech_transcription=report)) == [
        "voice says in English 'hello'", "voice says 'there'", "voice says in German 'guten'", "voice says 'Tag'"
    ]  # fmt: skip


def test_surroundings_and_setting_are_said_once() -> None:
    report = drawn(
        3,
        audio_environment=reports.surroundings([(0, 3, {"street": 0.9, "outdoor": 0.9})]),
        background_segmentation=reports.masks([(0, 3, 0.0)], setting="outdoor"),
        cut_analysis=reports.cuts([1.5], 3),
        text_overlay=reports.texts([(1.0, 2.0, "ONE"), (1.0, 2.0, "TWO")]),
    )
    assert lines(report)[0] == "outdoors, street noise"
    assert lines(report)[1] == "caption 'ONE', caption 'TWO', cut"


@pytest.mark.parametrize(("confidence", "line"), [(0.15, "nothing was found"), (0.6, "the voice sounds excited")])
def test_a_voices_mood_is_passed_on_only_by_an_analyzer_that_is_sure(confidence: float, line: str) -> None:
    segment = reports.made(EmotionSegment, start=0.0, end=1.0, arousal=0.9, confidence=confidence)
    report = reports.made(EmotionReport, segments=[segment], summary=None)
    assert lines(drawn(1.0, speech_emotion=report)) == [line]


# --- products and flow ------------------------------------------------------------------------------------------------


def with_products(duration_s: float = 10.0, **given: reports.AnyReport) -> CrossReport:
    facts = VideoFacts(source="", sha256="", bytes=0, duration_s=duration_s)
    found = {"product_detection": ProductDetection().summarize([], Upstream(facts, given))}
    flow = {"temporal_flow": TemporalFlow().summarize([], Upstream(facts, given))}
    return drawn(duration_s, None, **given, **found, **flow)


def rules(report: CrossReport) -> tuple[set[str], set[str]]:
    """Names of the rules of (agreements, contradictions)."""
    return {f.rule for f in report.summary.agreements}, {f.rule for f in report.summary.contradictions}


def test_a_brand_with_a_call_and_no_disclosure_is_a_contradiction() -> None:
    bare = with_products(text_overlay=reports.texts([(1, 3, "Nike"), (7, 9, "Link in Bio")]))
    assert "brand_without_disclosure" in rules(bare)[1]
    (found,) = [f for f in bare.summary.contradictions if f.rule == "brand_without_disclosure"]
    assert [(e.start, e.end) for e in found.evidence] == [(1, 3), (7, 9)]
    labelled = with_products(text_overlay=reports.texts([(1, 3, "Nike"), (0, 9, "Anzeige"), (7, 9, "Link in Bio")]))
    assert rules(labelled) == ({"brand_disclosed"}, set())
    assert any("advertising disclosed" in line for line in lines(labelled))
    denied = with_products(text_overlay=reports.texts([(1, 3, "Nike, not sponsored"), (7, 9, "shop now")]))
    assert "nobody paid" in denied.summary.contradictions[0].what


def test_a_follow_is_no_sale_and_no_brand_is_no_advertising() -> None:
    assert rules(with_products(text_overlay=reports.texts([(1, 3, "Nike"), (7, 9, "Follow me")])))[1] == set()
    assert rules(with_products(text_overlay=reports.texts([(7, 9, "Link in Bio")])))[1] == set()


def test_a_brand_shown_and_spoken_agrees_and_another_one_contradicts() -> None:
    shown = reports.texts([(1, 4, "Adidas")])
    same = with_products(text_overlay=shown, speech_transcription=reports.said([("Adidas", 2.0, 2.4)]))
    other = with_products(text_overlay=shown, speech_transcription=reports.said([("Nike", 2.0, 2.4)]))
    assert "brand_shown_and_spoken" in rules(same)[0]
    assert "other_brand" in rules(other)[1]
    assert "other_brand" not in rules(same)[1]


def test_a_call_shown_and_spoken_is_an_agreement() -> None:
    report = with_products(
        text_overlay=reports.texts([(7, 9, "Follow me")]),
        speech_transcription=reports.said([("follow", 6.0, 6.3), ("me", 6.3, 6.5)]),
    )
    assert "call_shown_and_spoken" in rules(report)[0]
    assert any("call to action begins" in line for line in lines(report))


# --- findings ---------------------------------------------------------------------------------------------------------


def test_findings_carry_both_sides_with_their_times() -> None:
    spoken = reports.said([("Ask", 2.0, 2.3), ("not", 2.3, 2.6)])
    (found,) = drawn(speech_transcription=spoken, text_overlay=reports.texts([(1.5, 4, "ASK NOT")])).summary.agreements
    assert [(e.analyzer, e.start, e.end, e.what) for e in found.evidence] == [
        ("text_overlay", 1.5, 4.0, "caption 'ASK NOT'"), ("speech_transcription", 2.0, 2.6, "says 'Ask not'"),
    ]  # fmt: skip


def test_eye_contact_with_nobody_is_a_contradiction_and_with_somebody_an_agreement() -> None:
    looks = reports.eyes([(n / 4, (n + 1) / 4, 1, True) for n in range(16)])
    nobody = reports.objects([(n / 4, (n + 1) / 4, "dog", LEFT) for n in range(16)])
    assert rules(drawn(4, eye_tracking=looks, object_detection=nobody)) == (set(), {"eye_contact_with_nobody"})
    assert rules(drawn(4, eye_tracking=looks, object_detection=people(0, 4)))[0] == {"person_looks_into_camera"}
    assert rules(drawn(4, eye_tracking=looks)) == (set(), set())


def test_faces_are_compared_with_people() -> None:
    away = reports.eyes([(n / 4, (n + 1) / 4, 3, False) for n in range(16)])
    nobody = reports.objects([(n / 4, (n + 1) / 4, "dog", LEFT) for n in range(16)])
    assert rules(drawn(4, eye_tracking=away, object_detection=people(0, 4)))[1] == {"more_faces_than_people"}
    assert rules(drawn(4, eye_tracking=away, object_detection=nobody))[1] == {"face_without_person"}
    masks = reports.masks([(0, 4, 0.5)])
    assert rules(drawn(4, background_segmentation=masks, object_detection=nobody))[1] == {"person_area_without_person"}


def test_languages_of_captions_and_speech_are_compared() -> None:
    german = reports.texts([(1, 4, "das ist nicht für dich und mich")])
    english = reports.said([("this", 1, 1.2), ("is", 1.2, 1.4)], language="en")
    assert rules(drawn(speech_transcription=english, text_overlay=german))[1] == {"other_language"}
    spoken = reports.said([("das", 1, 1.2), ("ist", 1.2, 1.4)], language="de")
    assert "same_language" in rules(drawn(speech_transcription=spoken, text_overlay=german))[0]
    short = reports.texts([(1, 4, "GRÖSSE")])
    assert rules(drawn(speech_transcription=english, text_overlay=short)) == (set(), set())


def test_music_is_compared_with_the_surroundings() -> None:
    sound = reports.sound(6, music=[(0, 6)])
    street, bed = reports.surroundings([(0, 6, {"street": 0.9})]), reports.surroundings([(0, 6, {"music_bed": 0.9})])
    assert rules(drawn(6, audio_analysis=sound, audio_environment=street))[1] == {"music_or_not"}
    assert rules(drawn(6, audio_analysis=sound, audio_environment=bed)) == ({"music_heard_twice"}, set())
    assert rules(drawn(6, audio_analysis=reports.sound(6), audio_environment=bed))[1] == {"music_or_not"}
    assert rules(drawn(6, audio_analysis=sound, audio_environment=reports.surroundings([(0, 6, {})])))[1] == set()


def test_a_flash_at_a_cut_and_a_freeze_under_a_moving_camera_are_contradictions() -> None:
    flash = reports.effects([(2.0, 2.1, "flash", 0.9)])
    assert rules(drawn(visual_effects=flash, cut_analysis=reports.cuts([2.05], 10)))[1] == {"flash_or_cut"}
    assert rules(drawn(visual_effects=flash, cut_analysis=reports.cuts([4.0], 10)))[1] == set()
    frozen = reports.effects([(2.0, 4.0, "freeze_frame", 0.9)])
    moving, still = reports.camera([(0, 10, "pan_left")]), reports.camera([(0, 10, "static")])
    assert rules(drawn(visual_effects=frozen, camera_analysis=moving))[1] == {"frozen_or_moving"}
    assert rules(drawn(visual_effects=frozen, camera_analysis=still))[1] == set()


def test_an_effect_with_a_sound_is_an_agreement() -> None:
    effect = reports.effects([(2.0, 2.1, "zoom_punch", 0.9)])
    near, far = reports.sounds([(2.1, "impact", 0.9)]), reports.sounds([(3.0, "impact", 0.9)])
    assert rules(drawn(visual_effects=effect, sound_effects=near))[0] == {"effect_with_sound"}
    assert rules(drawn(visual_effects=effect, sound_effects=far))[0] == set()


def test_a_break_of_motion_is_explained_by_a_flash() -> None:
    camera, cut = reports.camera([(0, 10, "static")], breaks=[5.0]), reports.cuts([], 10)
    flash = reports.effects([(5.0, 5.1, "flash", 0.9)])
    assert rules(drawn(camera_analysis=camera, cut_analysis=cut)) == (set(), {"break_without_transition"})
    explained = drawn(camera_analysis=camera, cut_analysis=cut, visual_effects=flash)
    assert rules(explained) == ({"break_at_effect"}, set())


def test_a_fade_between_shots_is_said_once() -> None:
    cut, fade = reports.cuts([1.5], 3, "fade"), reports.effects([(1.6, 1.9, "fade_in", 0.9)])
    assert lines(drawn(3, cut_analysis=cut, visual_effects=fade))[1] == "fade"
    assert lines(drawn(3, visual_effects=fade))[1] == "fades in"
