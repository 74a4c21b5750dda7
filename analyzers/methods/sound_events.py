"""Finds one-shot sounds that stand out of speech and music, and says what kind they are by their shape. Plain numpy.

What repeats is bed, what does not is an event (the idea of Rafii and Pardo, "REPET: repeating pattern extraction
technique", 2013, with an order statistic instead of a period): for each mel band and each tenth of a second the level
is taken that the band reaches in `REPEATS` of the seconds within `AROUND_S` on both sides, the event itself left out.
Syllables, notes and drum beats reach their own level there and are explained; an event exceeds it. It follows that an
effect that comes every second is rhythm, and that an impact no louder than the drums beside it is not found.

Kinds are rules on attack, duration, decay, spectral centre and width of what exceeds the bed (see `kind_of`). Where
somebody speaks the rules are stricter, since plosives click and fricatives hiss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from analyzers.methods.rhythm import BANDS, FLOOR_DB, RATE_HZ, band_levels_db

Kind = Literal["impact", "whoosh", "riser", "click", "beep", "ding", "pop", "other"]
BLOCK: Final = 10
"""Frames of a block (0.1 s)."""
SECOND: Final = 10
"""Blocks of a second."""
AROUND_S: Final = 4.0
"""How far the bed is looked at on both sides: slow drums come three times in it."""
OWN_S: Final = 0.6
"""What this near belongs to the event itself: a whoosh is as long."""
REPEATS: Final = 3
"""What reaches a level so often is bed. An effect may come twice."""
MARGIN_DB: Final = 3.0
EXCESS_DB_MAX: Final = 20.0
"""Of one band in the sum: one band alone must not outweigh a broad event."""
BEGIN, END = 12.0, 4.0
"""Sum over bands of the excess in dB, where an event begins to count and until where it lasts."""
JOIN: Final = 8
"""Frames between two events that are one."""
FLOOR_S: Final = 0.25
"""Sound before an event that its power is counted from."""
SALIENCE_DB_MIN: Final = -3.0
"""Power of what exceeds the bed over the bed's: what is weaker than that is a detail."""
LOUD_DB_MIN: Final = -45.0
"""Level of the event below which nobody hears it in a video (dB of a full-scale sine)."""
EDGE_S: Final = 0.06
"""At the beginning and the end of a sound everything is new."""
SINE_DB: Final = 16.8
"""What a full-scale sine is in sums of band power: the window's gain over its length."""
LOW_BANDS: Final = 4
"""Below 250 Hz."""

Levels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SoundEvent:
    """What stands out of the bed. Times in seconds from the first sample.

    Args:
        start_s, end_s: where it is heard.
        peak_s: where it is loudest.
        attack_s: how long it needs to come within 6 dB of that.
        excess_db: sum over the bands of what exceeds the bed: how much it stands out.
        width: how many of the 40 bands exceed the bed.
        center: mean band of its power at the peak, 0..39.
        low: share of its power below 250 Hz.
        narrow: share in the strongest three neighbouring bands: 1 for a tone.
        steadiness: share of its frames within 4 dB and a band of their median.
        rise: by how many bands its centre climbs from its first third to its last.
        falls: level in dB against the peak 50, 100 and 200 ms after it.
        over_bed_db: power against the surroundings within a second.
        level_db: of the event, of a full-scale sine.
        in_voice: whether somebody speaks then.
    """

    start_s: float
    end_s: float
    peak_s: float
    attack_s: float
    excess_db: float
    width: int
    center: float
    low: float
    narrow: float
    steadiness: float
    rise: float
    falls: tuple[float, float, float]
    over_bed_db: float
    level_db: float
    in_voice: bool

    @property
    def duration_s(self) -> float:
        """How long it is heard."""
        return self.end_s - self.start_s


