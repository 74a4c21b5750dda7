"""Pauses of known places and lengths, fillers at known times, and none in fluent speech, synthetic and real."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from analyzers.speech_flow import FlowReport, SpeechFlow
from analyzers.speech_transcription import SpeechTranscription
from benchmarks.truth import Figure
from pipeline.analyzer import Profile
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from tests.media import audio_clips
from tests.media.speech_synth import speak

NAME = "speech_flow"
WITHIN_S = 0.15
ENGLISH = ("Today we bake a simple bread.", "First we mix the flour with water.", "Then it has to rest for an hour.")
GERMAN = ("Heute backen wir ein einfaches Brot.", "Zuerst mischen wir Mehl mit Wasser.", "Dann muss es ruhen.")
Truth = list[tuple[float, float, str]]


@cache
def said(text: str, voice: str, rate_wpm: int = 150) -> audio_clips.Samples:
    """A text at 16 kHz, without the silence around it."""
    from scipy.signal import resample_poly

    samples, rate_hz = speak(text, voice, rate_wpm)
    spoken = np.asarray(resample_poly(samples, audio_clips.RATE_HZ, rate_hz), np.float32)
    loud = np.flatnonzero(np.abs(spoken) > 0.01)
    return spoken[loud[0] : loud[-1] + 1]


def joined(
    pieces: Sequence[audio_clips.Samples | float], fillers: Sequence[int] = ()
) -> tuple[audio_clips.Samples, Truth]:
    """Sounds and pauses (in seconds) one after another, and (start, end, kind) of each pause and filler between."""
    sounds, truth, at_s = [audio_clips.silence(0.5)], [], 0.5
    for number, piece in enumerate(pieces):
        samples = audio_clips.silence(piece) if isinstance(piece, float) else piece
        length_s = len(samples) / audio_clips.RATE_HZ
        if isinstance(piece, float) or number in fillers:
            truth.append((at_s, at_s + length_s, "pause" if isinstance(piece, float) else "filler"))
        sounds.append(samples)
        at_s += length_s
    return np.concatenate([*sounds, audio_clips.silence(0.5)]), truth


def found_share(report: FlowReport, truth: Truth, kind: str) -> float:
    """F1 of pauses or fillers, both borders within `WITHIN_S`."""
    wanted = [(a, b) for a, b, what in truth if what == kind]
    found = [(s.start, s.end) for s in report.segments if s.kind == kind]
    hits = sum(any(abs(a - c) <= WITHIN_S and abs(b - d) <= WITHIN_S for c, d in found) for a, b in wanted)
    return 2 * hits / max(1, len(wanted) + len(found))


def measure() -> list[Figure]:
    """Run the transcription and the analyzer over composed and real speech."""
    profile = Profile("embedded", load_settings().models_dir)
    transcription, analyzer = SpeechTranscription(), SpeechFlow()
    transcription.load("cpu", profile)
    analyzer.load("cpu", profile)
    facts = VideoFacts(source="", sha256="", bytes=0, duration_s=0)

    def heard(samples: audio_clips.Samples) -> FlowReport:
        track = audio_clips.track(samples)
        words = transcription.summarize([transcription.analyze(track)], Upstream(facts))
        return analyzer.summarize([analyzer.analyze(track)], Upstream(facts, {"speech_transcription": words}))

    english, german = [said(t, "en-us") for t in ENGLISH], [said(t, "de") for t in GERMAN]
    paused = [
        joined([english[0], 0.5, english[1], 1.4, english[2]]),
        joined([german[0], 0.9, german[1], 2.2, german[2]]),
    ]
    um = [said("uhm", "en-us", 85), said("erm", "en", 90), said("äh", "de", 80)]
    filled = [
        joined([english[0], 0.4, um[0], 0.35, english[1], 0.4, um[1], 0.4, english[2]], [2, 6]),
        joined([german[0], 0.4, um[2], 0.4, german[1], 0.6, german[2]], [2]),
    ]
    pauses = [(heard(samples), truth) for samples, truth in paused]
    fillers = [(heard(samples), truth) for samples, truth in filled]
    fluent = heard(joined([np.concatenate(english)])[0])
    real = heard(audio_clips.speech())
    # Half a second of overlap with the pauses read off the waveform says little; their total says more.
    real_pauses = [(2.25, 3.30), (4.40, 5.40), (7.65, 8.20)]
    real_s = sum(b - a for a, b in real_pauses)
    covered = sum(
        max(0.0, min(s.end, b) - max(s.start, a)) for s in real.segments if s.kind == "pause" for a, b in real_pauses
    )
    over_music = heard(audio_clips.mixed(audio_clips.speech(), audio_clips.song("C major", 110, 11)[0], 12))
    invented = [heard(s) for s in (audio_clips.song("F major", 96, 8)[0], audio_clips.noise(8), audio_clips.silence(8))]
    dysfluent, clean = (fillers[0][0].summary.fluency or 0.0), (fluent.summary.fluency or 0.0)
    return [
        Figure(NAME, "synthetic speech, pauses of 0.5 to 2.2 s: F1, borders within 0.15 s",
               float(np.mean([found_share(r, t, "pause") for r, t in pauses])), 0.9),
        Figure(NAME, "fillers between pauses: F1, borders within 0.15 s",
               float(np.mean([found_share(r, t, "filler") for r, t in fillers])), 0.9),
        Figure(NAME, "the same: pauses around them, F1",
               float(np.mean([found_share(r, t, "pause") for r, t in fillers])), 0.8),
        Figure(NAME, "real speech: share of the three long pauses found", covered / real_s, 0.85),
        Figure(NAME, "fillers claimed in fluent, real and German speech and over music",
               sum(r.summary.fillers for r in (fluent, real, over_music, *(p for p, _ in pauses))), 0, True),
        Figure(NAME, "fluency of fluent speech, less that of the same with fillers", clean - dysfluent, 0.2),
        Figure(NAME, "segments where nobody speaks", sum(len(r.segments) for r in invented), 0, True),
    ]  # fmt: skip
