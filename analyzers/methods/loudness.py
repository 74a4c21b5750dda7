"""How loud a sound is to people: integrated loudness and loudness range, in plain numpy.

Method: ITU-R BS.1770-5 (K-weighting, mean square in overlapping blocks of 400 ms, absolute gate at -70 LUFS, relative
gate 10 LU below) and EBU Tech 3342 (range between the 10th and 95th percentile of 3 s blocks, gated 20 LU below).
The filter is applied by its frequency response at the standard's own 48 kHz, whatever the sample rate, which is exact
and spares a compiled filter loop. Content above half the sample rate is not in the sound and so not in the figure.
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
CHUNK_S: Final = 20.0
"""Filtered at a time."""
LEAD_S: Final = 0.5
"""Sound before each chunk that settles the filter; the 38 Hz high-pass has died away by 60 dB after 0.1 s."""

REFERENCE_RATE_HZ: Final = 48_000
# BS.1770-5, tables 1 and 2: b0, b1, b2, a1, a2 (a0 is 1) at 48 kHz.
HIGH_SHELF: Final = (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585)
HIGH_PASS: Final = (1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621)

Energies = npt.NDArray[np.float64]


def k_weighting(frequencies_hz: npt.NDArray[np.floating]) -> npt.NDArray[np.complex128]:
    """Complex gain of the K-weighting filter, both stages, at the given frequencies."""
    z = np.exp(-2j * np.pi * frequencies_hz / REFERENCE_RATE_HZ)
    gain = np.ones(len(z), np.complex128)
    for b0, b1, b2, a1, a2 in (HIGH_SHELF, HIGH_PASS):
        gain *= (b0 + b1 * z + b2 * z * z) / (1 + a1 * z + a2 * z * z)
    return gain


def step_energies(samples: npt.NDArray[np.float32], sample_rate: int) -> Energies:
    """[N] mean square of the K-weighted sound per full `STEP_S`. A shorter rest is left out."""
    step, lead = round(STEP_S * sample_rate), round(LEAD_S * sample_rate)
    chunk = round(CHUNK_S / STEP_S) * step
    found: list[Energies] = []
    for start in range(0, len(samples) // step * step, chunk):
        begin = max(0, start - lead)
        piece = samples[begin : min(start + chunk, len(samples) // step * step)].astype(np.float64)
        # Zeros behind the piece take up what the filter leaves, so that it does not wrap around to the start.
        size = 1 << (len(piece) + lead - 1).bit_length()
        gain = k_weighting(np.fft.rfftfreq(size, 1 / sample_rate))
        weighted = np.fft.irfft(np.fft.rfft(piece, size) * gain, size)[start - begin : len(piece)]
        found.append((weighted.reshape(-1, step) ** 2).mean(axis=1))
    return np.concatenate(found) if found else np.zeros(0)


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
