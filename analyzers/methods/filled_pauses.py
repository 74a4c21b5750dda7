"""Finds filled pauses ("uhm") by their sound: a voice that stands still. Plain numpy.

M. Goto, K. Itou and S. Hayamizu, "A real-time filled pause detection system for spontaneous speech recognition",
Eurospeech 1999: in a filled pause neither the pitch nor the spectral envelope moves, since the speaker holds one
articulation while thinking. Words and fillers of other sounds move.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.methods.pitch import HOP_S, pitch_track
from analyzers.methods.rhythm import RATE_HZ, band_levels_db

HELD_S_MIN: Final = 0.2
"""Of stillness, without the edges; Goto et al. ask for as much."""
HELD_S_MAX: Final = 2.0
"""Longer is a tone or a song."""
PITCH_STEP_ST: Final = 0.7
"""Semitones from frame to frame (20 ms), and..."""
PITCH_RANGE_ST: Final = 4.5
"""...from the lowest to the highest: a filler may sink slowly."""
ENVELOPE_DB: Final = 6.0
"""Mean change of the mel bands within 120 ms; in running speech it is 8 to 30 dB, at most for a moment less."""
EDGE_S: Final = 0.06
CHUNK_S: Final = 20.0
LEAD_S: Final = 2.5
"""Chunks overlap by this, so that a border cuts no filler."""


def held_voices(samples: npt.NDArray[np.float32], sample_rate: int) -> list[tuple[float, float]]:
    """(start, end) in seconds from the first sample of stretches in which a voice stands still."""
    found: list[tuple[float, float]] = []
    step, lead = round(CHUNK_S * sample_rate), round(LEAD_S * sample_rate)
    for begin in range(0, len(samples), step):
        piece = samples[begin : begin + step + lead]
        for start_s, end_s in _held(piece, sample_rate):
            span = (begin / sample_rate + start_s, begin / sample_rate + end_s)
            if not found or span[0] > found[-1][1]:
                found.append(span)
    return found


def _held(samples: npt.NDArray[np.float32], sample_rate: int) -> list[tuple[float, float]]:
    hertz = pitch_track(samples, sample_rate)
    if len(hertz) < HELD_S_MIN / HOP_S:
        return []
    with np.errstate(invalid="ignore"):
        pitch = 12 * np.log2(hertz / 27.5)
        flat = np.abs(np.diff(pitch, append=pitch[-1:])) <= PITCH_STEP_ST
    levels = band_levels_db(samples, sample_rate)
    # The band's window ends at its time, the pitch frame begins there: 20 ms later their middles meet.
    at = np.minimum((np.arange(len(hertz)) * HOP_S * RATE_HZ).astype(int) + 3, len(levels) - 1)
    smooth = np.mean([levels[np.clip(at + shift, 0, len(levels) - 1)] for shift in range(-2, 3)], axis=0)
    loud = np.maximum(smooth, smooth.max(axis=1, keepdims=True) - 30)  # 30 dB below it is noise between harmonics
    frames = np.arange(len(hertz))
    change = np.abs(loud[np.minimum(frames + 3, len(loud) - 1)] - loud[np.maximum(frames - 3, 0)]).mean(axis=1)
    still = flat & (change <= ENVELOPE_DB)
    found = []
    borders = np.flatnonzero(np.diff(np.concatenate([[0], still.astype(np.int8), [0]]))).reshape(-1, 2)
    for first, after in borders:
        length_s = (after - first) * HOP_S
        if HELD_S_MIN <= length_s <= HELD_S_MAX and np.ptp(pitch[first:after]) <= PITCH_RANGE_ST:
            # Its edges move within the 60 ms that the change is taken over.
            found.append((float(first * HOP_S) - EDGE_S, float(after * HOP_S) + EDGE_S))
    return found