def bed_db(levels: Levels) -> Levels:
    """[N, bands] the level that each band reaches in `REPEATS` of the seconds around, for each frame of `levels`."""
    count = len(levels)
    blocks = -(-count // BLOCK)
    padded = np.full((blocks * BLOCK, levels.shape[1]), FLOOR_DB, np.float32)
    padded[:count] = levels
    tops = padded.reshape(blocks, BLOCK, -1).max(axis=1)
    half, own = round(AROUND_S * RATE_HZ / BLOCK), round(OWN_S * RATE_HZ / BLOCK)
    width = min(2 * half + 1, blocks)
    bed = np.empty_like(tops)
    for begin in range(0, blocks, 256):
        at = np.arange(begin, min(begin + 256, blocks))
        # At the ends the window is moved inwards, so that it is as wide everywhere.
        around = np.clip(at - half, 0, blocks - width)[:, None] + np.arange(width)
        seen = np.where((np.abs(around - at[:, None]) > own)[..., None], tops[around], FLOOR_DB)
        # Of each second only its loudest: a long event is one and not many.
        padding = ((0, 0), (0, -width % SECOND), (0, 0))
        seconds = (
            np.pad(seen, padding, constant_values=FLOOR_DB).reshape(len(at), -1, SECOND, tops.shape[1]).max(axis=2)
        )
        rank = max(0, seconds.shape[1] - REPEATS)
        bed[at] = np.partition(seconds, rank, axis=1)[:, rank]
    return np.asarray(np.repeat(bed, BLOCK, axis=0)[:count])


def find_events(
    samples: npt.NDArray[np.float32], sample_rate: int, voiced: Sequence[tuple[float, float]]
) -> list[SoundEvent]:
    """Events in order of time.

    Args:
        samples: float32 [T], mono.
        sample_rate: in Hz.
        voiced: where somebody speaks, in seconds from the first sample.
    """
    if len(samples) < sample_rate // 4:
        return []
    levels = band_levels_db(samples, sample_rate)
    above = levels - bed_db(levels)
    excess = np.clip(above - MARGIN_DB, 0, EXCESS_DB_MAX).sum(axis=1)
    power = 10 ** (levels / 10)
    total = power.sum(axis=1)
    found = []
    for begin, end in _spans(excess):
        edge_s = min(begin, len(levels) - end) / RATE_HZ
        if edge_s >= EDGE_S:
            event = _event(begin, end, above, excess, power, total, voiced)
            if event.over_bed_db >= SALIENCE_DB_MIN and event.level_db >= LOUD_DB_MIN:
                found.append(event)
    return found


def _spans(excess: npt.NDArray[np.floating]) -> list[tuple[int, int]]:
    """First and last frame of each event."""
    borders = np.flatnonzero(np.diff(np.concatenate([[0], (excess >= END).astype(np.int8), [0]]))).reshape(-1, 2)
    joined: list[list[int]] = []
    for begin, end in borders:
        if joined and begin - joined[-1][1] < JOIN:
            joined[-1][1] = int(end)
        else:
            joined.append([int(begin), int(end)])
    return [(begin, end) for begin, end in joined if excess[begin:end].max() >= BEGIN]


def _event(
    begin: int,
    end: int,
    above: Levels,
    excess: npt.NDArray[np.floating],
    power: npt.NDArray[np.floating],
    total: npt.NDArray[np.floating],
    voiced: Sequence[tuple[float, float]],
) -> SoundEvent:
    lead, second = round(FLOOR_S * RATE_HZ), RATE_HZ
    floor = np.median(power[max(0, begin - lead) : max(1, begin - 3)], axis=0)
    own = np.where(above[begin:end] > MARGIN_DB, np.maximum(power[begin:end] - floor, 0), 0).astype(np.float64)
    sums = np.maximum(own.sum(axis=1), 1e-12)
    peak = int(sums.argmax())
    share = own[peak] / sums[peak]
    bands = np.arange(BANDS)
    loud = sums >= sums[peak] / 100
    centers = (own[loud] @ bands) / sums[loud]
    decibels = 10 * np.log10(sums)
    typical = np.median(decibels[loud])
    steady = (np.abs(decibels[loud] - typical) <= 4) & (np.abs(centers - np.median(centers)) <= 1)
    third = max(1, len(centers) // 3)
    # What surrounds it, by the louder quarter of it.
    outside = np.concatenate([total[max(0, begin - second) : begin], total[end : end + second]])
    bed = float(np.percentile(outside, 75)) if len(outside) else 0.0

    def fall(frames: int) -> float:
        after = sums[peak + frames] if peak + frames < len(sums) else 1e-12
        return float(max(-99.0, 10 * np.log10(after / sums[peak])))

    start_s = max(0.0, begin / RATE_HZ - 0.01)
    end_s = end / RATE_HZ
    return SoundEvent(
        start_s=start_s,
        end_s=end_s,
        peak_s=(begin + peak) / RATE_HZ,
        attack_s=int((sums >= sums[peak] / 4).argmax()) / RATE_HZ,
        excess_db=float(excess[begin:end].max()),
        width=int(np.count_nonzero(above[begin + int(excess[begin:end].argmax())] > MARGIN_DB)),
        center=float(share @ bands),
        low=float(share[:LOW_BANDS].sum()),
        narrow=float(np.convolve(share, np.ones(3), "same").max()),
        steadiness=float(steady.mean()),
        rise=float(centers[-third:].mean() - centers[:third].mean()),
        falls=(fall(5), fall(10), fall(20)),
        over_bed_db=float(10 * np.log10(sums[peak] / max(bed, 1e-9))),
        level_db=float(decibels[peak]) - SINE_DB,
        in_voice=any(a < end_s and start_s < b for a, b in voiced),
    )


def kind_of(event: SoundEvent) -> tuple[Kind, float] | None:
    """(what it sounds like, excess in dB asked of one), or None for what is no effect.

    - riser: swells and climbs for more than half a second and ends at once
    - whoosh: broad or moving, swells within a second and fades
    - beep: a steady tone; ding: a high tone that rings off; pop: a short low tone
    - click: bright and over at once; impact: sudden and deep, or sudden and very broad
    - other: stands out a lot, and is none of these
    """
    e, swell_s, tail_s = event, event.peak_s - event.start_s, event.end_s - event.peak_s
    sudden, swelling = e.attack_s <= 0.05, 0.08 <= swell_s <= 0.8 and e.attack_s >= 0.03
    if swell_s >= 0.5 and tail_s <= 0.35 and e.falls[2] <= -12 and e.rise >= 1.5 and e.width >= 10:
        return _asked("riser", e, 60, voice=e.width >= 14)
    if e.narrow >= 0.8 and e.center >= 6 and 0.1 <= e.duration_s <= 1.5 and e.steadiness >= 0.7:
        return _asked("beep", e, 20, voice=e.center >= 9 and e.duration_s >= 0.15 and e.over_bed_db >= 8)
    broad_or_moving = e.narrow <= 0.6 or (e.steadiness < 0.6 and e.duration_s >= 0.5)
    if swelling and 0.2 <= e.duration_s <= 2.5 and e.width >= 9 and broad_or_moving and e.low < 0.5:
        return _asked("whoosh", e, 50, voice=e.center >= 18 and e.width >= 10 and e.excess_db >= 100)
    if sudden and e.low >= 0.6 and e.duration_s >= 0.06:
        return _asked("impact", e, 15, voice=e.low >= 0.9 and e.center <= 2 and e.excess_db >= 25)
    if sudden and e.narrow >= 0.5 and e.center >= 12 and e.duration_s >= 0.15 and e.falls[0] > -12:
        return _asked("ding", e, 40, voice=e.center >= 19 and e.duration_s >= 0.3)
    if sudden and e.narrow >= 0.8 and 3 <= e.center <= 15 and 0.06 <= e.duration_s <= 0.25:
        return _asked("pop", e, 35, voice=False)
    if sudden and e.center >= 12 and e.duration_s <= 0.35 and e.falls[1] <= -10:
        return _asked("click", e, 90, voice=e.center >= 19 and e.duration_s <= 0.12 and e.excess_db >= 120)
    if sudden and e.width >= 20 and e.duration_s >= 0.15:
        return _asked("impact", e, 100, voice=False)
    return _asked("other", e, 200, voice=False) if e.duration_s <= 3 else None


def _asked(kind: Kind, event: SoundEvent, excess_db: float, *, voice: bool) -> tuple[Kind, float] | None:
    """The kind if the event stands out enough, and over speech also passes the stricter rule."""
    fits = event.excess_db >= excess_db and (voice or not event.in_voice)
    return (kind, excess_db) if fits else None
