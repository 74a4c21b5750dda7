"""How right color_analysis is: fields of known colours, through encoding and decoding in both colour matrices."""

from __future__ import annotations

from typing import Final

import numpy as np

from analyzers.color_analysis import ColorAnalysis
from analyzers.methods.color_names import ciede2000, to_lab
from benchmarks.truth import Figure, run_analyzer
from tests.media.clips import color_clip

NAME: Final = "color_analysis"


def measure() -> list[Figure]:
    """Colours, shares, and when the grading changes."""
    figures = []
    for height in (360, 720):
        clip = color_clip(height)
        report = run_analyzer(ColorAnalysis, clip.path)
        colors, shares = [0.0], [0.0]
        for grade in clip.truth["grades"]:
            middle_s = (grade["start"] + grade["end"]) / 2
            segment = next(s for s in report.segments if s.start <= middle_s < s.end)
            found = to_lab(np.array([[int(c.hex[i : i + 2], 16) for i in (1, 3, 5)] for c in segment.palette]))
            for rgb, share in grade["colors"]:
                apart = ciede2000(found, np.broadcast_to(to_lab(np.array([rgb])), found.shape))
                colors.append(float(apart.min()))
                shares.append(abs(segment.palette[int(apart.argmin())].share - share))
        changes = [change.time for change in report.summary.grading_changes]
        late = [min((abs(time - wanted) for time in changes), default=9.0) for wanted in (2.0, 4.0)]
        figures += [
            Figure(NAME, f"{height} lines: worst colour, CIEDE2000 to the truth", max(colors), 3.0, at_most=True),
            Figure(NAME, f"{height} lines: worst share of a colour, error", max(shares), 0.02, at_most=True),
            Figure(NAME, f"{height} lines: changes of grading, worst error in s", max(late), 0.3, at_most=True),
            Figure(NAME, f"{height} lines: changes of grading that are none", len(changes) - 2, 0, at_most=True),
        ]
    return figures
