"""Reads text in a run of pictures without looking twice at what did not change. It remembers nothing beyond the run.

Looking for text costs 70 ms a picture, so between neighbouring pictures only the rows are looked at in which pixels of
high contrast (strokes are) changed their light; and a line is read again only if one of its letters did.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from analyzers.models.pp_ocr import LOOK_PX, Corners, Reading

ENLARGE_MAX: Final = 2.0
"""A small picture is enlarged at most this much."""

STROKE_CONTRAST: Final = 40
"""Levels between the lightest and the darkest of 5x5 pixels from which on there may be a stroke."""
CHANGE_LEVELS: Final = 24
"""A pixel has changed from this difference on; coding noise stays below."""
BLOCK_PX: Final = 16
BLOCK_SHARE: Final = 0.04
"""10 of a block's 256 pixels: half of the smallest letter that can be read."""
ROWS_PAD_PX: Final = 24
WHOLE_SHARE: Final = 0.7
"""If the changed rows are more than this, all are looked at."""
SAME_PLACE: Final = 0.7
"""Overlap of two boxes from which on they may be the same line, unread."""
SLICE_CHANGED: Final = 0.12
"""A letter is another one if this share of its filled pixels changed: 0.05 by coding noise, 0.3 from "1" to "2"."""
SLICE_PIXELS_MIN: Final = 20
SAME_SIZE: Final = 0.15
"""Share by which the sides of a line's box may differ when the line has moved; then it is looked for inside."""
MOVED_PLACE: Final = 4.0
"""How many heights a line may have moved between two pictures and still be recognised unread."""
SLICE_LIKENESS: Final = 0.9
"""Correlation of each slice of a line that moved with itself."""

