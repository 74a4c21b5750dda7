"""Finds the musical key of a sound, in plain numpy.

Chroma: spectral peaks of 0.37 s windows, folded into twelve pitch classes after the tuning of the recording was
estimated (peaks only, as E. Gómez, "Tonal description of music audio signals", 2006, does: noise and drums have few).
Key: correlation of the mean chroma with the 24 rotated key profiles of D. Temperley ("What's key for key?", 1999),
which tell relative keys apart better than Krumhansl's; a song that favours neither (Am F C G) stays ambiguous.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

PITCH_CLASSES: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
WINDOW_S: Final = 0.37
"""Long enough to tell semitones apart from 65 Hz on."""
HOP_S: Final = 0.1
LOWEST_HZ, HIGHEST_HZ = 55.0, 2000.0
"""Above, harmonics say more about the instrument than about the key."""
PROMINENCE_DB: Final = 12.0
"""A peak must stand this far above the median of its neighbourhood: tones do, noise does not."""
RANGE_DB: Final = 40.0
"""Peaks weaker than the strongest of their window by more than this do not count."""
SILENCE_DB: Final = -60.0
"""Windows whose strongest peak is a sine below this level (dB of full scale) do not count."""
TUNING_STEPS: Final = 20
"""Resolution of the tuning: 5 cents."""
WEIGHT_MIN: Final = 8
"""So many windows with tones (0.8 s) are needed for a key."""
CORRELATION_MIN: Final = 0.65
"""A key is named from this correlation on; three notes by chance reach about 0.6."""
MAJOR: Final = (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0)
MINOR: Final = (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0)
"""Temperley's profiles, from the tonic upwards."""

Chroma = npt.NDArray[np.float64]


def chroma_per_second(samples: npt.NDArray[np.float32], sample_rate: int, seconds: int) -> Chroma:
    """[seconds, 13]: per second the sum of its windows' chroma (each adds up to 1) and how many windows had tones."""
    size, hop = round(WINDOW_S * sample_rate), round(HOP_S * sample_rate)
    found = np.zeros((seconds, 13))
    if len(samples) < size:
        return found
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    window = np.hanning(size).astype(np.float32)
    fft_size = 1 << (2 * size - 1).bit_length() >> 1
    low, high = int(LOWEST_HZ * fft_size / sample_rate), int(HIGHEST_HZ * fft_size / sample_rate)
    levels = np.empty((len(frames), high - low + 2))
    for start in range(0, len(frames), 256):
        spectrum = np.abs(np.fft.rfft(frames[start : start + 256] * window, fft_size))[:, low - 1 : high + 1]
        levels[start : start + 256] = 20 * np.log10(spectrum / (window.sum() / 2) + 1e-9)
    rows, pitches, weights = _peaks(levels, low, sample_rate / fft_size)
    if len(rows) == 0:
        return found
    offset = _tuning(pitches, weights)
    classes = np.round(pitches - offset).astype(int) % 12
    per_window = np.zeros((len(frames), 12))
    np.add.at(per_window, (rows, classes), weights)
    totals = per_window.sum(axis=1)
    tonal = np.flatnonzero(totals > 0)
    second = np.minimum(seconds - 1, ((tonal * hop + size / 2) / sample_rate).astype(int))
    np.add.at(found, second, np.column_stack([per_window[tonal] / totals[tonal, None], np.ones(len(tonal))]))
    return found


def _peaks(
    levels: npt.NDArray[np.float64], low: int, bin_hz: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Row, pitch (MIDI number with fraction) and amplitude of the spectral peaks."""
    inner = levels[:, 1:-1]
    is_peak = (inner > levels[:, :-2]) & (inner >= levels[:, 2:])
    strongest = inner.max(axis=1, keepdims=True)
    is_peak &= (inner > strongest - RANGE_DB) & (strongest > SILENCE_DB)
    # The neighbourhood: blocks of about 100 Hz, which hold several bins between two harmonics.
    block = max(8, round(100 / bin_hz))
    padded = np.pad(inner, ((0, 0), (0, -inner.shape[1] % block)), mode="edge")
    floor = np.median(padded.reshape(len(inner), -1, block), axis=2).repeat(block, axis=1)[:, : inner.shape[1]]
    is_peak &= inner > floor + PROMINENCE_DB
    rows, columns = np.nonzero(is_peak)
    before, at, after = (levels[rows, columns + shift] for shift in range(3))
    bend = before - 2 * at + after
    shift = np.clip(0.5 * (before - after) / np.where(bend < 0, bend, -1), -0.5, 0.5)
    pitches = 69 + 12 * np.log2((columns + low + shift) * bin_hz / 440.0)
    return rows, pitches, 10 ** (at / 40)  # square root of the amplitude: the bass must not outweigh the chord


def _tuning(pitches: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> float:
    """By how much of a semitone the recording lies above A = 440 Hz, -0.5..0.5."""
    steps = np.round((pitches % 1) * TUNING_STEPS).astype(int) % TUNING_STEPS
    counts = np.bincount(steps, weights, TUNING_STEPS)
    smooth = counts + 0.5 * (np.roll(counts, 1) + np.roll(counts, -1))
    offset = float(smooth.argmax()) / TUNING_STEPS
    return offset - 1 if offset > 0.5 else offset


def key_of(chroma: Chroma) -> tuple[str, float] | None:
    """(key, for example ``"A minor"``; correlation 0..1), or None without enough tones or a clear key.

    Args:
        chroma: [seconds, 13] of `chroma_per_second`.
    """
    if len(chroma) == 0 or chroma[:, 12].sum() < WEIGHT_MIN:
        return None
    mean = chroma[:, :12].sum(axis=0)
    if np.count_nonzero(mean > 0.05 * mean.max()) < 3:
        return None  # one or two notes have no key
    centred = (mean - mean.mean()) / (mean.std() + 1e-12)
    best: tuple[float, str] = (-1.0, "")
    for mode, profile in (("major", MAJOR), ("minor", MINOR)):
        shape = (np.array(profile) - np.mean(profile)) / np.std(profile)
        for tonic, name in enumerate(PITCH_CLASSES):
            correlation = float((centred * np.roll(shape, tonic)).mean())
            best = max(best, (correlation, f"{name} {mode}"))
    return (best[1], best[0]) if best[0] >= CORRELATION_MIN else None
