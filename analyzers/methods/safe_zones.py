"""What TikTok, Reels and Shorts leave free of their own buttons: named data with its sources (safe_zones.json).

The figures are those of the platforms' specifications for advertisements, which leave most room below for captions
and a button; ordinary posts lose less at the bottom.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

Margins = tuple[float, float, float, float]
Corners = tuple[float, float, float, float]
SCREEN: Final = 9 / 16


@cache
def safe_zones() -> Mapping[str, Margins]:
    """By app, the part of a 9:16 screen that it leaves free, `[x0, y0, x1, y1]` in 0..1."""
    raw = json.loads(Path(__file__).with_name("safe_zones.json").read_text(encoding="utf-8"))
    width, height = raw["width"], raw["height"]
    return {
        zone["name"]: (
            round(zone["margins"]["left"] / width, 4),
            round(zone["margins"]["top"] / height, 4),
            round(1 - zone["margins"]["right"] / width, 4),
            round(1 - zone["margins"]["bottom"] / height, 4),
        )
        for zone in raw["zones"]
    }


def covering(box: Corners, aspect: float, zones: Mapping[str, Margins]) -> list[str]:
    """The apps whose own buttons cover a part of the box, if a video of that width over height fills a 9:16 screen."""
    wide, tall = min(1.0, aspect / SCREEN), min(1.0, SCREEN / aspect)  # shares of the screen that the video takes
    x0, x1 = ((x - 0.5) * wide + 0.5 for x in (box[0], box[2]))
    y0, y1 = ((y - 0.5) * tall + 0.5 for y in (box[1], box[3]))
    return sorted(app for app, z in zones.items() if x0 < z[0] or y0 < z[1] or x1 > z[2] or y1 > z[3])