LINES_MAX: Final = 40
"""Lines of one picture that are read; noise can look like hundreds."""
EVEN_CONTRAST: Final = 100
"""Levels between the lightest and the darkest pixel of a line, at least, for drawn letters."""
EVEN_LEVELS: Final = 17
"""Width of a level, coding noise included."""
EVEN_SHARE: Final = 0.38
"""At least this share of the bright or the dark half of a line's pixels is of one level if its letters are drawn."""
HALF_MIN: Final = 0.05
"""A half of less than this share of the pixels holds no letters."""

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in 0..1 of the picture."""
Light = npt.NDArray[np.uint8]
"""Levels of grey [H, W]."""
Rows = tuple[float, float]
"""From and to, in 0..1 of the height."""


@dataclass(frozen=True)
class Line:
    """A line as read in one picture.

    Args:
        text: what it says, in Unicode's composed form.
        score: mean probability of the characters, 0..1.
        box: x0, y0, x1, y1 in 0..1 of the picture.
        even: whether its letters are drawn: one even colour that stands out sharply.
    """

    text: str
    score: float
    box: Box
    even: bool


class TextEngine(Protocol):
    """Finds lines and reads them, any number at once; each answer depends on its own picture alone.

    Pictures are RGB [H, W, 3]; a line is a part of one.
    """

    look_px: int
    """Shorter side of the whole picture at which text is looked for."""

    def find(self, pictures: Sequence[Pixels], scales: Sequence[float]) -> list[list[Corners]]:
        """Boxes of lines in each picture, in its pixels, looked for at `scale` times its size."""

    def read(self, lines: Sequence[Pixels]) -> list[Reading]:
        """What each line says."""


Look = tuple[Pixels, Rows]
"""An RGB picture [H, W, 3] and the rows of it to look at."""


@dataclass(frozen=True)
class _Known:
    """A line that is to be read in this run: its pixels, their light, its place in pixels of the picture."""

    crop: Pixels
    light: Light
    place: Corners


def read_runs(engine: TextEngine, runs: Sequence[Sequence[Look]]) -> list[list[tuple[Line, ...]]]:
    """The lines in some rows of the pictures of each run; a run is neighbouring pictures of one video, in order.

    A line that stands there still, or has only moved, since an earlier picture of its run is not read again; which
    lines do is seen before any is read, so all runs are looked through at once and read at once. A line that the edge
    of the rows cuts is left out.
    """
    looks = [look for run in runs for look in run]
    spans = [_span(frame, rows) for frame, rows in looks]
    pictures = [frame[top:bottom] for (frame, _), (top, bottom) in zip(looks, spans, strict=True)]
    scales = [min(ENLARGE_MAX, engine.look_px / min(frame.shape[:2])) for frame, _ in looks]
    found = iter(list(zip(looks, spans, engine.find(pictures, scales), strict=True)))
    unread: list[_Known] = []
    seen: list[list[list[tuple[int, Box]]]] = []  # by run and look: number in `unread`, and box
    for run in runs:
        first = len(unread)
        seen.append([])
        for _ in run:
            (frame, _), (top, bottom), boxes = next(found)
            height, width = frame.shape[:2]
            seen[-1].append([])
            for x0, y0, x1, y1 in boxes[:LINES_MAX]:
                if (y0 <= 1 and top > 0) or (y1 >= bottom - top - 1 and bottom < height):
                    continue
                place = (x0, top + y0, x1, top + y1)
                number = next(
                    (
                        n
                        for n in range(len(unread) - 1, first - 1, -1)
                        if _stands(unread[n], place, frame) or _moved(unread[n], place, frame)
                    ),
                    None,
                )
                if number is None:
                    crop = frame[place[1] : place[3], x0:x1]
                    number = len(unread)
                    unread.append(_Known(crop, light_of(crop), place))
                seen[-1][-1].append((number, (x0 / width, place[1] / height, x1 / width, place[3] / height)))
    readings = engine.read([known.crop for known in unread])
    texts = [
        (unicodedata.normalize("NFC", reading.text), reading.score, even_letters(known.crop))
        for reading, known in zip(readings, unread, strict=True)
    ]
    return [
        [tuple(Line(texts[n][0], texts[n][1], box, texts[n][2]) for n, box in look) for look in run] for run in seen
    ]


def _span(frame: Pixels, rows: Rows) -> tuple[int, int]:
    """First row of pixels, and the one after the last."""
    top = int(rows[0] * len(frame))
    return top, max(top + 1, round(rows[1] * len(frame)))


def light_of(picture: npt.NDArray[np.uint8]) -> Light:
    """The light of an RGB picture, at its size."""
    import cv2

    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def small_light(frame: npt.NDArray[np.uint8]) -> Light:
    """The light of an RGB picture, at the size at which text is looked for."""
    import cv2

    height, width = frame.shape[:2]
    scale = min(1.0, LOOK_PX / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(light_of(frame), size, interpolation=cv2.INTER_AREA), np.uint8)


def changed_rows(before: Light, after: Light) -> Rows | None:
    """The rows in which strokes may have come, gone or changed between two small pictures; None if in none."""
    import cv2

    contrast = np.maximum(_contrast(before), _contrast(after))
    hot = (contrast >= STROKE_CONTRAST) & (cv2.absdiff(before, after) >= CHANGE_LEVELS)
    height, width = before.shape
    across, down = max(1, round(width / BLOCK_PX)), max(1, round(height / BLOCK_PX))
    shares = np.asarray(cv2.resize(hot.astype(np.float32), (across, down), interpolation=cv2.INTER_AREA))
    rows = np.flatnonzero((shares.reshape(down, across) >= BLOCK_SHARE).any(axis=1))
    if len(rows) == 0:
        return None
    pad = ROWS_PAD_PX / height
    top, bottom = max(0.0, float(rows[0]) / down - pad), min(1.0, float(rows[-1] + 1) / down + pad)
    return (0.0, 1.0) if bottom - top > WHOLE_SHARE else (top, bottom)


def even_letters(crop: npt.NDArray[np.uint8]) -> bool:
    """Whether an RGB crop of a line has letters of one even colour that stand out sharply, as drawn ones do."""
    light = light_of(crop)
    return float(np.ptp(light)) >= EVEN_CONTRAST and commonest_level(light)[1] >= EVEN_SHARE


def commonest_level(light: Light) -> tuple[int, float]:
    """Of the bright and the dark half of a line (Otsu's), the one with more of one level: that level, and its share."""
    import cv2

    _, mask = cv2.threshold(light, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    best = (0, 0.0)
    for half in (light[mask == 1], light[mask == 0]):
        if len(half) >= HALF_MIN * light.size:
            near = np.convolve(np.bincount(half, minlength=256), np.ones(EVEN_LEVELS), "same")
            best = max(best, (int(near.argmax()), float(near.max() / len(half))), key=lambda found: found[1])
    return best


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def _stands(known: _Known, place: Corners, frame: npt.NDArray[np.uint8]) -> bool:
    """Whether a line's letters stand there still: in no slice of half its height did the pixels of their colour change.

    A letter's fill (or its rim) is where the light is near the line's commonest level; single pixels at edges flicker.
    """
    import cv2

    if overlap(known.place, place) <= SAME_PLACE:
        return False
    x0, y0, x1, y1 = known.place
    level, share = commonest_level(known.light)
    if share == 0:
        return False
    then, now = (
        np.abs(light.astype(np.int16) - level) <= EVEN_LEVELS for light in (known.light, light_of(frame[y0:y1, x0:x1]))
    )
    changed = cv2.morphologyEx((then ^ now).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    edges = np.arange(0, x1 - x0, max(4, (y1 - y0) // 2))
    filled = np.maximum(np.add.reduceat((then | now).sum(axis=0), edges), SLICE_PIXELS_MIN)
    return bool((np.add.reduceat(changed.sum(axis=0, dtype=np.int64), edges) <= SLICE_CHANGED * filled).all())


def _moved(known: _Known, place: Corners, frame: npt.NDArray[np.uint8]) -> bool:
    """Whether a line is at another place now, letter for letter (text on something that moves)."""
    import cv2

    old, new = known.place, place
    height, width = old[3] - old[1], old[2] - old[0]
    if abs(new[3] - new[1] - height) > SAME_SIZE * height + 2 or abs(new[2] - new[0] - width) > SAME_SIZE * height + 2:
        return False
    if max(abs(new[0] - old[0]), abs(new[1] - old[1])) > MOVED_PLACE * height:
        return False
    inner_y, inner_x = height // 8, min(width // 8, height // 4)
    inner = known.light[inner_y : height - inner_y, inner_x : width - inner_x]
    now = light_of(frame[new[1] : new[3], new[0] : new[2]])
    if inner.shape[0] > now.shape[0] or inner.shape[1] > now.shape[1] or min(inner.shape) < 4:
        return False
    likeness = cv2.matchTemplate(now, inner, cv2.TM_CCOEFF_NORMED)
    y, x = divmod(int(np.argmax(likeness)), likeness.shape[1])
    aligned = now[y : y + inner.shape[0], x : x + inner.shape[1]].astype(np.float32)
    step = max(4, height // 2)
    for start in range(0, inner.shape[1], step):
        a, b = inner[:, start : start + step].astype(np.float32), aligned[:, start : start + step]
        a, b = a - a.mean(), b - b.mean()
        spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
        if spread > a.size and float((a * b).sum()) < SLICE_LIKENESS * spread:
            return False
    return True


def _contrast(light: Light) -> Light:
    import cv2

    return np.asarray(cv2.morphologyEx(light, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)), np.uint8)
