"""Finds tempo and beats of a sound, in plain numpy.

Onset strength is the mean rise over log-mel bands (S. Böck and G. Widmer, "Maximum filter vibrato suppression for onset
detection", 2013, without the filter); the tempo is the period at which that strength repeats itself best, weighted by
where people tap (Gaussian over octaves around 120 bpm); beats are placed by dynamic programming on strong onsets at
that distance (both: D. Ellis, "Beat tracking by dynamic programming", 2007). librosa's functions of the same kind
compile code when imported, 9 to 22 s of CPU before the first answer; these need 0.2 s for 30 s of sound.

Octaves: a metronome at 180 bpm also repeats at 90. The faster tempo is taken when the onsets between the beats are
nearly as strong and loud as those on them; what lies outside 55 to 215 bpm is reported an octave higher or lower.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

RATE_HZ: Final = 100
"""Values of onset strength per second."""
FRAME: Final = 512
"""Samples of a window at 16 kHz (32 ms)."""
BANDS: Final = 40
LOWEST_HZ, HIGHEST_HZ = 30.0, 7600.0
FLOOR_DB: Final = -70.0
"""Quieter bands are silence: without a floor, the first sample after digital zero outweighs all else."""
BPM_MIN, BPM_MAX = 55.0, 215.0
BPM_SLOW: Final = 70.0
"""A slower tempo than this is taken only when nothing happens between its beats."""
PREFERRED_BPM: Final = 120.0
PREFERENCE_OCTAVES: Final = 1.0
"""Width of the preference (Ellis: 0.9 to 1.4)."""
WINDOW_S: Final = 8.0
"""How far the repetition is followed: several beats of the slowest tempo."""
HALVES_SHARE: Final = 0.8
"""How strong the repetition at half the period must be, against that at the period, for the faster tempo."""
HALVES_LEVEL_SHARE: Final = 0.6
"""The same for the rises of the level: 0.6 is every other beat at a third of the amplitude."""
PERIODIC_MIN: Final = 0.22
"""Least normalised repetition of something that has a tempo. Noise stays below 0.1, speech below 0.15, a chirp at 0.21;
music behind speech has 0.24, music alone 0.8."""
ONSETS_MIN: Final = 4
"""Fewer beats than this are no rhythm."""
TIGHTNESS: Final = 100.0
"""How strictly beats keep their distance (Ellis and librosa: 100)."""

Strengths = npt.NDArray[np.float32]


def _mel_filters(sample_rate: int) -> npt.NDArray[np.float32]:
    def mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)

    edges = np.linspace(mel(LOWEST_HZ), mel(HIGHEST_HZ), BANDS + 2)
    bins = mel(np.arange(FRAME // 2 + 1) * sample_rate / FRAME)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def band_levels_db(samples: npt.NDArray[np.float32], sample_rate: int) -> npt.NDArray[np.float32]:
    """[N + 1, `BANDS`] level of each mel band in the 32 ms that end at time i / `RATE_HZ`, not below `FLOOR_DB`.

    Windows end at their time, so that a rise shows where it begins and not half a window early.
    """
    hop = sample_rate // RATE_HZ
    count = -(-len(samples) // hop)
    padded = np.pad(samples, (FRAME, 2 * hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::hop][: count + 1]
    window = np.hanning(FRAME).astype(np.float32)
    filters = _mel_filters(sample_rate)
    levels = np.empty((len(frames), BANDS), np.float32)
    for start in range(0, len(frames), 4096):
        power = np.abs(np.fft.rfft(frames[start : start + 4096] * window)).astype(np.float32) ** 2
        levels[start : start + 4096] = 10 * np.log10(np.maximum(power @ filters / FRAME, 10 ** (FLOOR_DB / 10)))
    return levels


def onset_strength(samples: npt.NDArray[np.float32], sample_rate: int) -> Strengths:
    """[N] how much louder the bands get, in dB, at each 1 / `RATE_HZ` second; value i is about time i / `RATE_HZ`."""
    if len(samples) == 0:
        return np.zeros(0, np.float32)
    rises = np.maximum(0, np.diff(band_levels_db(samples, sample_rate), axis=0))
    return np.asarray(rises.mean(axis=1), np.float32)


def _repetition(strengths: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Normalised autocorrelation for lags up to `WINDOW_S`, each lag by the number of products in it."""
    centred = strengths.astype(np.float64)
    smooth = np.convolve(centred, np.hanning(7) / np.hanning(7).sum(), "same")
    slow = np.convolve(smooth, np.ones(RATE_HZ) / RATE_HZ, "same")
    centred = smooth - slow
    size = len(centred)
    lags = min(size - 1, round(WINDOW_S * RATE_HZ))
    fft_size = 1 << (2 * size - 1).bit_length()
    raw = np.fft.irfft(np.abs(np.fft.rfft(centred, fft_size)) ** 2)[: lags + 1]
    return np.asarray(raw / max(raw[0], 1e-9) * size / (size - np.arange(lags + 1)))


