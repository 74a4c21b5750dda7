"""How loud a sound is to people: integrated loudness and loudness range.

Method: ITU-R BS.1770-5 (K-weighting, mean square in overlapping blocks of 400 ms, absolute gate at -70 LUFS, relative
gate 10 LU below) and EBU Tech 3342 (range between the 10th and 95th percentile of 3 s blocks, gated 20 LU below).
pyloudnorm (C. Steinmetz and J. Reiss, "pyloudnorm: A simple yet flexible loudness meter in Python", AES 150, 2021)
weights the sound, at the standard's 48 kHz, and gives the level of each 100 ms. Blocks and gates are made of those
steps here: the library gates whole signals only, and a long sound comes in parts. What lies above half the sample rate
is not in the figure.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

STEP_S: Final = 0.1
"""Energies are kept per 100 ms: a 400 ms block of the standard is four of them, overlapping by 75 %."""
BLOCK_STEPS: Final = 4
SHORT_TERM_STEPS: Final = 30
"""Three seconds, for the loudness range."""
OFFSET_LU: Final = -0.691
ABSOLUTE_GATE_LUFS: Final = -70.0
RELATIVE_GATE_LU: Final = -10.0
RANGE_GATE_LU: Final = -20.0
FILTER_RATE_HZ: Final = 48_000
"""The filters are designed for this rate; at 16 kHz they are 0.1 LU off."""
CHUNK_STEPS: Final = 300
"""Weighted at a time, so that a long sound needs no more memory than a short one."""
LEAD_STEPS: Final = 5
"""Sound before each chunk that settles the filter; its 38 Hz high-pass has died away by 60 dB after 0.1 s."""

Energies = npt.NDArray[np.float64]


def step_energies(samples: npt.NDArray[np.float32], sample_rate: int) -> Energies:
    """[N] mean square of the K-weighted sound per full `STEP_S`. A shorter rest is left out."""
    import pyloudnorm
    from scipy.signal import resample_poly

    step = round(STEP_S * sample_rate)
    full = samples[: len(samples) // step * step]
    # The filter class that has the standard's own coefficients at its own rate.
    meter = pyloudnorm.Meter(FILTER_RATE_HZ, "DeMan", block_size=STEP_S, overlap=0.0)
    found = [np.zeros(0)]
    for start in range(0, len(full), CHUNK_STEPS * step):
        lead = min(LEAD_STEPS, start // step)
        meter.integrated_loudness(
            resample_poly(full[start - lead * step : start + CHUNK_STEPS * step], FILTER_RATE_HZ, sample_rate)
        )
        found.append(10 ** ((np.array(meter.blockwise_loudness[lead:]) - OFFSET_LU) / 10))
    return np.concatenate(found)


def to_lufs(energy: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Loudness of a mean square."""
    return OFFSET_LU + 10 * np.log10(np.maximum(np.asarray(energy, np.float64), 1e-12))


def _blocks(energies: Energies, steps: int) -> Energies:
    return (
        np.lib.stride_tricks.sliding_window_view(energies, steps).mean(axis=1)
        if len(energies) >= steps
        else energies[:0]
    )


def integrated_lufs(energies: Energies) -> float | None:
    """Loudness over all steps; None if the sound is shorter than a block or nothing in it passes the gates."""
    blocks = _blocks(energies, BLOCK_STEPS)
    blocks = blocks[to_lufs(blocks) > ABSOLUTE_GATE_LUFS]
    if len(blocks) == 0:
        return None
    blocks = blocks[to_lufs(blocks) > to_lufs(blocks.mean()) + RELATIVE_GATE_LU]
    return float(to_lufs(blocks.mean())) if len(blocks) else None


def loudness_range_lu(energies: Energies) -> float | None:
    """Loudness range; None for sound of less than three seconds or below the gates."""
    blocks = _blocks(energies, SHORT_TERM_STEPS)
    levels = to_lufs(blocks[to_lufs(blocks) > ABSOLUTE_GATE_LUFS])
    if len(levels) == 0:
        return None
    levels = levels[levels > to_lufs((10 ** ((levels - OFFSET_LU) / 10)).mean()) + RANGE_GATE_LU]
    low, high = np.percentile(levels, [10, 95])
    return float(high - low)
