"""How right content_quality is: pictures with one fault of known degree (a seed that no parameter saw)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from analyzers.content_quality import ContentQuality, QualitySummary
from benchmarks.truth import Figure, run_analyzer
from tests.media.clips import spoiled_clip

NAME: Final = "content_quality"
SEED: Final = 1000
NOISE: Final = (3.0, 6.0, 12.0)


def measure() -> list[Figure]:
    """Monotone answers to growing faults, and the noise in levels."""
    blurs = _all("blur", (0, 1, 2, 3, 5))
    noises = _all("noise", NOISE)
    rates = _all("crf", (18, 35, 45))
    dark, bright = _all("gain", (0.15,))[0], _all("gain", (2.6,))[0]
    error = max(abs(one.noise - sigma) / sigma for one, sigma in zip(noises, NOISE, strict=True))
    sharpness = [one.sharpness if one.sharpness is not None else 0.0 for one in blurs]
    rise = rates[-1].blockiness - rates[0].blockiness
    return [
        Figure(NAME, "blur 0 to 5 px: smallest loss of sharpness from one to the next", -max(np.diff(sharpness)), 0.0),
        Figure(NAME, "blur 0 to 5 px: sharpness lost in all", sharpness[0] - sharpness[-1], 0.5),
        Figure(NAME, "blur of 5 px is called blurry", float("blurry" in blurs[-1].causes), 1),
        Figure(NAME, "noise of 3, 6, 12 levels: worst relative error", error, 0.2, at_most=True),
        Figure(NAME, "crf 45 against crf 18: rise of blockiness", rise, 0.1),
        Figure(NAME, "gain 0.15 is underexposed", float(dark.causes[:1] == ["underexposed"]), 1),
        Figure(NAME, "gain 2.6 is overexposed", float(bright.causes[:1] == ["overexposed"]), 1),
        Figure(NAME, "an unspoiled picture's score", blurs[0].score, 90),
    ]


def _all(fault: str, degrees: Sequence[float]) -> list[QualitySummary]:
    return [run_analyzer(ContentQuality, spoiled_clip(SEED, fault, degree).path).summary for degree in degrees]
