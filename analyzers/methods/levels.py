"""How sound is measured along time: its seconds, its level, where it is silent, and its spectral shape. Plain numpy."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

RATE_HZ: Final = 100
"""Values of level per second."""
SEGMENT_S: Final = 1.0
SHORTEST_S: Final = 0.25
"""A shorter rest at the end belongs to the segment before."""
SILENCE_DB: Final = -50.0
"""RMS of 20 ms below which it is silent: 20 dB below quiet speech. Lower: room tone fills it. Higher: breaths go."""
SILENCE_S_MIN: Final = 0.3
"""A shorter gap is a pause in speech or music and no silence."""
SPECTRUM: Final = 1024
"""Samples of a timbre window (64 ms at 16 kHz), without overlap."""
TIMBRE_FLOOR_DB: Final = -60.0
"""Quieter windows have no timbre, only rounding noise."""
ROLLOFF_SHARE: Final = 0.85
"""Of the energy below the roll-off frequency (Tzanetakis and Cook, "Musical genre classification", 2002)."""


def second_edges(count: int, rate: int) -> list[int]:
    """Sample numbers where the seconds begin, and the end. Without samples there are none."""
    if count == 0:
        return [0]
    step = round(SEGMENT_S * rate)
    edges = list(range(0, count, step))
    if len(edges) > 1 and count - edges[-1] < SHORTEST_S * rate:
        edges.pop()
    return [*edges, count]


def timbre(samples: npt.NDArray[np.float32], rate: int) -> tuple[float | None, float | None, float | None]:
    """Spectral centroid in Hz, roll-off in Hz and flatness 0..1 of the windows with sound, weighted by their energy."""
    centred = samples - samples.mean(dtype=np.float64)
    full = len(samples) // SPECTRUM * SPECTRUM or len(samples)
    windows = np.pad(centred[:full], (0, -full % SPECTRUM)).reshape(-1, SPECTRUM)
    power = np.abs(np.fft.rfft((windows - windows.mean(axis=1, keepdims=True)) * np.hanning(SPECTRUM))) ** 2
    power = power[:, 1:]
    energy = power.sum(axis=1)
    loud = energy > 10 ** (TIMBRE_FLOOR_DB / 10) * (SPECTRUM / 4) ** 2
    if not loud.any():
        return None, None, None
    total = power[loud].sum(axis=0)
    frequencies = np.arange(1, SPECTRUM // 2 + 1) * rate / SPECTRUM
    cumulative = np.cumsum(total)
    flatness = np.exp(np.mean(np.log(total + 1e-12 * total.max()))) / total.mean()
    return (
        float((frequencies * total).sum() / cumulative[-1]),
        float(frequencies[np.searchsorted(cumulative, ROLLOFF_SHARE * cumulative[-1])]),
        float(min(1.0, flatness)),
    )


def levels_100_hz(samples: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    """[N] RMS amplitude per hundredth of a second, without its constant part; as many as onset strengths."""
    hop = rate // RATE_HZ
    frames = np.pad(samples, (0, -len(samples) % hop), mode="edge" if len(samples) else "constant").reshape(-1, hop)
    return np.asarray(np.sqrt(np.mean((frames - np.median(samples) if len(samples) else frames) ** 2, axis=1)))


def silent_spans(levels: npt.NDArray[np.float32], start_s: float, end_s: float) -> list[tuple[float, float]]:
    """Stretches of at least `SILENCE_S_MIN` below `SILENCE_DB`, on the video's clock."""
    quiet = np.convolve(levels.astype(np.float64) ** 2, (0.5, 0.5), "same") < 10 ** (SILENCE_DB / 10)
    borders = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    spans = [(start_s + a / RATE_HZ, min(end_s, start_s + b / RATE_HZ)) for a, b in borders.reshape(-1, 2)]
    return [(a, b) for a, b in spans if b - a >= min(SILENCE_S_MIN, end_s - start_s)]
