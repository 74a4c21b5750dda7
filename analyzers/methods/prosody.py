"""How a voice sounds: the low-level part of eGeMAPS that is cheap and robust, per voiced frame, and per stretch.

F. Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice research and affective computing",
IEEE Transactions on Affective Computing 7 (2016): pitch in semitones above 27.5 Hz, its range between percentiles,
loudness, alpha ratio, Hammarberg index, voiced segments per second. HF500 is the vocal effort measure of Bone et al.
(see speech_emotion). Jitter and shimmer are left out: they need the single periods, which music and codecs destroy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.methods.pitch import FRAME_S, HOP_S, pitch_track

SEMITONE_ZERO_HZ: Final = 27.5

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Voice:
    """Voiced frames of a stretch, one per 20 ms: float32 [N] each.

    Args:
        pitch: in semitones above 27.5 Hz.
        level: in dB of full scale.
        hf500: energy above 500 Hz against that below, in dB.
        alpha: energy of 1 to 5 kHz against that of 50 to 1000 Hz, in dB.
        hammarberg: strongest peak below 2 kHz against that of 2 to 5 kHz, in dB.
        onsets_per_s: how often voice begins, per second of the stretch: a proxy of the syllable rate.
    """

    pitch: Array
    level: Array
    hf500: Array
    alpha: Array
    hammarberg: Array
    onsets_per_s: float

    @property
    def voiced_s(self) -> float:
        """Seconds of voice."""
        return len(self.pitch) * HOP_S


def voice_of(samples: npt.NDArray[np.float32], sample_rate: int) -> Voice:
    """Measure a stretch of speech."""
    hertz = pitch_track(samples, sample_rate)
    voiced = np.isfinite(hertz)
    size, hop = round(FRAME_S * sample_rate), round(HOP_S * sample_rate)
    if not voiced.any():
        nothing = np.zeros(0, np.float32)
        return Voice(nothing, nothing, nothing, nothing, nothing, 0.0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop][voiced]
    power = np.abs(np.fft.rfft(frames * np.hanning(size).astype(np.float32))) ** 2 + 1e-12
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)

    def energy(low: float, high: float) -> npt.NDArray[np.floating]:
        return np.asarray(power[:, (frequencies >= low) & (frequencies < high)].sum(axis=1))

    def highest(low: float, high: float) -> npt.NDArray[np.floating]:
        return np.asarray(power[:, (frequencies >= low) & (frequencies < high)].max(axis=1))

    def decibels(ratio: npt.NDArray[np.floating]) -> Array:
        return np.asarray(10 * np.log10(ratio), np.float32)

    begins = int(np.count_nonzero(np.diff(voiced.astype(np.int8)) == 1)) + int(voiced[0])
    return Voice(
        pitch=np.asarray(12 * np.log2(hertz[voiced] / SEMITONE_ZERO_HZ), np.float32),
        level=decibels(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-12),
        hf500=decibels(energy(500, sample_rate) / energy(50, 500)),
        alpha=decibels(energy(1000, 5000) / energy(50, 1000)),
        hammarberg=decibels(highest(50, 2000) / highest(2000, 5000)),
        onsets_per_s=begins / (len(samples) / sample_rate),
    )


def pitch_range(pitch: Array) -> float:
    """Semitones between the 20th and the 80th percentile: octave errors of the tracker lie outside."""
    low, high = np.percentile(pitch, [20, 80]) if len(pitch) else (0.0, 0.0)
    return float(high - low)
