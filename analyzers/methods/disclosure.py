"""Finds words that say "this is advertising" in text on screen and in speech, and what each of them means.

The words are in disclosure.json. What must be said, and in which words, they take from

- Germany: section 5a (4) UWG, section 22 (1) MStV, section 6 DDG; the media authorities' guide "Werbekennzeichnung bei
  Online-Medien" asks for "Werbung" or "Anzeige" at the beginning, names "#ad" and "sponsored by" as not enough in
  German, and treats goods received free of charge as a consideration;
- United States: the FTC's Endorsement Guides (16 CFR part 255) and "Disclosures 101 for Social Media Influencers"
  (2019): "#ad", "ad", "sponsored", "paid partnership" are understood, "sp", "spon", "collab" are not.

Whether a disclosure is sufficient is a lawyer's question; here stands only what was shown or said.

A word of everyday language ("Anzeige", "Werbung", "ad", "gifted") discloses nothing inside a sentence. It counts as a
hashtag, as a text of its own, or set apart by punctuation ("Anzeige | ...", "(Werbung)"). Words are compared whole:
"#adidas", "add" and "Werbungskosten" are none. A "no" or "not" before it turns it into a denial.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from analyzers.methods.lexicon import Hit, Lexicon, Token, folded, tokens

Kind = Literal["paid", "gifted", "affiliate", "unpaid", "denied"]

LABEL_WORDS_MAX: Final = 2
"""Words that a spoken sentence may have to be a label ("Werbung!")."""
NEGATION_REACH: Final = 2
"""Words between a negation and what it denies ("not really sponsored")."""
# fmt: off
_NEGATIONS: Final = frozenset(folded(word) for word in (
    "no", "not", "never", "without", "isn't", "wasn't", "aren't",
    "kein", "keine", "keinen", "keinerlei", "nicht", "nie", "ohne",
))
# fmt: on
_APART: Final = "([{|/•·*~–—-:!.,;→>»<)]}"
"""Signs that set a label apart from what stands beside it."""
_JOINING: Final = ("mit", "with", "by", "von", "for", "fuer", "x", "in")
"""Words that a hashtag may swallow with the space after it ("#ad mit" read as "#admit")."""


@dataclass(frozen=True)
class Disclosing:
    """One entry of the lexicon."""

    words: str
    kind: Kind
    where: Literal["tag", "label", "anywhere"]
    language: str
    meaning: str


@dataclass(frozen=True)
class Disclosed:
    """What a text discloses: the entry, the words as they stand there, their tokens' numbers, and how surely."""

    entry: Disclosing
    kind: Kind
    shown: str
    first: int
    last: int
    quality: float


@cache
def _lexicons() -> tuple[Lexicon[Disclosing], dict[str, Disclosing], Lexicon[Disclosing]]:
    raw = json.loads(Path(__file__).with_name("disclosure.json").read_text(encoding="utf-8"))["words"]
    never = [tuple(row.pop("not", ())) for row in raw]
    entries = [(Disclosing(**row), [row["words"]], words) for row, words in zip(raw, never, strict=True)]
    free = Lexicon(entry for entry in entries if entry[0].where != "tag")
    tags = [entry for entry in entries if entry[0].where == "tag"]
    return free, {folded(entry.words): entry for entry, _, _ in tags}, Lexicon(tags)


def find(text: str, *, spoken: bool = False, brand_keys: frozenset[str] = frozenset()) -> list[Disclosed]:
    """All that a text discloses, in its order.

    Args:
        text: one text on screen, its lines joined by line feeds, or one spoken sentence.
        spoken: whether it was said; then "Werbung" must be nearly all that was.
        brand_keys: folded names, to part "#admitAdidas".
    """
    words = tokens(text)
    free, _, _ = _lexicons()
    found = [*_tags(text, words, brand_keys)]
    for hit in free.find(words):
        if hit.entry.where == "label" and not _is_label(text, words, hit, spoken):
            continue
        if any(word.mark == "#" for word in words[hit.first : hit.last + 1]):
            continue  # a hashtag is looked up as one
        kind = hit.entry.kind
        before = {word.key for word in words[max(0, hit.first - NEGATION_REACH) : hit.first]}
        if kind != "unpaid" and before & _NEGATIONS:
            kind = "denied"
        shown = text[words[hit.first].start : words[hit.last].end]
        found.append(Disclosed(hit.entry, kind, shown, hit.first, hit.last, hit.quality))
    return sorted(found, key=lambda one: one.first)


def _tags(text: str, words: Sequence[Token], brand_keys: frozenset[str]) -> Iterator[Disclosed]:
    _, tags, lexicon = _lexicons()
    for number, word in enumerate(words):
        # "Hashtag" is how one is spoken.
        said = number > 0 and words[number - 1].key == "hashtag"
        if word.mark != "#" and not said:
            continue
        entry, quality = tags.get(word.key), 1.0
        if entry is None:
            hits = lexicon.find([word])
            if hits:
                entry, quality = hits[0].entry, hits[0].quality
        if entry is None and _swallowed(word.key, brand_keys):
            entry, quality = tags["ad"], 0.75
        if entry is not None:
            yield Disclosed(entry, entry.kind, text[word.start : word.end], number, number, quality)


def _swallowed(key: str, brand_keys: frozenset[str]) -> bool:
    """Whether a hashtag is "#ad" that lost the spaces before a preposition and a brand ("#admitadidas")."""
    if not key.startswith("ad"):
        return False
    rest = key[2:]
    return any(rest == word or (rest.startswith(word) and rest[len(word) :] in brand_keys) for word in _JOINING[:-2])


def _is_label(text: str, words: Sequence[Token], hit: Hit[Disclosing], spoken: bool) -> bool:
    """Whether the words stand for themselves: alone, or set apart from the rest of the text."""
    if spoken:
        return len(words) <= LABEL_WORDS_MAX
    start, end = words[hit.first].start, words[hit.last].end
    if any(word.mark == "@" for word in words[hit.first : hit.last + 1]):
        return False
    before, after = text[:start].rstrip(" \t"), text[end:].lstrip(" \t")
    # A line feed parts a label at the top from a sentence below it, unless that goes on in small letters.
    opens = not before or before[-1] in _APART
    closes = not after or after[0] in _APART or (after[0] == "\n" and not before and not after[1:2].islower())
    if closes and after[:1] in (".", "!", ",", ";") and before:
        return False  # the end of a sentence
    return opens and closes
