"""Makes sounds whose truth is known: beats, keys, levels, gaps, speech alone and over music, and what is no speech.

All functions return mono float32 samples in -1..1 at `RATE_HZ` unless they say otherwise. Levels are in dB relative to
full scale; `rms_db` of a full-scale square wave is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.types import SAMPLE_RATE_HZ, AudioTrack
from tests.media import music
from tests.media.encode import write_clip
from tests.media.packages import package_file
from tests.media.speech_synth import speak

RATE_HZ: Final = SAMPLE_RATE_HZ
JFK_TEXT: Final = (
    "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"
)
"""What is said in jfk.wav, 11 s of real English speech from 1961."""
JFK_SPOKEN: Final = ((0.33, 2.25), (3.30, 4.40), (5.40, 7.65), (8.20, 10.40))
"""Where it is said, in seconds, read off the waveform."""
GERMAN_TEXT: Final = (
    "Guten Tag und herzlich willkommen. Heute zeige ich euch meine neue Küche. "
    "Das Wetter ist schön, und wir gehen später in den Park."
)
PITCH_CLASSES: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

Samples = npt.NDArray[np.float32]


def track(samples: npt.ArrayLike, start_s: float = 0.0, *, index: int = 0, last: bool = True) -> AudioTrack:
    """Samples at 16 kHz as analyzers get them."""
    return AudioTrack("clip", np.asarray(samples, np.float32), RATE_HZ, start_s, index, last)


def write_sound(path: Path, samples: Samples, rate_hz: int = RATE_HZ) -> Path:
    """A file with sound only; its suffix names the container."""
    return write_clip(path, None, sound=samples, sound_rate=rate_hz)


def _times(duration_s: float, rate_hz: int = RATE_HZ) -> npt.NDArray[np.float64]:
    return np.arange(round(duration_s * rate_hz)) / rate_hz


def silence(duration_s: float) -> Samples:
    """Digital zero."""
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


def sine(duration_s: float, hz: float = 1000.0, peak_db: float = -23.0, rate_hz: int = RATE_HZ) -> Samples:
    """A steady tone with the given peak level."""
    return (10 ** (peak_db / 20) * np.sin(2 * np.pi * hz * _times(duration_s, rate_hz))).astype(np.float32)


def noise(duration_s: float, rms_db: float = -20.0, seed: int = 0) -> Samples:
    """White noise."""
    random = np.random.default_rng(seed).standard_normal(round(duration_s * RATE_HZ))
    return np.clip(10 ** (rms_db / 20) * random, -1, 1).astype(np.float32)


def clicks(bpm: float, duration_s: float, first_s: float = 0.25, accent_every: int = 0) -> tuple[Samples, list[float]]:
    """A metronome, and the times of its clicks: 30 ms of a decaying 1.2 kHz tone; every n-th louder and higher."""
    samples = np.zeros(round(duration_s * RATE_HZ))
    beats = list(np.arange(first_s, duration_s - 0.05, 60 / bpm))
    length = round(0.03 * RATE_HZ)
    t = np.arange(length) / RATE_HZ
    for number, beat_s in enumerate(beats):
        accent = accent_every > 0 and number % accent_every == 0
        click = np.sin(2 * np.pi * (1800 if accent else 1200) * t) * np.exp(-t / 0.006)
        start = round(beat_s * RATE_HZ)
        samples[start : start + length] += click * (0.8 if accent else 0.5)
    return samples.astype(np.float32), [float(b) for b in beats]


def drums(bpm: float, duration_s: float, seed: int = 0) -> tuple[Samples, list[float]]:
    """Kick on 1 and 3, snare on 2 and 4, hi-hat on eighths, and the times of the beats."""
    random = np.random.default_rng(seed)
    samples = np.zeros(round(duration_s * RATE_HZ) + RATE_HZ)
    beats = list(np.arange(0.1, duration_s - 0.2, 60 / bpm))
    t = np.arange(round(0.2 * RATE_HZ)) / RATE_HZ
    kick = np.sin(2 * np.pi * (45 * t + 6 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / 0.06) * 0.8
    snare = random.standard_normal(len(t)) * np.exp(-t / 0.05) * 0.3
    hat = np.diff(random.standard_normal(len(t) + 1)) * np.exp(-t / 0.01) * 0.08
    for number, beat_s in enumerate(beats):
        for sound, at_s in ((snare if number % 2 else kick, beat_s), (hat, beat_s), (hat, beat_s + 30 / bpm)):
            start = round(at_s * RATE_HZ)
            samples[start : start + len(sound)] += sound
    return np.clip(samples[: round(duration_s * RATE_HZ)], -1, 1).astype(np.float32), [float(b) for b in beats]


def _note(hz: float, duration_s: float) -> npt.NDArray[np.float64]:
    """A plucked tone with six harmonics."""
    t = _times(duration_s)
    tone = sum(np.sin(2 * np.pi * hz * h * t) / h**1.3 for h in range(1, 7) if hz * h < RATE_HZ / 2)
    return np.asarray(tone) * np.exp(-1.5 * t) * np.minimum(1, t / 0.01) * np.minimum(1, (duration_s - t) / 0.02)


def chords(key: str, duration_s: float, chord_s: float = 1.0) -> Samples:
    """A cadence that establishes a key (``"A minor"``): I IV V I, or i iv V i, over and over, with its bass."""
    tonic_name, mode = key.split()
    tonic = PITCH_CLASSES.index(tonic_name)
    third = 4 if mode == "major" else 3
    cadence = [(0, third), (5, third), (7, 4), (0, third)]
    pieces: list[npt.NDArray[np.float64]] = []
    for number in range(int(np.ceil(duration_s / chord_s))):
        root, chord_third = cadence[number % 4]
        midi = [36 + (tonic + root) % 12] + [60 + (tonic + root + step) % 12 for step in (0, chord_third, 7)]
        notes = [_note(440 * 2 ** ((m - 69) / 12), chord_s) for m in midi]
        pieces.append(np.sum(notes, axis=0))
    samples = np.concatenate(pieces)[: round(duration_s * RATE_HZ)]
    return (0.1 * samples).astype(np.float32)


def song(key: str, bpm: float, duration_s: float) -> tuple[Samples, list[float]]:
    """Drums with chords on the beat, and the times of the beats."""
    rhythm, beats = drums(bpm, duration_s)
    shifted = np.concatenate([silence(beats[0]), chords(key, duration_s, chord_s=4 * 60 / bpm)])[: len(rhythm)]
    return np.clip(rhythm * 0.5 + shifted, -1, 1).astype(np.float32), beats


def speech() -> Samples:
    """jfk.wav: 11 s of real English speech."""
    return _jfk().copy()


@cache
def _jfk() -> Samples:
    import soundfile

    samples, rate_hz = soundfile.read(str(package_file("jfk.wav")), dtype="float32")
    assert rate_hz == RATE_HZ, rate_hz
    return np.asarray(samples, np.float32)


LOOP_BEATS: Final = {
    "loop_amen": 4, "loop_amen_full": 16, "loop_breakbeat": 4, "loop_compus": 16, "loop_garzul": 16,
    "loop_industrial": 2, "loop_mika": 16, "loop_safari": 16, "loop_tabla": 16,
}  # fmt: skip
"""Beats of real drum loops that were cut to whole bars, so that their lengths are their tempos."""


def loop(name: str, duration_s: float) -> tuple[Samples, float]:
    """A real drum loop of `LOOP_BEATS`, repeated to a length, and its tempo in beats per minute."""
    once = recording(name + ".flac")
    return np.resize(once, round(duration_s * RATE_HZ)), 60 * LOOP_BEATS[name] / (len(once) / RATE_HZ)


def recording(name: str) -> Samples:
    """A sound file of the media packages (tests/media/packages.py), mixed to mono at 16 kHz."""
    return _recording(name).copy()


@cache
def _recording(name: str) -> Samples:
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    pieces: list[npt.NDArray[np.float32]] = []
    with av.open(str(package_file(name))) as container:
        for frame in (*container.decode(audio=0), None):
            if frame is not None:
                frame.pts = None
            pieces += [out.to_ndarray().ravel() for out in resampler.resample(frame)]
    return np.concatenate(pieces).astype(np.float32)


def german() -> Samples:
    """`GERMAN_TEXT` by a synthetic voice."""
    return _german().copy()


@cache
def _german() -> Samples:
    from scipy.signal import resample_poly

    samples, rate_hz = speak(GERMAN_TEXT, "de")
    return np.asarray(resample_poly(samples, RATE_HZ, rate_hz), np.float32)


def mixed(front: Samples, back: Samples, ratio_db: float) -> Samples:
    """Two sounds together, `front` louder than `back` by `ratio_db` (RMS over all of it), scaled below full scale."""
    back = np.resize(back, len(front))
    loudness = [np.sqrt(np.mean(sound.astype(np.float64) ** 2)) for sound in (front, back)]
    gain = loudness[0] / loudness[1] * 10 ** (-ratio_db / 20)
    both = front + gain * back
    return np.asarray(both / max(1.0, float(np.abs(both).max()) / 0.99), np.float32)


def effects() -> dict[str, Samples]:
    """The generated effects of tests/media/music.py by kind, peak 1."""
    from scipy.signal import resample_poly

    makers = (music.impact, music.whoosh, music.riser, music.click, music.beep, music.ding, music.pop)
    return {make.__name__: np.asarray(resample_poly(make(), RATE_HZ, music.RATE), np.float32) for make in makers}


REAL_EFFECTS: Final = {
    "impact": ("perc_impact1", "perc_impact2", "perc_door"), "whoosh": ("perc_swoosh", "ambi_swoosh"),
    "click": ("perc_snap", "perc_snap2", "elec_tick"), "beep": ("elec_blip2", "elec_twip"),
    "ding": ("perc_bell", "elec_triangle", "elec_ping"), "pop": ("elec_pop", "elec_plip"),
}  # fmt: skip
"""Recorded and synthesizer sounds of the media packages, by the kind that their names say."""


def laid_over(
    bed: Samples, sounds: Sequence[tuple[float, Samples]], ratio_db: float | None = None, peak: float = 0.3
) -> Samples:
    """A bed with sounds at times in seconds, scaled below full scale.

    Their loudest 50 ms are `ratio_db` above the RMS of the bed; without a ratio their peak is `peak`.
    """
    both = bed.astype(np.float64)
    level = np.sqrt(np.mean(both**2))
    window = RATE_HZ // 20
    for at_s, sound in sounds:
        first = round(at_s * RATE_HZ)
        piece = sound[: len(both) - first].astype(np.float64)
        loudest = np.sqrt(np.convolve(piece**2, np.ones(window) / window).max())
        both[first : first + len(piece)] += piece * (
            peak / np.abs(piece).max() if ratio_db is None else level * 10 ** (ratio_db / 20) / loudest
        )
    return np.asarray(both / max(1.0, float(np.abs(both).max()) / 0.99), np.float32)


def with_gaps(duration_s: float, gaps: list[tuple[float, float]], level_db: float = -20.0) -> Samples:
    """Noise that is silent in the given stretches."""
    samples = noise(duration_s, level_db)
    for start_s, end_s in gaps:
        samples[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] = 0
    return samples


def not_speech() -> dict[str, Samples]:
    """Ten seconds each of what must give no words, by name."""
    t = _times(10)
    return {
        "silence": silence(10),
        "white noise": noise(10),
        "loud noise": noise(10, -6),
        "hum": (0.1 * np.sign(np.sin(2 * np.pi * 50 * t))).astype(np.float32),
        "sine": sine(10, 220, -10),
        "chirp": (0.3 * np.sin(2 * np.pi * (100 * t + 100 * t**2))).astype(np.float32),
        "chords": chords("A minor", 10),
        "song": song("C major", 120, 10)[0],
        "metronome": clicks(100, 10)[0],
        "constant": np.full(len(t), 0.5, np.float32),
        "clipped noise": np.clip(noise(10, 0) * 4, -1, 1).astype(np.float32),
    }
