"""What surrounds: real rain, rainforest, train, drums and speech, generated song; nothing claimed where nothing is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyzers.audio_environment import AudioEnvironment, EnvironmentReport
from benchmarks.truth import Figure
from pipeline.analyzer import Profile
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from tests.media import audio_clips

NAME = "audio_environment"
PLACES = frozenset({"crowd", "street", "vehicle", "nature", "weather", "water", "home", "room", "hall", "machine"})
"""What no generated tone, click, hiss or silence may be taken for."""


def scene() -> tuple[audio_clips.Samples, list[tuple[float, float, str]]]:
    """Rain, silence, a song, a rainforest, a voice, a train, one after another, and where each is."""
    pieces = [
        ("weather", audio_clips.recording("water.wav")[: 10 * audio_clips.RATE_HZ]),
        ("silence", audio_clips.silence(5)),
        ("music_bed", audio_clips.song("A minor", 110, 8)[0]),
        ("nature", audio_clips.recording("amazon-rainforest.ogg")[: 10 * audio_clips.RATE_HZ]),
        ("voice", audio_clips.speech()),
        ("vehicle", audio_clips.recording("train.ogg")[: 10 * audio_clips.RATE_HZ]),
    ]
    ends = np.cumsum([len(samples) for _, samples in pieces]) / audio_clips.RATE_HZ
    starts = [0.0, *ends[:-1]]
    spans = [(float(a), float(b), name) for a, b, (name, _) in zip(starts, ends, pieces, strict=True)]
    return np.concatenate([samples for _, samples in pieces]), spans


def share_named(report: EnvironmentReport, spans: Sequence[tuple[float, float, str]]) -> float:
    """Share of the time in which the report has the label of the truth."""
    right = sum(
        max(0.0, min(segment.end, end) - max(segment.start, start))
        for start, end, name in spans
        for segment in report.segments
        if name in {label.name for label in segment.labels}
    )
    return right / sum(end - start for start, end, _ in spans)


def measure() -> list[Figure]:
    """Run the analyzer over real and generated sound."""
    analyzer = AudioEnvironment()
    analyzer.load("cpu", Profile("embedded", load_settings().models_dir))
    facts = VideoFacts(source="", sha256="", bytes=0, duration_s=0)

    def heard(samples: audio_clips.Samples) -> EnvironmentReport:
        return analyzer.summarize([analyzer.analyze(audio_clips.track(samples))], Upstream(facts))

    def whole(samples: audio_clips.Samples, name: str) -> float:
        return heard(samples).summary.shares.get(name, 0.0)

    def minute(name: str) -> audio_clips.Samples:
        return audio_clips.recording(name)[: 60 * audio_clips.RATE_HZ]

    samples, spans = scene()
    scened = heard(samples)
    loops = [audio_clips.loop(name, 8)[0] for name in audio_clips.LOOP_BEATS]
    under = audio_clips.mixed(audio_clips.speech(), audio_clips.song("C major", 110, 11)[0], 10)
    empty = [
        heard(sound) for name, sound in audio_clips.not_speech().items() if name not in {"chords", "song"}
    ]  # tones, noises, clicks, silence: 90 s
    claimed_s = sum(s.end - s.start for r in empty for s in r.segments if PLACES & {label.name for label in s.labels})
    music_s = sum(s.end - s.start for r in empty for s in r.segments if "music_bed" in {la.name for la in s.labels})
    silent = heard(audio_clips.silence(10))
    return [
        Figure(NAME, "six scenes in a row: share of time with the right label", share_named(scened, spans), 0.85),
        Figure(NAME, "real rain, 60 s: share heard as weather", whole(minute("water.wav"), "weather"), 0.8),
        Figure(NAME, "real rainforest, 60 s: share as nature", whole(minute("amazon-rainforest.ogg"), "nature"), 0.8),
        Figure(NAME, "real train, 60 s: share as vehicle", whole(minute("train.ogg"), "vehicle"), 0.9),
        Figure(NAME, "nine real drum loops: share as music bed", np.mean([whole(x, "music_bed") for x in loops]), 0.9),
        Figure(NAME, "speech over music 10 dB below: share as music bed", whole(under, "music_bed"), 0.9),
        Figure(NAME, "real speech alone: share as voice", whole(audio_clips.speech(), "voice"), 0.95),
        Figure(NAME, "silence: share as silence and nothing else", share_named(silent, [(0, 10, "silence")]), 1),
        Figure(NAME, "tones, noise, clicks, silence, 90 s: share with a place", claimed_s / 90, 0.02, at_most=True),
        Figure(NAME, "the same: share with a music bed", music_s / 90, 0.05, at_most=True),
    ]
