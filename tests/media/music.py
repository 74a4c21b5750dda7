"""Music and sound effects made with numpy, of known tempo, key, beats and onsets. Mono float32, 48 kHz."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

RATE: Final = 48_000
"""Sample rate in Hz."""
Samples = npt.NDArray[np.float32]

# A minor: Am F C G, one bar of four beats each; MIDI note numbers.
CHORDS: Final = ((57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62))
MELODY: Final = (76, 72, 69, 72, 77, 72, 69, 72, 76, 72, 67, 72, 74, 71, 67, 71)
"""One note a beat."""
KEY: Final = "A minor"


def _hz(note: int) -> float:
    return float(440.0 * 2 ** ((note - 69) / 12))


def _clock(seconds: float) -> npt.NDArray[np.float64]:
    return np.arange(int(seconds * RATE)) / RATE


def _add(track: Samples, sound: npt.NDArray[np.floating], at_s: float) -> None:
    first = round(at_s * RATE)
    count = min(len(sound), len(track) - first)
    if count > 0 and first >= 0:
        track[first : first + count] += sound[:count].astype(np.float32)


def song(seconds: float, tempo_bpm: float = 120.0) -> tuple[Samples, list[float]]:
    """Pad, bass, melody, kick, snare and hats in A minor: (samples, peak 1; times of the beats in seconds)."""
    track: Samples = np.zeros(int(seconds * RATE), np.float32)
    beat_s = 60.0 / tempo_bpm
    rng = np.random.default_rng(5)
    beats = [float(time) for time in np.arange(0, seconds, beat_s)]
    for number, time_s in enumerate(beats):
        chord = CHORDS[number // 4 % 4]
        if number % 4 == 0:
            t = _clock(4 * beat_s)
            envelope = np.minimum(1, t / 0.1) * np.minimum(1, (4 * beat_s - t) / 0.15)
            pad = sum(np.sin(2 * np.pi * _hz(note) * t) + 0.3 * np.sin(4 * np.pi * _hz(note) * t) for note in chord)
            _add(track, 0.09 * envelope * pad, time_s)
        t = _clock(beat_s)
        bass = np.sin(2 * np.pi * _hz(chord[0] - 12) * t) * np.exp(-3 * t) * np.minimum(1, t / 0.01)
        tone = np.sin(2 * np.pi * _hz(MELODY[number % 16]) * t) + 0.4 * np.sin(4 * np.pi * _hz(MELODY[number % 16]) * t)
        _add(track, 0.35 * bass + 0.14 * tone * np.exp(-5 * t) * np.minimum(1, t / 0.005), time_s)
        k = _clock(0.18)
        kick = np.sin(2 * np.pi * (50 * k + 90 / 30 * (1 - np.exp(-30 * k)))) * np.exp(-18 * k)
        _add(track, 0.8 * kick, time_s)
        if number % 2 == 1:
            n = _clock(0.12)
            _add(track, 0.25 * rng.standard_normal(len(n)) * np.exp(-35 * n), time_s)
        h = _clock(0.04)
        hat = np.diff(rng.standard_normal(len(h) + 1)) * np.exp(-110 * h)
        _add(track, 0.06 * hat, time_s)
        _add(track, 0.05 * hat, time_s + beat_s / 2)
    return track / max(float(np.abs(track).max()), 1e-6), beats


def click() -> Samples:
    """A mouse click: two bursts of a few milliseconds, 25 ms apart. Its onset is sample 0; peak 1."""
    t = _clock(0.05)
    rng = np.random.default_rng(1)
    burst = rng.standard_normal(len(t)) * np.exp(-900 * t) + np.sin(2 * np.pi * 3200 * t) * np.exp(-500 * t)
    late = np.concatenate([np.zeros(int(0.025 * RATE)), 0.5 * burst])[: len(t)]
    return _peak_one(burst + late)


def whoosh(seconds: float = 0.6) -> Samples:
    """Noise that sweeps up and passes by, loudest in its middle; peak 1."""
    t = _clock(seconds)
    noise = np.fft.rfft(np.random.default_rng(2).standard_normal(len(t)))
    hz = np.fft.rfftfreq(len(t), 1 / RATE)
    out = np.zeros(len(t))
    for center, share in ((500, 0.3), (1100, 0.42), (2200, 0.5), (4200, 0.58), (7000, 0.68)):
        band = np.fft.irfft(noise * np.exp(-((np.log2(np.maximum(hz, 1) / center) / 0.6) ** 2)), len(t))
        out += band / band.std() * np.exp(-(((t / seconds - share) / 0.16) ** 2))
    return _peak_one(out * np.sin(np.pi * t / seconds) ** 0.5)


def impact() -> Samples:
    """A deep hit with a noisy front and a tail of a second. Its onset is sample 0; peak 1."""
    t = _clock(1.0)
    body = np.sin(2 * np.pi * (42 * t + 60 / 12 * (1 - np.exp(-12 * t)))) * np.exp(-4 * t)
    front = np.random.default_rng(3).standard_normal(len(t)) * np.exp(-45 * t)
    return _peak_one(body + 0.5 * front)


def beep(seconds: float = 0.25, hz: float = 1000.0) -> Samples:
    """A pure tone with soft edges; peak 1."""
    t = _clock(seconds)
    return _peak_one(np.sin(2 * np.pi * hz * t) * np.minimum(1, np.minimum(t, seconds - t) / 0.01))


def ding(hz: float = 1760.0) -> Samples:
    """A small bell: partials that ring for a second. Its onset is sample 0; peak 1."""
    t = _clock(1.2)
    partials = ((1.0, 1.0, 4), (2.76, 0.5, 7), (5.40, 0.2, 12))  # of a free bar
    return _peak_one(sum(a * np.sin(2 * np.pi * hz * ratio * t) * np.exp(-decay * t) for ratio, a, decay in partials))


def pop() -> Samples:
    """A bubble that bursts: a short tone that rises. Its onset is sample 0; peak 1."""
    t = _clock(0.09)
    return _peak_one(np.sin(2 * np.pi * (380 * t + 3200 * t**2)) * np.exp(-35 * t) * np.minimum(1, t / 0.002))


def riser(seconds: float = 2.0) -> Samples:
    """Noise and a tone that climb and swell, and stop at once. It is loudest at its end; peak 1."""
    t = _clock(seconds)
    noise = np.fft.rfft(np.random.default_rng(4).standard_normal(len(t)))
    hz = np.fft.rfftfreq(len(t), 1 / RATE)
    out = 0.6 * np.sin(2 * np.pi * 200 * seconds / np.log(8) * (8 ** (t / seconds) - 1)) * (t / seconds) ** 2
    for step in range(8):
        center, share = 300 * 1.5**step, (step + 0.5) / 8
        band = np.fft.irfft(noise * np.exp(-((np.log2(np.maximum(hz, 1) / center) / 0.5) ** 2)), len(t))
        out += band / band.std() * np.exp(-(((t / seconds - share) / 0.09) ** 2)) * 0.5 * (t / seconds) ** 2
    return _peak_one(out * np.minimum(1, (seconds - t) / 0.01))


def _peak_one(sound: npt.NDArray[np.floating]) -> Samples:
    return np.asarray(sound / np.abs(sound).max(), np.float32)
