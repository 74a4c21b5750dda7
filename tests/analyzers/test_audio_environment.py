"""Audio environment: surroundings of known sounds, nothing claimed on tones and noise, segments that tile the sound."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from analyzers.audio_environment import NAMES, SURROUNDINGS, AudioEnvironment, EnvironmentReport, dominant, present
from benchmarks.truth.audio_environment import PLACES
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import AudioTrack
from tests.media import audio_clips as clips

FACTS = VideoFacts(source="", sha256="", bytes=0, duration_s=0)


@pytest.fixture(scope="module")
def analyzer() -> AudioEnvironment:
    loaded = AudioEnvironment()
    loaded.load("cpu", Profile("embedded", load_settings().models_dir))
    return loaded


def report(analyzer: AudioEnvironment, *tracks: AudioTrack) -> EnvironmentReport:
    return analyzer.summarize([analyzer.analyze(track) for track in tracks], Upstream(FACTS))


@pytest.mark.parametrize(
    ("name", "surrounding"), [("water.wav", "weather"), ("amazon-rainforest.ogg", "nature"), ("train.ogg", "vehicle")]
)
def test_a_real_place_is_heard(analyzer: AudioEnvironment, name: str, surrounding: str) -> None:
    found = report(analyzer, clips.track(clips.recording(name)[: 20 * clips.RATE_HZ]))
    assert found.summary.shares[surrounding] > 0.7


def test_music_under_a_voice_is_the_surrounding_and_the_voice_is_not(analyzer: AudioEnvironment) -> None:
    mixed = clips.mixed(clips.speech(), clips.song("C major", 110, 11)[0], 6)
    assert report(analyzer, clips.track(mixed)).summary.dominant == "music_bed"


def test_a_voice_alone_has_no_place(analyzer: AudioEnvironment) -> None:
    summary = report(analyzer, clips.track(clips.speech())).summary
    assert summary.dominant == "voice"
    assert not PLACES & set(summary.shares)


@pytest.mark.parametrize("name", sorted(set(clips.not_speech()) - {"song", "chords"}))
def test_tones_noise_clicks_and_silence_are_no_place(analyzer: AudioEnvironment, name: str) -> None:
    summary = report(analyzer, clips.track(clips.not_speech()[name])).summary
    assert not (PLACES | {"outdoor", "indoor", "voice"}) & set(summary.shares)


def test_silence_is_silence_and_nothing_else(analyzer: AudioEnvironment) -> None:
    found = report(analyzer, clips.track(clips.silence(5)))
    assert [(s.start, s.end, [label.name for label in s.labels]) for s in found.segments] == [(0, 5, ["silence"])]
    assert found.summary.dominant == "silence"


@pytest.mark.parametrize("count", [1, 160, 3_999, 16_000, 17_000, 25_000])
def test_segments_tile_the_sound(analyzer: AudioEnvironment, count: int) -> None:
    track = clips.track(clips.speech()[5_000 : 5_000 + count], 0.25)
    segments = report(analyzer, track).segments
    assert (segments[0].start, segments[-1].end) == (0.25, pytest.approx(track.end_s, abs=1e-3))
    assert all(a.end == b.start for a, b in pairwise(segments))


def test_a_change_of_place_is_a_border(analyzer: AudioEnvironment) -> None:
    rain, forest = clips.recording("water.wav"), clips.recording("amazon-rainforest.ogg")
    both = np.concatenate([rain[: 8 * clips.RATE_HZ], forest[: 8 * clips.RATE_HZ]])
    segments = report(analyzer, clips.track(both)).segments
    rainy = [s.end for s in segments if "weather" in {label.name for label in s.labels}]
    assert max(rainy) == pytest.approx(8, abs=1.5)


def test_a_long_sound_in_parts_is_heard_as_one(analyzer: AudioEnvironment) -> None:
    song = clips.song("D major", 120, 12)[0]
    half = 6 * clips.RATE_HZ
    found = report(analyzer, clips.track(song[:half], last=False), clips.track(song[half:], 6.0, index=1))
    assert [(s.start, s.end) for s in found.segments] == [(0, 12)]


def test_no_samples_give_an_empty_report(analyzer: AudioEnvironment) -> None:
    found = report(analyzer, clips.track([]))
    assert (found.segments, found.summary.dominant, found.summary.shares) == ([], None, {})


def test_a_single_second_is_no_surrounding_and_a_dip_does_not_end_one() -> None:
    scores = np.zeros((12, len(NAMES)))
    street = NAMES.index("street")
    scores[3, street] = 0.7
    assert not present(np.where(scores > 0, 0.3, 0), np.zeros(12, bool)).any()
    scores[:, street] = 0.5
    scores[6, street] = 0.0
    assert present(scores, np.zeros(12, bool))[:, street].all()


def test_where_noise_is_surer_rain_is_not_claimed() -> None:
    scores = np.zeros((6, len(NAMES)))
    scores[:, NAMES.index("noise")], scores[:, NAMES.index("weather")] = 0.6, 0.4
    heard = present(scores, np.zeros(6, bool))
    assert [NAMES[i] for i in np.flatnonzero(heard[0])] == ["noise"]


def test_voice_is_dominant_only_alone() -> None:
    assert dominant({"voice": 1.0, "street": 0.2}) == "street"
    assert dominant({"nature": 0.8, "outdoor": 0.8}) == "nature"
    assert dominant({"voice": 0.5, "silence": 0.4}) == "voice"
    assert dominant({}) is None


def test_the_table_in_the_docs_names_every_class(analyzer: AudioEnvironment) -> None:
    page = (Path(__file__).parents[2] / "docs" / "audio_environment.md").read_text(encoding="utf-8")
    rows = dict(line.strip("| ").split(" | ", 1) for line in page.splitlines() if line.startswith("| `"))
    for name, classes in SURROUNDINGS.items():
        assert rows[f"`{name}`"] == "; ".join(analyzer._tagger.names[number] for number in classes)


def test_parts_are_small_and_weights_are_named(analyzer: AudioEnvironment, tmp_path: Path) -> None:
    assert len(pickle.dumps(analyzer.analyze(clips.track(clips.speech())))) < 10_000
    with pytest.raises(ModelUnavailable, match="yamnet"):
        AudioEnvironment().load("cpu", Profile("embedded", tmp_path))
