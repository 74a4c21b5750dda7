"""Cuts what was said into subtitle cues: lines that fit, breaks where a reader expects them, time enough to read.

The figures are those that subtitlers work by (Netflix Timed Text Style Guide, BBC Subtitle Guidelines): two lines of 42
columns, 5/6 s to 7 s, about 17 columns a second. Speech cannot be slowed down: a cue stays for as long as reading takes
where nobody speaks after it, and no longer than that. Wide characters (East Asian, emoji) count two columns.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

from serve_app.exports.answers import Row, one_line

LINE_COLUMNS: Final = 42
CUE_S_MIN: Final = 5 / 6
CUE_S_MAX: Final = 7.0
COLUMNS_PER_S: Final = 17.0
GAP_S: Final = 0.08
"""Between a cue that stays longer than its speech and the next one: two frames, so that the change is noticed."""
PAUSE_S: Final = 1.0
"""A pause of this length ends a cue: what comes after it shall not be read before it is said."""
BREATH_S: Final = 0.3
SENTENCE_ENDS: Final = ".?!…。？！؟۔।"
CLAUSE_ENDS: Final = ",;:–—、，；：،"
SIGN_CHARS_MAX: Final = 4
"""So much punctuation stays with its sign; a long row of dots may be cut."""
CLOSERS: Final = "\"'”’»)]」』）"

# What a cue costs, of which the least in all is taken.
CUE_COST: Final = 1.0
BREAK_COST: Final = 0.8
CLAUSE_BREAK_COST: Final = 0.3
SHORT_COST: Final = 0.5
FULLNESS_COST: Final = 0.5


@dataclass(frozen=True)
class Token:
    """A word, or a sign where words are not separated.

    Args:
        text: without white space.
        glue: what stands before it in a line, a space or nothing.
        start, end: in seconds.
        timed: the times were measured for it, not divided from a longer stretch.
    """

    text: str
    glue: str
    start: float
    end: float
    timed: bool


Line = tuple[Token, ...]


@dataclass(frozen=True)
class Cue:
    """What is shown at once, from `start` to `end` in seconds, in one or two lines."""

    start: float
    end: float
    lines: tuple[Line, ...]


def cues(segments: Sequence[Row], duration_s: float) -> list[Cue]:
    """The cues of a transcript in order of time; they do not overlap unless speech does.

    Args:
        segments: of speech_transcription: `start`, `end`, `text`, and `words` with times where there are any.
        duration_s: of the video, which no cue outlasts without speech.
    """
    spoken = [cue for segment in segments for phrase in _phrases(tokens(segment)) for cue in _cut(phrase)]
    spoken.sort(key=lambda cue: cue.start)
    shown = []
    for cue, following in pairwise([*spoken, None]):
        assert cue is not None
        columns = sum(line_columns(line) for line in cue.lines)
        limit = max(duration_s, cue.end)
        if following is not None and following.start > cue.start:
            limit = following.start if following.start < cue.end else max(cue.end, following.start - GAP_S)
        wanted = max(cue.end, cue.start + max(CUE_S_MIN, columns / COLUMNS_PER_S))
        shown.append(replace(cue, end=min(limit, wanted, cue.start + CUE_S_MAX)))
    return shown


def tokens(segment: Row) -> list[Token]:
    """The words of a segment with their times; without words, its text with the time divided by width."""
    text, start, end = one_line(str(segment.get("text") or "")), float(segment["start"]), float(segment["end"])
    words = [word for word in segment.get("words") or () if one_line(str(word["word"]))]
    if not words:
        return _divided(Token(text, "", start, end, False)) if text else []
    found = []
    for word, glue in zip(words, _glues(text, words), strict=True):
        token = Token(one_line(str(word["word"])), glue, float(word["start"]), float(word["end"]), True)
        found += _divided(token) if columns_of(token.text) > LINE_COLUMNS else [token]
    return found


def line_columns(line: Line) -> int:
    """How many columns a line takes."""
    return sum(columns_of(token.glue + token.text) for token in line) - len(line[0].glue)


def columns_of(text: str) -> int:
    """Width of a text in columns: two for wide characters, none for marks that sit on others."""
    return sum(0 if _joins(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _glues(text: str, words: Sequence[dict[str, Any]]) -> list[str]:
    """What stands before each word in the text; spaces where the text does not consist of these words."""
    glues, at = [], 0
    for word in words:
        written = one_line(str(word["word"]))
        place = text.find(written, at)
        if place < 0 or text[at:place].strip():
            return [" "] * len(words)
        glues.append(text[at:place])
        at = place + len(written)
    return glues


def _divided(token: Token) -> list[Token]:
    """A text as words, and words that no line can hold as signs, each with its share of the time."""
    pieces: list[tuple[str, str]] = []
    for number, word in enumerate(token.text.split()):
        glue = " " if number else token.glue
        signs = _signs(word) if columns_of(word) > LINE_COLUMNS else [word]
        pieces += [(sign, "" if place else glue) for place, sign in enumerate(signs)]
    columns = sum(columns_of(text) for text, _ in pieces) or 1
    found, before = [], 0
    for text, glue in pieces:
        after = before + columns_of(text)
        start, end = (token.start + (token.end - token.start) * share / columns for share in (before, after))
        found.append(Token(text, glue, start, end, False))
        before = after
    return found


def _signs(word: str) -> list[str]:
    """The characters of a word, marks and closing punctuation with what they belong to."""
    signs: list[str] = []
    for sign in word:
        closes = unicodedata.category(sign) in ("Pe", "Pf", "Po") and len("".join(signs[-1:])) < SIGN_CHARS_MAX
        if signs and (_joins(sign) or closes or signs[-1].endswith("\N{ZERO WIDTH JOINER}")):
            signs[-1] += sign
        else:
            signs.append(sign)
    return signs


def _joins(sign: str) -> bool:
    """Whether a character sits on the one before it: accents, joiners, variation selectors, skin tones."""
    return unicodedata.category(sign) in ("Mn", "Me", "Cf") or "\U0001f3fb" <= sign <= "\U0001f3ff"


def _phrases(found: Sequence[Token]) -> Iterator[list[Token]]:
    """What is said between pauses."""
    phrase: list[Token] = []
    for token in found:
        if phrase and token.start - phrase[-1].end >= PAUSE_S:
            yield phrase
            phrase = []
        phrase.append(token)
    if phrase:
        yield phrase


def _cut(phrase: Sequence[Token]) -> list[Cue]:
    """The cheapest way to cut a phrase into cues that fit (dynamic programming over its words)."""
    widths = [columns_of(token.glue + token.text) for token in phrase]
    best: list[tuple[float, int]] = [(0.0, 0)] + [(float("inf"), 0)] * len(phrase)
    for first in range(len(phrase)):
        for after, columns in _reach(phrase, widths, first):
            following = phrase[after] if after < len(phrase) else None
            cost = best[first][0] + _cost(phrase[first], phrase[after - 1], following, columns)
            if cost < best[after][0]:
                best[after] = (cost, first)
    cuts, after = [], len(phrase)
    while after:
        first = best[after][1]
        some = tuple(phrase[first:after])
        cuts.append(Cue(some[0].start, max(token.end for token in some), _lines(some)))
        after = first
    return cuts[::-1]


def _reach(phrase: Sequence[Token], widths: Sequence[int], first: int) -> Iterator[tuple[int, int]]:
    """Where a cue that begins with a word may end, and its columns: a full upper line, then a lower one."""
    upper = lower = 0
    for place in range(first, len(phrase)):
        width = widths[place]
        if not lower and upper + width <= LINE_COLUMNS + (len(phrase[first].glue) if place == first else 0):
            upper += width
        else:
            lower += width
        if place > first and (lower > LINE_COLUMNS or phrase[place].end - phrase[first].start > CUE_S_MAX):
            return
        yield place + 1, upper + lower


def _cost(begin: Token, last: Token, following: Token | None, columns: int) -> float:
    cost = CUE_COST + FULLNESS_COST * (columns / (2 * LINE_COLUMNS)) ** 2
    if last.end - begin.start < CUE_S_MIN:
        cost += SHORT_COST
    if following is not None:
        price = (0.0, CLAUSE_BREAK_COST, BREAK_COST)[_ending(last)]
        cost += price / 2 if following.start - last.end >= BREATH_S else price
    return cost


def _ending(token: Token) -> int:
    """0 at the end of a sentence, 1 of a clause, else 2."""
    last = token.text.rstrip(CLOSERS)[-1:] or " "
    return 0 if last in SENTENCE_ENDS else 1 if last in CLAUSE_ENDS else 2


def _lines(some: Line) -> tuple[Line, ...]:
    """One line, or two of like length, cut after punctuation if that is near."""
    if line_columns(some) <= LINE_COLUMNS:
        return (some,)
    options = []
    for place in range(1, len(some)):
        upper, lower = line_columns(some[:place]), line_columns(some[place:])
        if max(upper, lower) <= LINE_COLUMNS:
            uneven = abs(upper - lower) + (3 if upper > lower else 0)  # the longer line below hides less
            options.append((uneven + 6 * _ending(some[place - 1]), place))
    if not options:  # one sign of many parts that no line holds
        return (some,)
    place = min(options)[1]
    return some[:place], some[place:]
