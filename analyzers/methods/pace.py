"""How much happens in each second of a video, from the reports on cuts, camera, text, sound and speech.

After Hanjalic and Xu, "Affective video content representation and modeling" (IEEE Trans. Multimedia 7, 2005): the
energy of a stretch is the mean of motion, cut density and sound energy, each against a fixed reference and smoothed;
and Adams, Dorai and Venkatesh, "Formulating film tempo" (2002): tempo is shot length and motion. Captions that change
and spoken words are added, since short video paces with them. What no report tells is left out of the mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

CUTS_PER_S: Final = 1.0
"""References at which a part is 1: a cut each second is the densest montage,"""
MOTION_PER_S: Final = 0.5
"""half a picture side per second a whip of the camera,"""
TEXTS_PER_S: Final = 3.0
"""three captions a second a word-by-word caption,"""
WORDS_PER_S: Final = 4.0
"""four words a second fast speech (240 words per minute),"""
LOUD_DB, QUIET_DB = -10.0, -50.0
"""and the level from a quiet room to a loud master."""

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Per second, 0..1: parts by name (only those that a report tells), energy and pace. Empty without any report."""

    parts: Mapping[str, Curve]
    energy: Curve
    pace: Curve


def curves(reports: Mapping[str, Any], duration_s: float) -> Curves:
    """All curves of a video, one value per begun second.

    `energy` is the mean of cuts, motion, loudness and text changes; `pace` of cuts, motion, text changes and words.
    """
    count = max(1, math.ceil(duration_s - 1e-6)) if duration_s > 0 else 0
    lengths = np.minimum(1.0, np.maximum(1e-3, duration_s - np.arange(count)))
    parts: dict[str, Curve] = {}
    if "cut_analysis" in reports:
        times = [cut.time for cut in reports["cut_analysis"].summary.cuts]
        parts["cuts"] = _share(_smooth(_counted(times, count)), lengths, CUTS_PER_S)
    if "camera_analysis" in reports:
        parts["motion"] = np.minimum(1, _smooth(_motion(reports["camera_analysis"], count)) / MOTION_PER_S)
    if "audio_analysis" in reports:
        parts["loudness"] = _smooth(_loudness(reports["audio_analysis"], count))
    if "text_overlay" in reports:
        times = [segment.start for segment in reports["text_overlay"].segments if segment.kind == "overlay"]
        parts["texts"] = _share(_smooth(_counted(times, count)), lengths, TEXTS_PER_S)
    if "speech_transcription" in reports:
        times = [word.start for s in reports["speech_transcription"].segments for word in s.words]
        parts["words"] = _share(_smooth(_counted(times, count)), lengths, WORDS_PER_S)
    return Curves(
        parts,
        _mean(parts, ("cuts", "motion", "loudness", "texts"), count),
        _mean(parts, ("cuts", "motion", "texts", "words"), count),
    )


def _mean(parts: Mapping[str, Curve], names: tuple[str, ...], count: int) -> Curve:
    there = [parts[name] for name in names if name in parts]
    return np.mean(there, axis=0) if there else np.zeros(count)


def _counted(times: list[float], count: int) -> Curve:
    inside = [int(time_s) for time_s in times if 0 <= time_s < count]
    return np.bincount(inside, minlength=count).astype(np.float64) if count else np.zeros(0)


def _share(per_second: Curve, lengths: Curve, reference: float) -> Curve:
    return np.asarray(np.minimum(1.0, per_second / lengths / reference))


def _smooth(values: Curve) -> Curve:
    """Mean of each second and its neighbours; at the ends of those that there are."""
    padded = np.pad(np.stack([values, np.ones(len(values))]), ((0, 0), (1, 1)))
    sums = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return np.asarray(sums[0] / sums[1])


def _spread(segments: Any, value: Any, count: int) -> Curve:
    """Mean of a segment's value in each second that it touches, weighted by the time in it."""
    total, weight = np.zeros(count), np.full(count, 1e-9)
    for segment in segments:
        for second in range(max(0, int(segment.start)), min(count, math.ceil(segment.end))):
            shared = min(segment.end, second + 1) - max(segment.start, second)
            total[second] += value(segment) * shared
            weight[second] += shared
    return np.asarray(total / weight)


def _motion(report: Any, count: int) -> Curve:
    """Picture sides per second; a zoom by a factor of e a second moves the picture's rim by half a side."""
    return _spread(
        report.segments,
        lambda s: math.hypot(s.pan, s.tilt) + abs(s.zoom) / 2 + math.radians(abs(s.roll)) / 2 + s.shake,
        count,
    )


def _loudness(report: Any, count: int) -> Curve:
    level = _spread(report.segments, lambda s: max(0.0, min(1.0, (s.rms_db - QUIET_DB) / (LOUD_DB - QUIET_DB))), count)
    return level
