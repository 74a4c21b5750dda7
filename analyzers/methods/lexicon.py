"""Finds the words of a lexicon in text that was read or heard: misread letters, lost and added spaces, other spellings.

A word is never found inside another one: texts are cut into tokens, and whole tokens, or whole runs of them, are
compared. Three qualities of a match, from sure to doubtful:

- exact, after case and accents are folded and spaces are left out;
- with the digits put back that recognition mistakes for letters (0 for o, 1 for l or i, 5 for s, 8 for b, $ for s);
- word by word with Levenshtein distance 1 from six letters on and 2 from ten on (Levenshtein 1966), which is 0.1 to
  0.2 of the length (Kukich, "Techniques for automatically correcting words in text", 1992: most misspellings have one
  wrong letter). The first letter must be right, and ordinary words so near to a name are listed with it and never
  taken for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

EXACT, DIGITS, NEAR = 1.0, 0.9, 0.75
"""How much a match counts."""
NEAR_LETTERS: Final = 6
"""Shorter words are too near to too many others."""
NEAR_TWO_LETTERS: Final = 10
DIGIT_LETTERS: Final = 4
JOINED_LETTERS: Final = 7
"""A name of fewer letters is not put together from tokens that it does not consist of ("as us", "al di", "open ai")."""
TOKENS_MAX: Final = 5

# A token: letters and digits, with what joins them inside names (H&M, L'Oréal, M&M's, amazon.de); a mark before it.
_TOKEN: Final = re.compile(r"(?P<mark>[#@]\s?)?(?P<word>[^\W_]+(?:[&'’.$|][^\W_]+)*[+]?)|&")
_CAMEL: Final = re.compile(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])")
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_PLAIN: Final = str.maketrans({"ä": "a", "ö": "o", "ü": "u", "ß": "ss"})
_DIGITS: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "5": "s", "$": "s", "8": "b"})


@dataclass(frozen=True)
class Token:
    """A word of a text: its mark (``#``, ``@`` or none), itself, its folded form, and where it stands."""

    mark: str
    word: str
    key: str
    start: int
    end: int


def folded(text: str, *, plain: bool = False) -> str:
    """Letters, digits, `&` and `+` in lower case, without accents; umlauts written out, or dropped if `plain`."""
    small = unicodedata.normalize("NFC", text).casefold().translate(_PLAIN if plain else _UMLAUTS)
    return "".join(c for c in unicodedata.normalize("NFKD", small) if c.isalnum() or c in "&+$|")


def tokens(text: str, *, camel: bool = True) -> list[Token]:
    """The words of a text in order; if `camel`, such as lost the space between them are parted ("mitAdidas")."""
    found = []
    for match in _TOKEN.finditer(text):
        word = match["word"] or "&"
        mark = (match["mark"] or "").strip()
        start = match.start()
        pieces = _CAMEL.split(word) if camel and not mark else [word]
        offset = match.end() - len(word)
        for piece in pieces:
            end = offset + len(piece)
            found.append(Token(mark, piece, folded(piece), start if piece is pieces[0] else offset, end))
            offset = end
    return found


def distance(a: str, b: str, limit: int) -> int:
    """Levenshtein's distance of two words, or `limit` + 1 if it is larger."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
        if min(row) > limit:
            return limit + 1
    return row[-1]


def near_limit(letters: int) -> int:
    """The distance up to which a word of so many letters may be a misread one."""
    return 0 if letters < NEAR_LETTERS else 1 if letters < NEAR_TWO_LETTERS else 2


Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Hit(Generic[Entry]):
    """An entry found in a text: tokens `first` to `last` (inclusive), and how surely (EXACT, DIGITS, NEAR)."""

    entry: Entry
    first: int
    last: int
    quality: float


@dataclass(frozen=True)
class _Spelling(Generic[Entry]):
    entry: Entry
    keys: tuple[str, ...]


class Lexicon(Generic[Entry]):
    """Entries by their spellings.

    Args:
        entries: (entry, its spellings, ordinary words that are never a misread spelling of it).
        near_ok: whether an entry is found where a letter is wrong or missing; not for one that is an ordinary word.
    """

    def __init__(
        self,
        entries: Iterable[tuple[Entry, Sequence[str], Sequence[str]]],
        near_ok: Callable[[Entry], bool] = lambda entry: True,
    ) -> None:
        self._near_ok = near_ok
        self._exact: dict[str, list[_Spelling[Entry]]] = defaultdict(list)
        self._digits: dict[str, list[_Spelling[Entry]]] = defaultdict(list)
        self._near: dict[tuple[str, int], list[_Spelling[Entry]]] = defaultdict(list)
        self._never: set[str] = set()
        for entry, spellings, never in entries:
            self._never |= {folded(word) for word in never}
            for spelling in spellings:
                words = tokens(spelling, camel=False)
                for plain in (False, True):
                    self._add(_Spelling(entry, tuple(folded(word.word, plain=plain) for word in words)))

    def _add(self, spelling: _Spelling[Entry]) -> None:
        key = "".join(spelling.keys)
        if any(other.entry is spelling.entry for other in self._exact[key]):
            return
        self._exact[key].append(spelling)
        if len(key) >= DIGIT_LETTERS:
            self._digits[key.translate(_DIGITS)].append(spelling)
        if self._near_ok(spelling.entry):
            self._near[(key[0], len(spelling.keys))].append(spelling)

    def find(self, words: Sequence[Token]) -> list[Hit[Entry]]:
        """All entries in a text, longest and surest first where they overlap, in order of the text."""
        candidates = sorted(self._candidates(words), key=lambda hit: (-hit.quality, -(hit.last - hit.first), hit.first))
        taken: set[int] = set()
        chosen = []
        for hit in candidates:
            place = set(range(hit.first, hit.last + 1))
            if not place & taken:
                taken |= place
                chosen.append(hit)
        return sorted(chosen, key=lambda hit: hit.first)

    def _candidates(self, words: Sequence[Token]) -> Iterator[Hit[Entry]]:
        for first in range(len(words)):
            keys: list[str] = []
            count = 0
            for last in range(first, min(len(words), first + TOKENS_MAX)):
                if last > first and words[last].mark:
                    break  # a hashtag is a word of its own
                keys.append(words[last].key)
                count += last == first or words[last].start != words[last - 1].end  # "CeraVe" is one word
                owned = words[last].word[-2:].casefold() in ("'s", "’s")
                spelled = [*keys[:-1], keys[-1][:-1]] if owned else keys
                found = list(self._spelled(keys, count)) or (list(self._spelled(spelled, count)) if owned else [])
                for spelling, quality in found or self._nearly(spelled):
                    yield Hit(spelling.entry, first, last, quality)

    def _spelled(self, keys: Sequence[str], count: int) -> Iterator[tuple[_Spelling[Entry], float]]:
        """Spellings that a run of `count` words is. Another number of words means lost or added spaces."""
        key = "".join(keys)
        found = False
        for spelling in self._exact.get(key, ()):
            if count == len(spelling.keys) or len(key) >= (DIGIT_LETTERS if count == 1 else JOINED_LETTERS):
                found = True
                yield spelling, EXACT
        mixed = any(c in "0158$|" for c in key) and any(c.isalpha() for c in key)
        if not found and mixed and len(key) >= DIGIT_LETTERS:
            for spelling in self._digits.get(key.translate(_DIGITS), ()):
                if count == len(spelling.keys) or len(key) >= JOINED_LETTERS:
                    yield spelling, DIGITS

    def _nearly(self, keys: Sequence[str]) -> Iterator[tuple[_Spelling[Entry], float]]:
        """Spellings of as many words, each of which may be a misread one."""
        if len(keys[0]) < 2 or "".join(keys) in self._never:
            return
        for spelling in self._near.get((keys[0][0], len(keys)), ()):
            pairs = list(zip(keys, spelling.keys, strict=True))
            if all(a == b or distance(a, b, near_limit(len(b))) <= near_limit(len(b)) for a, b in pairs):
                yield spelling, NEAR
