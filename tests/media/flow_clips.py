"""Short reels whose phases are known: quiet scenes, a fast and loud stretch, a caption that asks for something.

Drawn scenes (tests/media/scenes.py) under slow and fast camera moves, with cuts, captions and a song whose level is
raised in the fast stretch. Small (360x640), so that reading them costs little.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.media.clips import cached
from tests.media.encode import Clip, write_clip
from tests.media.music import RATE, song
from tests.media.scenes import Frame, Look, between, scene, seen
from tests.media.text_clips import Caption, draw

VERSION: Final = "flow-1"
WIDTH, HEIGHT, FPS = 360, 640, 30.0


@dataclass(frozen=True)
class FlowReel:
    """One reel: its length, cuts, the fast stretch (None for none), captions, and the phases that follow from them."""

    name: str
    seconds: float
    cuts: tuple[float, ...]
    peak: tuple[float, float] | None
    captions: tuple[Caption, ...]
    phases: tuple[tuple[str, float, float], ...]
    seed: int


REELS: Final = (
    FlowReel(
        "flow_follow", 14.0, (3.0, 6.5, 7.0, 7.5, 8.0, 8.5, 9.0, 9.5), (6.5, 9.5),
        (Caption("3 Tipps für dich", 0.5, 2.5, y=0.2, size=60, outline=5),
         Caption("Folge mir für mehr", 11.0, 14.0, y=0.7, size=58, outline=5)),
        (("hook", 0, 3), ("build", 3, 6.5), ("peak", 6.5, 9.5), ("build", 9.5, 11), ("cta", 11, 14)), 1101,
    ),
    FlowReel(
        "flow_buy", 13.0, (5.0, 5.6, 6.2, 6.8, 7.4, 8.0), (5.0, 8.0),
        (Caption("you need this", 1.0, 2.5, y=0.3, size=60, outline=5),
         Caption("SHOP NOW", 9.0, 11.0, y=0.6, size=70, face="heavy", outline=6)),
        (("hook", 0, 3), ("build", 3, 5), ("peak", 5, 8), ("build", 8, 9), ("cta", 9, 11), ("outro", 11, 13)), 1102,
    ),
    FlowReel(
        "flow_even", 11.0, (3.5, 7.0), None,
        (Caption("a walk in the park", 1.0, 3.0, y=0.3, size=56, outline=5),
         Caption("we follow the river", 7.5, 10.0, y=0.7, size=56, outline=5)),
        (("hook", 0, 3.5), ("build", 3.5, 11)), 1103,
    ),
)  # fmt: skip


def flow_reel(reel: FlowReel) -> Clip:
    """The clip of a reel, made on first use. Truth: ``phases``."""

    def build(path: Path) -> dict[str, Any]:
        music, _ = song(reel.seconds, 120.0)
        level = np.full(len(music), 0.05, np.float32)
        if reel.peak is not None:
            level[round(reel.peak[0] * RATE) : round(reel.peak[1] * RATE)] = 0.6
        write_clip(path, _frames(reel), fps=FPS, sound=music * level, sound_rate=RATE)
        return {"phases": [list(phase) for phase in reel.phases]}

    return cached(reel.name, build, version=VERSION)


def _frames(reel: FlowReel) -> Iterator[Frame]:
    borders = [0.0, *reel.cuts, reel.seconds]
    pictures = [scene(reel.seed * 50 + n, 2 * WIDTH, 2 * HEIGHT) for n in range(len(borders) - 1)]
    for number in range(round(reel.seconds * FPS)):
        time_s = number / FPS
        shot = max(n for n, start in enumerate(borders[:-1]) if start <= time_s + 1e-6)
        fast = reel.peak is not None and reel.peak[0] <= time_s < reel.peak[1]
        start = Look(0.35, 0.5, 0.5)
        end = Look(0.65 if fast else 0.37, 0.5, 0.5)
        share = (time_s - borders[shot]) / (borders[shot + 1] - borders[shot])
        frame = seen(pictures[shot], between(start, end, share), WIDTH, HEIGHT)
        yield draw(frame, [c for c in reel.captions if c.start <= time_s + 1e-6 < c.end])
