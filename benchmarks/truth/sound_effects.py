"""Effects at known times alone, over speech and over music; none in speech, songs, drums, metronomes, places and noise.

The ratio of an effect to its bed is of its loudest 50 ms to the bed's RMS. A found effect is right within 0.1 s of the
truth: onsets, a whoosh's loudest moment, a riser's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyzers.sound_effects import EffectsReport, SoundEffects
from benchmarks.truth import Figure
from pipeline.analyzer import Profile
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from tests.media import audio_clips
from tests.media.speech_synth import speak

NAME = "sound_effects"
PLACES = ("water.wav", "amazon-rainforest.ogg", "train.ogg")
WITHIN_S = 0.1
MARKS_S = {"whoosh": 0.34, "riser": 2.0}
"""Where a generated effect's mark is, from its first sample; others begin at once."""


@dataclass
class Tally:
    """Effects laid, found at their times, found with their kinds too, and claims in all."""

    laid: int = 0
    timed: int = 0
    named: int = 0
    claimed: int = 0

    def add(self, report: EffectsReport, truth: Sequence[tuple[float, str]]) -> None:
        """Match one report with (time, kind) of the truth."""
        self.laid += len(truth)
        self.claimed += len(report.segments)
        for time_s, kind in truth:
            near = {s.kind for s in report.segments if abs(s.time - time_s) <= WITHIN_S}
            self.timed += bool(near)
            self.named += kind in near

    @property
    def f1(self) -> float:
        """F1 of times."""
        return 2 * self.timed / max(1, self.laid + self.claimed)


def laid(bed: audio_clips.Samples, ratio_db: float | None) -> tuple[audio_clips.Samples, list[tuple[float, str]]]:
    """Each generated effect once over a bed of 21 s, and (mark, kind) of each."""
    sounds = audio_clips.effects()
    at_s = {kind: 1.23 + 2.71 * number for number, kind in enumerate(sounds)}
    samples = audio_clips.laid_over(bed, [(at_s[kind], sound) for kind, sound in sounds.items()], ratio_db)
    return samples, [(at_s[kind] + MARKS_S.get(kind, 0.0), kind) for kind in sounds]


def real_laid(bed: audio_clips.Samples, ratio_db: float | None) -> tuple[audio_clips.Samples, list[tuple[float, str]]]:
    """Recorded sudden effects, each once, over a bed of 36 s."""
    names = [(kind, name) for kind, members in audio_clips.REAL_EFFECTS.items() if kind != "whoosh" for name in members]
    placed = [(1.1 + 2.57 * number, kind, name) for number, (kind, name) in enumerate(names)]
    # An effect's tail is cut before the next one begins.
    sounds = [(at_s, audio_clips.recording(name + ".flac")[: 2 * audio_clips.RATE_HZ]) for at_s, _, name in placed]
    return audio_clips.laid_over(bed, sounds, ratio_db), [(at_s, kind) for at_s, kind, _ in placed]


def without_effects() -> dict[str, audio_clips.Samples]:
    """Speech, songs, drums, metronomes, places, tones and noise: several minutes."""
    from scipy.signal import resample_poly

    spoken = {
        "en-us+f3": "Nobody expects that this little trick works so well. Just keep stirring until it sticks.",
        "fr": "Aujourd'hui, je vous présente une recette très facile avec seulement quatre ingrédients.",
        "it": "Ciao a tutti, oggi prepariamo insieme una cosa buonissima e molto semplice.",
    }
    voices = {voice: speak(text, voice) for voice, text in spoken.items()}
    return {
        **{
            f"speech {v}": np.asarray(resample_poly(s, audio_clips.RATE_HZ, r), np.float32)
            for v, (s, r) in voices.items()
        },
        "real speech": audio_clips.speech(),
        "German": audio_clips.german(),
        "speech over a song": audio_clips.mixed(audio_clips.speech(), audio_clips.song("F major", 104, 11)[0], 8),
        **{f"song at {bpm}": audio_clips.song("E minor", bpm, 15)[0] for bpm in (64, 96, 133, 172)},
        **{name: audio_clips.loop(name, 12)[0] for name in audio_clips.LOOP_BEATS},
        **{f"metronome at {bpm}": audio_clips.clicks(bpm, 12)[0] for bpm in (60, 140)},
        **{name: audio_clips.recording(name)[: 30 * audio_clips.RATE_HZ] for name in PLACES},
        **audio_clips.not_speech(),
    }


def measure() -> list[Figure]:
    """Run the analyzer over composed and real sound."""
    analyzer = SoundEffects()
    analyzer.load("cpu", Profile("embedded", load_settings().models_dir))
    facts = VideoFacts(source="", sha256="", bytes=0, duration_s=0)

    def heard(samples: audio_clips.Samples) -> EffectsReport:
        return analyzer.summarize([analyzer.analyze(audio_clips.track(samples))], Upstream(facts))

    def tally(beds: Sequence[audio_clips.Samples], ratio_db: float | None, *, real: bool = False) -> Tally:
        found = Tally()
        for bed in beds:
            samples, truth = (real_laid if real else laid)(bed, ratio_db)
            found.add(heard(samples), truth)
        return found

    speech = [np.resize(sound, 21 * audio_clips.RATE_HZ) for sound in (audio_clips.speech(), audio_clips.german())]
    songs = [audio_clips.song("G major", bpm, 21)[0] for bpm in (88, 126)]
    drums = [audio_clips.loop(name, 21)[0] for name in ("loop_safari", "loop_breakbeat")]
    alone = tally([audio_clips.noise(21, -55)], None)
    over_speech, over_music = tally(speech, 15), tally([*songs, *drums], 15)
    faint = tally([speech[1], *songs, drums[0]], 6)
    real = tally([audio_clips.noise(36, -55)], None, real=True)
    real_over = tally([audio_clips.song("G major", 100, 36)[0], audio_clips.loop("loop_safari", 36)[0]], 15, real=True)
    negatives = without_effects()
    minutes = sum(len(samples) for samples in negatives.values()) / audio_clips.RATE_HZ / 60
    claims = sum(len(heard(samples).segments) for samples in negatives.values())
    return [
        Figure(NAME, "7 kinds over room noise: F1 of times within 0.1 s", alone.f1, 0.95),
        Figure(NAME, "the same: share with the right kind", alone.named / alone.laid, 0.95),
        Figure(NAME, "over real and synthetic speech, +15 dB: F1", over_speech.f1, 0.8),
        Figure(NAME, "the same: share of those found with the right kind", over_speech.named / over_speech.timed, 0.9),
        Figure(NAME, "over songs and real drums, +15 dB: F1", over_music.f1, 0.9),
        Figure(NAME, "the same: share of those found with the right kind", over_music.named / over_music.timed, 0.9),
        Figure(NAME, "over four of them, +6 dB: precision of times", faint.timed / max(1, faint.claimed), 0.9),
        Figure(NAME, "13 real sounds over room noise: F1", real.f1, 0.85),
        Figure(NAME, "the same over a song and drums, +15 dB: F1", real_over.f1, 0.8),
        Figure(NAME, "the same, both: share of those found with the right kind",
               (real.named + real_over.named) / (real.timed + real_over.timed), 0.6),
        Figure(NAME, f"claims per minute in {minutes:.1f} min without effects", claims / minutes, 0.3, at_most=True),
    ]  # fmt: skip
