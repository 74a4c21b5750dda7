"""Audio analysis: figures on sounds of known truth, nulls where there is nothing, and the edges of the input."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from analyzers.audio_analysis import AudioAnalysis, AudioReport
from benchmarks.truth import run_analyzer
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import AudioTrack
from tests.media import audio_clips as clips

FACTS = VideoFacts(source="", sha256="", bytes=0, duration_s=0)


@pytest.fixture(scope="module")
def analyzer() -> AudioAnalysis:
    loaded = AudioAnalysis()
    loaded.load("cpu", Profile("embedded", load_settings().models_dir))
    return loaded


def report(analyzer: AudioAnalysis, *tracks: AudioTrack) -> AudioReport:
    return analyzer.summarize([analyzer.analyze(track) for track in tracks], Upstream(FACTS))


@pytest.mark.parametrize("bpm", [72, 100, 128, 174])
def test_a_metronome_has_its_tempo_and_beats(analyzer: AudioAnalysis, bpm: float) -> None:
    samples, beats = clips.clicks(bpm, 10)
    summary = report(analyzer, clips.track(samples, 2.0)).summary
    assert summary.tempo_bpm == pytest.approx(bpm, rel=0.02)
    assert len(summary.beats) == pytest.approx(len(beats), abs=1)
    assert max(min(abs(b + 2.0 - f) for f in summary.beats) for b in beats[1:-1]) < 0.05


@pytest.mark.parametrize("key", ["C major", "F# major", "A minor", "D# minor"])
def test_a_cadence_has_its_key(analyzer: AudioAnalysis, key: str) -> None:
    assert report(analyzer, clips.track(clips.chords(key, 6))).summary.key == key


def test_a_detuned_cadence_keeps_its_key(analyzer: AudioAnalysis) -> None:
    samples = clips.chords("E minor", 7)
    detuned = np.interp(np.arange(0, len(samples) - 1, 2 ** (0.3 / 12)), np.arange(len(samples)), samples)
    assert report(analyzer, clips.track(detuned)).summary.key == "E minor"


def test_the_reference_tone_has_its_loudness(analyzer: AudioAnalysis) -> None:
    summary = report(analyzer, clips.track(clips.sine(5, 1000, -23))).summary
    assert summary.loudness_lufs == pytest.approx(-26.01, abs=0.1)  # one channel; both together are -23
    assert summary.peak_db == pytest.approx(-23, abs=0.1)


def test_the_reference_tone_in_stereo_has_its_loudness_and_is_not_distorted(
    analyzer: AudioAnalysis, tmp_path: Path
) -> None:
    import soundfile

    for peak_db in (-23.0, -0.1):  # EBU Tech 3341, case 1: both channels at -23 dBFS are -23 LUFS
        tone = clips.sine(5, 1000, peak_db, 48_000)
        soundfile.write(tmp_path / "stereo.wav", np.stack([tone, tone], axis=1), 48_000)
        found: AudioReport = run_analyzer(analyzer, tmp_path / "stereo.wav")
        assert found.summary.loudness_lufs == pytest.approx(peak_db, abs=0.1)
        assert found.segments[2].flatness == pytest.approx(0, abs=1e-3)
        assert found.segments[2].rolloff_hz == pytest.approx(1000, abs=20)


def test_loudness_in_steps_and_parts_is_what_the_library_gives_the_whole(analyzer: AudioAnalysis) -> None:
    import pyloudnorm
    from scipy.signal import resample_poly

    speech = clips.speech()
    expected = pyloudnorm.Meter(48_000).integrated_loudness(resample_poly(speech, 3, 1))
    half = 5 * clips.RATE_HZ
    parts = report(analyzer, clips.track(speech[:half], last=False), clips.track(speech[half:], 5.0, index=1))
    for found in (report(analyzer, clips.track(speech)), parts):
        assert found.summary.loudness_lufs == pytest.approx(expected, abs=0.1)


def test_a_steady_tone_has_no_loudness_range_and_two_levels_have_theirs(analyzer: AudioAnalysis) -> None:
    # EBU Tech 3342, minimum requirements, case 1: 20 s at -20, 20 s at -30 dBFS have a range of 10 LU.
    quiet, loud = clips.sine(20, 1000, -30), clips.sine(20, 1000, -20)
    assert report(analyzer, clips.track(loud)).summary.loudness_range_lu == pytest.approx(0, abs=0.1)
    both = report(analyzer, clips.track(np.concatenate([loud, quiet])))
    assert both.summary.loudness_range_lu == pytest.approx(10, abs=1)


def test_silences_have_their_times(analyzer: AudioAnalysis) -> None:
    gaps = [(1.0, 2.0), (3.2, 3.7)]
    found = report(analyzer, clips.track(clips.with_gaps(5, gaps), 1.5)).summary.silences
    assert np.allclose(found, np.array(gaps) + 1.5, atol=0.1)


def test_speech_and_music_are_told_apart(analyzer: AudioAnalysis) -> None:
    speech = report(analyzer, clips.track(clips.speech())).summary
    song = report(analyzer, clips.track(clips.song("G major", 110, 10)[0])).summary
    assert (speech.speech_share, speech.music_share) == (1, 0)
    assert (song.speech_share, song.music_share) == (0, 1)
    assert speech.tempo_bpm is None
    assert speech.key is None


@pytest.mark.parametrize("samples", [clips.silence(4), np.full(64_000, 0.5, np.float32)], ids=["silence", "constant"])
def test_silence_has_no_tempo_key_or_loudness(analyzer: AudioAnalysis, samples: clips.Samples) -> None:
    found = report(analyzer, clips.track(samples))
    summary = found.summary
    assert (summary.tempo_bpm, summary.beats, summary.key, summary.loudness_lufs) == (None, [], None, None)
    assert summary.silences == [(0, 4)]
    assert all(s.centroid_hz is None and s.speech < 0.1 and s.music < 0.1 for s in found.segments)


def test_noise_has_no_tempo_and_no_key(analyzer: AudioAnalysis) -> None:
    summary = report(analyzer, clips.track(clips.noise(10))).summary
    assert (summary.tempo_bpm, summary.key) == (None, None)


def test_clipping_is_measured(analyzer: AudioAnalysis) -> None:
    clipped = report(analyzer, clips.track(np.clip(clips.noise(3, 0) * 4, -1, 1))).summary
    assert clipped.full_scale_share > 0.1
    assert clipped.peak_db == pytest.approx(0, abs=0.01)
    assert report(analyzer, clips.track(clips.sine(3, 440, 0))).summary.full_scale_share < 0.05


@pytest.mark.parametrize("count", [1, 160, 3_999, 16_000, 17_000, 25_000])
def test_segments_cover_the_sound_without_gaps(analyzer: AudioAnalysis, count: int) -> None:
    track = clips.track(clips.noise(2)[:count], 0.25)
    segments = report(analyzer, track).segments
    assert segments[0].start == 0.25
    assert segments[-1].end == pytest.approx(track.end_s, abs=1e-3)
    assert all(a.end == b.start for a, b in pairwise(segments))


def test_no_samples_give_an_empty_report(analyzer: AudioAnalysis) -> None:
    found = report(analyzer, clips.track([]))
    assert found.segments == []
    assert found.summary.loudness_lufs is None
    assert found.summary.timbre.centroid_hz is None


def test_a_long_sound_in_parts_gives_the_figures_of_one(analyzer: AudioAnalysis) -> None:
    samples, _ = clips.song("D major", 120, 24)
    half = 12 * clips.RATE_HZ
    whole = report(analyzer, clips.track(samples)).summary
    parts = report(
        analyzer, clips.track(samples[:half], last=False), clips.track(samples[half:], 12.0, index=1)
    ).summary
    assert parts.tempo_bpm == pytest.approx(whole.tempo_bpm, rel=0.005)
    assert parts.loudness_lufs == pytest.approx(whole.loudness_lufs, abs=0.05)
    assert parts.key == whole.key
    assert len(parts.beats) == pytest.approx(len(whole.beats), abs=1)


def test_two_runs_give_the_same_report_and_small_parts(analyzer: AudioAnalysis) -> None:
    track = clips.track(clips.mixed(clips.speech(), clips.song("C major", 90, 11)[0], 3))
    assert report(analyzer, track) == report(analyzer, track)
    assert len(pickle.dumps(analyzer.analyze(track))) < 100_000


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="yamnet"):
        AudioAnalysis().load("cpu", Profile("embedded", tmp_path))


def test_it_is_sent_to_workers_before_it_is_loaded() -> None:
    assert pickle.loads(pickle.dumps(AudioAnalysis())).spec.name == "audio_analysis"
