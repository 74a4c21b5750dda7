"""Finds calls to action ("follow for more", "Link in der Bio", "jetzt bestellen") and farewells in text and speech.

The phrases, English and German, are in calls_to_action.json; they are compared as methods/lexicon.py does, so that a
misread letter or a lost space does not hide them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from analyzers.methods.lexicon import Lexicon, tokens
from analyzers.methods.texts import Text


@dataclass(frozen=True)
class Call:
    """A call to action or a farewell: what it asks for, its words as they stand there, and when."""

    kind: str
    words: str
    analyzer: str
    start: float
    end: float
    score: float


@cache
def _lexicon() -> Lexicon[tuple[str, str]]:
    raw = json.loads(Path(__file__).with_name("calls_to_action.json").read_text(encoding="utf-8"))
    return Lexicon(((row["kind"], row["words"]), [row["words"]], ()) for row in raw["phrases"])


def calls(texts: Sequence[Text]) -> Iterator[Call]:
    """All calls and farewells in captions and speech; signs in the scene call nobody.

    A caption calls as long as it stands there, speech while the phrase is spoken.
    """
    for text in texts:
        if text.sign:
            continue
        words = tokens(text.text)
        for hit in _lexicon().find(words):
            begin, end = words[hit.first].start, words[hit.last].end
            start_s, end_s, score = text.when(begin, end)
            shown = " ".join(text.text[begin:end].split())
            yield Call(hit.entry[0], shown, text.analyzer, start_s, end_s, min(1.0, score * hit.quality))
