"""Sound effects: their times and kinds alone, over speech and over music; none in speech, songs, drums and noise."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from analyzers.methods.sound_events import SoundEvent, kind_of
from analyzers.sound_effects import EffectsReport, SoundEffects
from benchmarks.truth.sound_effects import MARKS_S, laid
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import AudioTrack
from tests.media import audio_clips as clips

FACTS = VideoFacts(source="", sha256="", bytes=0, duration_s=0)
EFFECTS = clips.effects()


@pytest.fixture(scope="module")
def analyzer() -> SoundEffects:
    loaded = SoundEffects()
    loaded.load("cpu", Profile("embedded", load_settings().models_dir))
    return loaded


def report(analyzer: SoundEffects, *tracks: AudioTrack) -> EffectsReport:
    return analyzer.summarize([analyzer.analyze(track) for track in tracks], Upstream(FACTS))


@pytest.mark.parametrize("kind", sorted(EFFECTS))
def test_an_effect_has_its_time_and_kind(analyzer: SoundEffects, kind: str) -> None:
    samples = clips.laid_over(clips.noise(9, -55), [(3.3, EFFECTS[kind])])
    (found,) = report(analyzer, clips.track(samples, 2.0)).segments
    assert found.kind == kind
    assert found.time == pytest.approx(2.0 + 3.3 + MARKS_S.get(kind, 0.0), abs=0.1)
    assert found.start <= found.time <= found.end


@pytest.mark.parametrize("kind", ["whoosh", "click", "beep", "ding"])
def test_an_effect_over_music_is_found(analyzer: SoundEffects, kind: str) -> None:
    samples = clips.laid_over(clips.song("B minor", 112, 10)[0], [(4.4, EFFECTS[kind])], 15)
    assert [s.kind for s in report(analyzer, clips.track(samples)).segments] == [kind]


@pytest.mark.parametrize("kind", ["impact", "whoosh", "ding"])
def test_an_effect_over_a_voice_is_found_and_says_so(analyzer: SoundEffects, kind: str) -> None:
    samples = clips.laid_over(clips.speech(), [(1.3, EFFECTS[kind])], 15)
    (found,) = report(analyzer, clips.track(samples)).segments
    assert (found.kind, found.over_speech) == (kind, True)


def test_a_louder_effect_is_stronger(analyzer: SoundEffects) -> None:
    song = clips.song("B minor", 112, 10)[0]
    strengths = [
        report(analyzer, clips.track(clips.laid_over(song, [(4.4, EFFECTS["ding"])], db))).segments[0].strength
        for db in (9, 15, 21)
    ]
    assert strengths == sorted(strengths)
    assert strengths[0] < strengths[2]


@cache
def without() -> dict[str, clips.Samples]:
    return {
        **clips.not_speech(),
        "speech": clips.speech(),
        "German": clips.german(),
        "slow song": clips.song("E major", 68, 15)[0],
        "drums": clips.loop("loop_amen", 15)[0],
        "slow metronome": clips.clicks(60, 12)[0],
        "train": clips.recording("train.ogg")[: 15 * clips.RATE_HZ],
    }


@pytest.mark.parametrize("name", sorted(without()))
def test_speech_music_rhythm_and_noise_are_no_effects(analyzer: SoundEffects, name: str) -> None:
    assert report(analyzer, clips.track(without()[name])).segments == []


def test_a_click_every_second_is_rhythm_and_two_clicks_are_effects(analyzer: SoundEffects) -> None:
    room = clips.noise(12, -55)
    often = clips.laid_over(room, [(t, EFFECTS["click"]) for t in np.arange(0.5, 11.5, 1.0)])
    twice = clips.laid_over(room, [(t, EFFECTS["click"]) for t in (4.0, 4.5)])
    assert report(analyzer, clips.track(often)).segments == []
    assert [s.kind for s in report(analyzer, clips.track(twice)).segments] == ["click", "click"]


def test_the_beginning_of_a_tone_after_silence_is_no_click(analyzer: SoundEffects) -> None:
    samples = np.concatenate([clips.silence(3), clips.sine(4, 1000, -12), clips.silence(3)])
    assert "click" not in report(analyzer, clips.track(samples)).summary.counts


def test_the_summary_counts_kinds(analyzer: SoundEffects) -> None:
    summary = report(analyzer, clips.track(laid(clips.noise(21, -55), None)[0])).summary
    assert summary.counts == dict.fromkeys(sorted(EFFECTS), 1)
    assert summary.per_minute == pytest.approx(7 / (21 / 60), abs=0.01)


def test_an_event_of_no_known_shape_is_other_only_when_it_stands_out_far() -> None:
    event = SoundEvent(1.0, 1.5, 1.2, 0.2, 100, 8, 9, 0.1, 0.9, 0.3, 0, (-3, -5, -9), 10, -20, in_voice=False)
    assert kind_of(event) is None
    assert kind_of(replace(event, excess_db=300)) == ("other", 200)
    assert kind_of(replace(event, excess_db=300, in_voice=True)) is None


@pytest.mark.parametrize("count", [0, 1, 160, 3_999, 4_001, 16_000])
def test_tiny_sounds_are_empty_reports(analyzer: SoundEffects, count: int) -> None:
    assert report(analyzer, clips.track(clips.noise(1)[:count])).segments == []


def test_parts_are_small_and_two_runs_agree(analyzer: SoundEffects) -> None:
    track = clips.track(laid(clips.noise(21, -55), None)[0])
    assert report(analyzer, track) == report(analyzer, track)
    assert len(pickle.dumps(analyzer.analyze(track))) < 10_000


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="yamnet"):
        SoundEffects().load("cpu", Profile("embedded", tmp_path))
