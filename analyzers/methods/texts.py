"""What was written on screen and said, as texts with times: captions of several lines as one, trusted words."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

WORD_SCORE_MIN: Final = 0.3
"""Of a spoken word; what the recogniser itself doubts names no brand."""
BLOCK_S: Final = 0.3
"""Lines of one caption appear and go together within this."""


@dataclass(frozen=True)
class Text:
    """Something written or said: `lines` joined by line feeds, from `start` to `end`.

    Args:
        analyzer: text_overlay or speech_transcription.
        times: start, end and score of each of its `pieces` (a line, a word), which are what it is made of.
        sign: whether it belongs to the scene.
    """

    analyzer: str
    start: float
    end: float
    text: str
    pieces: tuple[tuple[int, int, float, float, float], ...]
    sign: bool = False

    def when(self, start: int, end: int) -> tuple[float, float, float]:
        """Start, end and mean score of the pieces that characters `start` to `end` touch."""
        touched = [piece for piece in self.pieces if piece[0] < end and piece[1] > start]
        return (
            min(piece[2] for piece in touched),
            max(piece[3] for piece in touched),
            statistics.fmean(piece[4] for piece in touched),
        )


def read(report: Any) -> Iterator[Text]:
    """Captions, lines that stand under one another together, and signs."""
    left = list(report.segments)
    while left:
        block = [left.pop(0)]
        for other in [s for s in left if s.kind == block[0].kind == "overlay"]:
            if _goes_on(block[-1], other):
                block.append(other)
                left.remove(other)
        pieces, position = [], 0
        for line in block:
            pieces.append((position, position + len(line.text), line.start, line.end, line.score))
            position += len(line.text) + 1
        text = "\n".join(line.text for line in block)
        ends = min(line.start for line in block), max(line.end for line in block)
        yield Text("text_overlay", *ends, text, tuple(pieces), sign=block[0].kind == "scene")


def _goes_on(above: Any, below: Any) -> bool:
    """Whether a caption is the next line of another one: below it, as high as it, at the same time."""
    height = above.box[3] - above.box[1]
    gap = below.box[1] - above.box[3]
    return bool(
        abs(above.start - below.start) <= BLOCK_S
        and abs(above.end - below.end) <= BLOCK_S
        and -0.3 * height <= gap <= 0.8 * height
        and abs((below.box[3] - below.box[1]) - height) <= 0.35 * height
        and min(above.box[2], below.box[2]) > max(above.box[0], below.box[0])
    )


def heard(report: Any) -> Iterator[Text]:
    """Spoken sentences, of the words that the recogniser believes."""
    for segment in report.segments:
        pieces, position, words = [], 0, []
        for word in segment.words:
            if word.score >= WORD_SCORE_MIN:
                plain = word.word.strip()
                pieces.append((position, position + len(plain), word.start, word.end, word.score))
                position += len(plain) + 1
                words.append(plain)
        if words:
            yield Text("speech_transcription", segment.start, segment.end, " ".join(words), tuple(pieces))


def around(text: Text, begin: int, end: int) -> str:
    """`says 'my new Adidas shoes'`: the words with some around them."""
    left = text.text.rfind(" ", 0, max(0, begin - 24)) + 1 if begin > 24 else 0
    right = text.text.find(" ", end + 24)
    said = " ".join(text.text[left : right if right > 0 else len(text.text)].split())
    verb = "says" if text.analyzer == "speech_transcription" else "sign" if text.sign else "caption"
    return f"{verb} '{said}'"
