"""Films of shots over photos whose grouping to scenes is known: a scene is one photo, its shots are other views of it.

The files are kept under `.cache/clips/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.media.clips import FAST, cached
from tests.media.effect_clips import footage, photo
from tests.media.encode import Clip, write_clip
from tests.media.scenes import Frame, Look, between, scene, seen

VERSION: Final = "scenes-1"
FPS: Final = 20.0
SHOT_S: Final = 1.5
WIDTH, HEIGHT = 270, 480

FILMS: Final[dict[str, Sequence[tuple[str, int]]]] = {
    # What is seen, and the scene it belongs to.
    "three_places": [
        ("bus.jpg", 0), ("bus.jpg", 0), ("zidane.jpg", 1), ("zidane.jpg", 1), ("zidane.jpg", 1), ("t1.jpg", 2),
        ("t1.jpg", 2),
    ],
    "one_place": [("t1.jpg", 0)] * 5,
    "dialogue": [("zidane.jpg", 0), ("t1.jpg", 0), ("zidane.jpg", 0), ("t1.jpg", 0), ("bus.jpg", 1), ("bus.jpg", 1)],
    "cutaway": [("bus.jpg", 0), ("made_7", 0), ("bus.jpg", 0), ("t1.jpg", 1), ("t1.jpg", 1)],
    "all_different": [("bus.jpg", 0), ("made_11", 1), ("t1.jpg", 2), ("zidane.jpg", 3), ("made_15", 4), ("rabbit", 5)],
    "single_shot": [("made_3", 0)],
}  # fmt: skip


def scene_clip(name: str) -> Clip:
    """The film of that name. Truth: ``shots`` (where each begins, after the first), ``boundaries`` of scenes."""

    def build(path: Path) -> dict[str, Any]:
        shots = FILMS[name]

        def frames() -> Iterator[Frame]:
            rng = np.random.default_rng(sum(map(ord, name)))
            for what, _ in shots:
                yield from _shot(what, rng)

        write_clip(path, frames(), fps=FPS, options=FAST)
        starts = [SHOT_S * number for number in range(1, len(shots))]
        changes = [time for time, one, two in zip(starts, shots, shots[1:], strict=False) if one[1] != two[1]]
        return {"shots": starts, "boundaries": changes, "duration_s": SHOT_S * len(shots)}

    return cached(f"scenes_{name}", build, version=VERSION)


def _shot(what: str, rng: np.random.Generator) -> Iterator[Frame]:
    """A slow move over a photo or a made-up picture, from a place of its own, or footage."""
    count = round(SHOT_S * FPS)
    if what == "rabbit":
        source = footage(4, WIDTH, HEIGHT)
        for number in range(count):
            yield source(number / FPS)
        return
    picture = scene(int(what[5:]), 2 * WIDTH, 2 * HEIGHT) if what.startswith("made_") else photo(what)
    tall, wide = picture.shape[:2]
    most = min(1.0, tall * WIDTH / HEIGHT / wide)
    width = most * float(rng.uniform(0.75, 0.95))
    x = float(rng.uniform(0.5 - 0.3 * (1 - width), 0.5 + 0.3 * (1 - width)))
    y = float(rng.uniform(0.47, 0.53))
    start, end = Look(x, y, width), Look(x + 0.1 * width, y, width * 0.96)
    for number in range(count):
        yield seen(picture, between(start, end, number / count), WIDTH, HEIGHT)