def tempo_bpm(strengths: Strengths, levels: npt.NDArray[np.floating]) -> tuple[float, float] | None:
    """(tempo in beats per minute, strength of the repetition 0..1), or None where nothing repeats.

    Args:
        strengths: of `onset_strength`, of at least two seconds.
        levels: as many, the amplitude (RMS) of each 1 / `RATE_HZ` second: it tells a beat from a quiet hi-hat.
    """
    if len(strengths) < 2 * RATE_HZ or float(strengths.max()) < 0.5:
        return None
    repeated = _repetition(strengths)
    periods = np.arange(60 * RATE_HZ / BPM_MAX, min(60 * RATE_HZ / BPM_MIN, (len(repeated) - 1) / 2), 0.1)
    if len(periods) == 0:
        return None
    combed = _comb(repeated, periods)
    preference = np.exp(-0.5 * (np.log2(60 * RATE_HZ / periods / PREFERRED_BPM) / PREFERENCE_OCTAVES) ** 2)
    period = float(periods[(np.maximum(combed, 0) * preference).argmax()])
    period = _best_octave(period, repeated, _repetition(np.maximum(0, np.diff(levels, prepend=levels[:1]))))
    strength = float(_comb(repeated, np.array([period]))[0])
    if strength < PERIODIC_MIN:
        return None
    return 60 * RATE_HZ / period, min(1.0, strength)


def _best_octave(period: float, repeated: npt.NDArray[np.float64], loudly: npt.NDArray[np.float64]) -> float:
    """Half the period, itself, or twice it, by how much the onsets between the beats are like those on them.

    Args:
        period: in values of the two others.
        repeated: `_repetition` of the onset strength.
        loudly: `_repetition` of the rises of the level.
    """

    def near(center: float) -> npt.NDArray[np.float64]:
        return np.arange(center * 0.98, center * 1.02, 0.1)

    def share_between(values: npt.NDArray[np.float64], beats: float) -> float:
        on_beats = float(_comb(values, near(beats)).max())
        return float(_comb(values, near(beats / 2)).max()) / on_beats if on_beats > 0 else 0.0

    found = period
    if (
        60 * RATE_HZ / (period / 2) <= BPM_MAX
        and share_between(repeated, period) >= HALVES_SHARE
        and share_between(loudly, period) >= HALVES_LEVEL_SHARE
    ):
        found = period / 2
    elif 60 * RATE_HZ / (2 * period) >= BPM_SLOW and share_between(loudly, 2 * period) < HALVES_LEVEL_SHARE:
        found = 2 * period
    candidates = near(found)
    return float(candidates[_comb(repeated, candidates).argmax()])


def _comb(repeated: npt.NDArray[np.float64], periods: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean repetition at one, two, ... periods: many beats fix the period far better than one."""
    total, counts = np.zeros(len(periods)), np.zeros(len(periods))
    lags = np.arange(len(repeated))
    for multiple in range(1, 17):
        inside = periods * multiple <= lags[-1]
        total += np.where(inside, np.interp(periods * multiple, lags, repeated), 0)
        counts += inside
    return total / np.maximum(counts, 1)


def beat_times_s(strengths: Strengths, bpm: float) -> list[float]:
    """Times of beats at about that tempo, in seconds from the first value, from the first strong onset to the last."""
    if len(strengths) == 0:
        return []
    period = 60 * RATE_HZ / bpm
    local = np.convolve(strengths / max(float(strengths.std()), 1e-9), np.hanning(7) / np.hanning(7).sum(), "same")
    offsets = np.arange(-round(2 * period), -round(period / 2) + 1)
    penalty = -TIGHTNESS * np.log(-offsets / period) ** 2
    score, origin = local.copy(), np.full(len(local), -1)
    first_s = 0.05 * float(local.max())
    started = False
    for now in range(len(local)):
        before = now + offsets
        inside = before >= 0
        if inside.any():
            candidates = score[before[inside]] + penalty[inside]
            top = int(candidates.argmax())
            score[now] = local[now] + candidates[top]
            if started or local[now] >= first_s:
                origin[now], started = before[inside][top], True
        elif local[now] >= first_s:
            started = True
    # The last beat is the last good local maximum; from there the way back is known.
    tail = max(0, len(score) - round(1.5 * period))
    now = tail + int(score[tail:].argmax())
    beats = []
    while now >= 0:
        beats.append(now)
        now = int(origin[now])
    beats.reverse()
    return [beat / RATE_HZ for beat in _trimmed(beats, local)]


def _trimmed(beats: list[int], local: npt.NDArray[np.float64]) -> list[int]:
    """Beats without those before the first and after the last onset that is half as strong as usual."""
    around = [float(local[max(0, beat - 3) : beat + 4].max()) for beat in beats]
    usual = float(np.sqrt(np.mean(np.square(around)))) if around else 0.0
    strong = [index for index, value in enumerate(around) if value >= 0.5 * usual]
    return beats[strong[0] : strong[-1] + 1] if strong else []
