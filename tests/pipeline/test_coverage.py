"""Coverage: what counts as told, and that it falls when evidence is taken away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from analyzers.audio_analysis import AudioAnalysis
from analyzers.camera_analysis import CameraAnalysis
from analyzers.color_analysis import ColorAnalysis
from analyzers.cut_analysis import CutAnalysis
from pipeline.coverage import FORMULA_VERSION, measure
from pipeline.results import AnalyzerResult, Coverage, ModelInfo, VideoFacts
from tests.media.encode import write_clip
from tests.media.patterns import flat, moving_pattern, tone
from tests.support import run

SECONDS = 6
BOX = [0.1, 0.1, 0.5, 0.9]
COLORS = [{"hex": "#102030", "name": "navy", "share": 0.6}, {"hex": "#c08040", "name": "brown", "share": 0.4}]
BLACK = [{"hex": "#000000", "name": "black", "share": 1.0}]

Segments = list[dict[str, Any]]


def each(**fields: Any) -> Segments:
    return [{"start": float(s), "end": float(s + 1), **fields} for s in range(SECONDS)]


def evidence() -> dict[str, tuple[Segments, dict[str, Any]]]:
    """(segments, summary) of every analyzer that counts, each with content in every second."""
    words = [{"word": "go", "start": s + 0.2, "end": s + 0.8, "score": 0.9} for s in range(SECONDS)]
    shown = {"object_detection": each(objects=[{"label": "dog", "score": 0.9, "box": BOX, "track": 1}])}
    shown |= {"color_analysis": each(palette=COLORS, contrast=0.3), "camera_analysis": each(motion="pan_left")}
    shown |= {"composition_analysis": each(shot_size="close_up", labels=[]), "cut_analysis": each()}
    shown |= {"text_overlay": each(text="HELLO", score=0.9), "body_pose": each(persons=[{"score": 0.8}])}
    shown |= {"eye_tracking": each(faces=[{"track": 1}]), "scene_segmentation": each()}
    shown |= {"background_segmentation": each(classes={"person": 0.4, "background": 0.6})}
    shown |= {"age_estimation": each(faces=[{"age": 30.0}]), "visual_effects": each(kind="flash", score=0.9)}
    shown |= {"product_detection": each(brand="Nike", score=0.9)}
    heard = {"audio_analysis": each(rms_db=-20.0, speech=0.9, music=0.1)}
    heard |= {"audio_environment": each(labels=[{"name": "voice", "score": 0.8}])}
    heard |= {"sound_effects": each(kind="click", strength=0.5)}
    said = {"speech_transcription": [{"start": 0.0, "end": float(SECONDS), "words": words}]}
    said |= {name: each() for name in ("speech_emotion", "speech_rate", "speech_flow")}
    told = {name: each(description="a dog") for name in ("qwen2_vl_temporal", "video_llava", "blip2")}
    silences: dict[str, dict[str, Any]] = {"audio_analysis": {"silences": []}}
    return {name: (segments, silences.get(name, {})) for name, segments in (shown | heard | said | told).items()}


def covered(given: Mapping[str, tuple[Segments, dict[str, Any]]], **facts: Any) -> Coverage:
    results = {
        name: AnalyzerResult(
            name=name, version="1", status="ok", report={"segments": segments, "summary": {"counts": {}, **summary}}
        )
        for name, (segments, summary) in given.items()
    }
    return measure(video(**facts), results)


def video(**facts: Any) -> VideoFacts:
    known = {"source": "", "sha256": "", "bytes": 0, "duration_s": SECONDS, "has_audio": True}
    return VideoFacts.model_validate(known | facts)


EVERYTHING = sorted(evidence())


def test_everything_told_is_nearly_a_hundred() -> None:
    coverage = covered(evidence())
    assert coverage.score > 95
    assert coverage.formula_version == FORMULA_VERSION
    assert coverage.uncovered == []
    assert [point.second for point in coverage.per_second] == list(range(SECONDS))
    first = coverage.per_second[0]
    assert (first.seen, first.heard, first.described) == (1.0, 1.0, 1.0)
    assert first.said == pytest.approx(0.93)  # the words' own scores


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("status", ["failed", "skipped", "absent", "random"])
def test_it_falls_when_an_analyzer_fails_is_skipped_or_has_random_weights(name: str, status: str) -> None:
    given = evidence()
    whole = covered(given).score
    results = {
        other: AnalyzerResult(name=other, version="1", status="ok", report={"segments": s, "summary": m})
        for other, (s, m) in given.items()
        if other != name
    }
    if status == "random":
        untrained = ModelInfo(id="x", revision="1", backend="numpy", random_weights=True)
        report = {"segments": given[name][0], "summary": given[name][1]}
        results[name] = AnalyzerResult(name=name, version="1", status="ok", model=untrained, report=report)
    elif status != "absent":
        results[name] = AnalyzerResult.model_validate(
            {"name": name, "version": "1", "status": status, "reason": "made to"}
        )
    assert measure(video(), results).score < whole - 0.1


@pytest.mark.parametrize("name", ["object_detection", "color_analysis", "camera_analysis", "audio_analysis"])
def test_it_falls_where_a_gap_is_cut_into_the_evidence(name: str) -> None:
    given, whole = evidence(), covered(evidence())
    segments, summary = given[name]
    given[name] = ([s for s in segments if not 2 <= s["start"] < 4], summary)
    gap = covered(given)
    assert gap.score < whole.score
    for second in range(SECONDS):
        before, after = whole.per_second[second], gap.per_second[second]
        changed = (after.seen, after.heard) != (before.seen, before.heard)
        assert changed == (second in (2, 3))


def test_a_gap_in_all_evidence_is_uncovered() -> None:
    given = {
        name: ([{**s, "words": [w for w in s.get("words", []) if not 2 <= w["start"] < 4]} for s in segments
                if name == "speech_transcription" or not 2 <= s["start"] < 4], summary)
        for name, (segments, summary) in evidence().items()
    }  # fmt: skip
    coverage = covered(given)
    assert coverage.uncovered == [(2.0, 4.0)]
    assert coverage.score == pytest.approx(covered(evidence()).score * 4 / 6, abs=1)


def test_a_black_silent_clip_is_neither_seen_nor_heard() -> None:
    coverage = covered(
        {
            "color_analysis": (each(palette=BLACK, contrast=0.0), {}),
            "camera_analysis": (each(motion="static"), {}),
            "cut_analysis": (each(), {}),
            "scene_segmentation": (each(), {}),
            "object_detection": (each(objects=[]), {}),
            "content_quality": (each(score=40.0), {}),
            "composition_analysis": (each(shot_size="none", labels=[]), {}),
            "audio_analysis": (each(rms_db=-100.0, speech=0.0, music=0.0), {"silences": [[0.0, 6.0]]}),
            "audio_environment": (each(labels=[{"name": "silence", "score": 1.0}]), {}),
            "speech_transcription": ([], {}),
            "cross_analyzer_intelligence": (each(line="0:00 nothing was found", evidence=[]), {}),
        }
    )
    assert all((s.seen, s.heard, s.said, s.described) == (0, 0, 0, 0) for s in coverage.per_second)
    assert coverage.score == 0
    assert coverage.uncovered == [(0.0, 6.0)]


def test_what_an_analyzer_doubts_is_no_evidence() -> None:
    given = evidence()
    given["object_detection"] = (each(objects=[{"label": "dog", "score": 0.1, "box": BOX, "track": 1}]), {})
    assert covered(given).per_second[0].seen < 1


def test_a_picture_without_text_is_told_without_text() -> None:
    given = evidence()
    given["text_overlay"] = ([], {})
    assert covered(given).per_second[0].seen == 1.0


def test_a_pause_in_the_sound_costs_nothing_but_unheard_sound_does() -> None:
    given = evidence()
    quiet = [{**s, "rms_db": -90.0, "speech": 0.0} if s["start"] == 2 else s for s in given["audio_analysis"][0]]
    given["audio_analysis"] = (quiet, {"silences": [[2.0, 3.0]]})
    words = [w for w in given["speech_transcription"][0][0]["words"] if not 2 <= w["start"] < 3]
    given["speech_transcription"] = ([{"start": 0.0, "end": 6.0, "words": words}], {})
    paused = covered(given)
    assert paused.per_second[2].heard == paused.per_second[2].said == 0
    assert paused.score >= covered(evidence()).score - 0.1


def test_a_clip_without_sound_is_scored_by_its_picture_and_sound_alone_by_its_sound() -> None:
    assert covered(evidence(), has_audio=False).score == 100
    sound = covered(evidence(), has_video=False)
    assert sound.score > 90
    assert all(point.seen == point.described == 0 for point in sound.per_second)


def test_the_embedded_profile_lacks_the_description() -> None:
    given = {name: e for name, e in evidence().items() if name not in ("qwen2_vl_temporal", "video_llava", "blip2")}
    coverage = covered(given)
    assert all(point.described == 0 for point in coverage.per_second)
    assert 80 < coverage.score < 85


def test_nothing_at_all_and_no_length_are_zero() -> None:
    assert covered({}).score == 0
    assert covered({}, duration_s=0.0) == Coverage(score=0, formula_version="1", per_second=[], uncovered=[])
    assert covered({}, duration_s=0.04).uncovered == [(0.0, 0.04)]


# --- with real analyzers, through the engine --------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "loudness", "told"), [(0, 0.0, False), (None, 0.3, True)])
async def test_a_report_of_the_engine_has_its_coverage(
    tmp_path: Path, level: int | None, loudness: float, told: bool
) -> None:
    pictures = moving_pattern(180, 102, 60) if level is None else flat(180, 102, 60, level)
    path = write_clip(tmp_path / "clip.mp4", pictures, sound=tone(440, 2.0, level=loudness))
    report, _ = await run(path, ColorAnalysis, CutAnalysis, CameraAnalysis, AudioAnalysis)
    assert report.statuses()["ok"] == 4
    assert report.coverage is not None
    seconds = [(s.seen > 0, s.heard > 0) for s in report.coverage.per_second]
    assert seconds == [(told, told)] * 2
    assert (report.coverage.score > 0) == told
    assert report.coverage.uncovered == ([] if told else [(0.0, report.video.duration_s)])
