"""Finds brands of the lexicon (brands.json) in text on screen and in speech.

The lexicon holds some 450 widely known brands with their spellings, chosen by hand for English and German short
video; platforms (TikTok, Instagram, YouTube) are left out, since their names stand in every clip as watermarks and
calls to follow. A name that is also an ordinary word (Apple, Target, Orange) needs a second hint: `#` or `@` before it,
a sign of its own in the scene, or a capital letter and a word of its context (a laptop, a store, a SIM card) within
`CONTEXT_S`. German writes every noun with a capital: a name that is a German word (Mango, Puma) needs such a word
beside it, or "von", "bei", "from" before it. Such names are never guessed from a misspelling.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from analyzers.methods.lexicon import DIGITS, Lexicon, Token, folded, tokens

CONTEXT_S: Final = 3.0
"""How near in time a word of the context must be, read or heard."""
TAG_ENDINGS: Final = ("de", "germany", "deutschland", "official", "us", "usa", "uk", "eu", "partner", "ad", "at", "ch")
"""What accounts and hashtags add to a brand's name ("@nikede", "#nikepartner")."""
TAG_LETTERS_MIN: Final = 4
MAKERS_WORDS: Final = ("von", "bei", "from", "by")
"""What stands before the name of a maker or a shop."""


@dataclass(frozen=True)
class Brand:
    """One brand: `context` is there for a name that is also an ordinary word, and empty for others; `noun` says that it
    is a German one."""

    name: str
    category: str
    context: frozenset[str]
    noun: bool


@dataclass(frozen=True)
class Named:
    """A brand in a text: tokens `first` to `last`, how surely, and whether nothing else could be meant."""

    brand: Brand
    first: int
    last: int
    quality: float
    marked: bool


@cache
def lexicon() -> tuple[Lexicon[Brand], frozenset[str]]:
    """The brands, and all their folded spellings."""
    raw = json.loads(Path(__file__).with_name("brands.json").read_text(encoding="utf-8"))
    entries = []
    keys = set()
    for row in raw["brands"]:
        words = row.get("context") or raw["context"][row["category"]]
        context = frozenset(folded(word) for word in words) if "word_in" in row else frozenset()
        spellings = [row["name"], *row.get("spellings", ())]
        keys |= {folded(spelling) for spelling in spellings}
        brand = Brand(row["name"], row["category"], context, "de" in row.get("word_in", ()))
        entries.append((brand, spellings, tuple(row.get("not", ()))))
    return Lexicon(entries, near_ok=lambda brand: not brand.context), frozenset(keys)


def find(words: Sequence[Token]) -> Iterator[Named]:
    """All brands in a text; whether an ambiguous one is meant, `certain` tells."""
    found, keys = lexicon()
    covered = set()
    for hit in found.find(words):
        first = words[hit.first]
        marked = first.mark != "" and first.end - first.start == len(first.word) + 1
        if marked and hit.last > hit.first:
            continue  # a hashtag is one word
        covered |= set(range(hit.first, hit.last + 1))
        yield Named(hit.entry, hit.first, hit.last, hit.quality, marked)
    for number, word in enumerate(words):
        if word.mark and number not in covered:
            for ending in TAG_ENDINGS:
                stem = word.key.removesuffix(ending)
                if stem != word.key and len(stem) >= TAG_LETTERS_MIN and stem in keys:
                    brand = found.find([Token(word.mark, stem, stem, word.start, word.end)])[0].entry
                    yield Named(brand, number, number, DIGITS, True)
                    break


class Context:
    """All words that were read or heard, by time."""

    def __init__(self, spoken: Sequence[tuple[float, float, str]]) -> None:
        """`spoken`: (start, end, text) of texts and words."""
        self._words = sorted((start, end, token.key) for start, end, text in spoken for token in tokens(text))
        self._starts = [start for start, _, _ in self._words]
        self._longest_s = max((end - start for start, end, _ in self._words), default=0.0)

    def near(self, start: float, end: float) -> set[str]:
        """The words from `CONTEXT_S` before a stretch to as long after it."""
        low = bisect_left(self._starts, start - CONTEXT_S - self._longest_s)
        high = bisect_left(self._starts, end + CONTEXT_S)
        return {key for _, until, key in self._words[low:high] if until > start - CONTEXT_S}


def certain(named: Named, words: Sequence[Token], near: set[str], *, sign: bool) -> bool:
    """Whether the brand is meant.

    Args:
        named: as found.
        words: of the text in which it was found.
        near: the words around it in time.
        sign: whether the text is a sign in the scene.
    """
    if not named.brand.context or named.marked:
        return True
    place = words[named.first : named.last + 1]
    if sign and len(place) == len(words):
        return True
    if named.brand.noun:
        before = words[named.first - 1].key if named.first else ""
        after = words[named.last + 1].key if named.last + 1 < len(words) else ""
        return before in MAKERS_WORDS or bool({before, after} & named.brand.context)
    capital = place[0].word[:1].isupper() or place[0].word[:1].isdigit() or named.brand.name[0].islower()
    return capital and bool(near & (named.brand.context - {word.key for word in place}))
