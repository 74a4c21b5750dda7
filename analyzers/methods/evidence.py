"""Turns what each analyzer reported into the facts of a second, and facts into one line of an editor's notes.

A fact restates reports, nothing else; a report that is not there, or says nothing here, gives no fact. The line says
what is new in the second; what goes on is said again only where there is little new. The fields that are read, the
wording and the order are listed in docs/cross_analyzer_intelligence.md; the picture's facts are in picture_phrases.py,
the sound's in sound_phrases.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

TEXT_MAX: Final = 60
"""Characters of a quoted text; longer ones are cut at a word."""
PRESENT: Final = 0.5
"""Share of a stretch from which something counts as there, and score from which a tag is believed."""
SURE: Final = 0.6
"""Below this score a fact is hedged ("perhaps a tie"); below `PRESENT` it is left out."""
LOUD_STEP_DB: Final = 6.0
"""A rise or fall from one second to the next that one hears at once."""
PHRASES_MAX: Final = 6
"""Facts of a line, those that matter most."""
PHRASES_MIN: Final = 2
PHRASES_MIN_AT_CUT: Final = 3
"""With fewer that are new, what goes on fills the line up to this, a little more where a new shot begins."""
MEMORY_S: Final = 2
"""A fact that was missing for less than this goes on; detectors blink."""

Stretch = tuple[float, float]


@dataclass(frozen=True)
class Phrase:
    """One fact about a stretch, in words.

    Args:
        analyzers: whose reports say so.
        text: the words.
        rank: its place in the line; low is first.
        weight: how much it matters; the line keeps those that matter most.
        key: what makes it the same fact in the next second; its text where this is empty.
        lasting: whether it may go on; what happens at an instant is new each time.
        cut: whether a shot begins with it.
    """

    analyzers: tuple[str, ...]
    text: str
    rank: int
    weight: float = 1.0
    key: str = ""
    lasting: bool = True
    cut: bool = False

    @property
    def identity(self) -> str:
        """What is compared with the second before."""
        return self.key or self.text


class Indexed:
    """A report whose segments are found by time without looking at all of them.

    Args:
        report: of any analyzer.
    """

    def __init__(self, report: Any) -> None:
        self.summary: Any = report.summary
        self.segments: list[Any] = list(report.segments)
        self._by_second: dict[int, list[Any]] = {}
        for segment in self.segments:
            for second in range(int(segment.start), int(segment.end) + 1):
                self._by_second.setdefault(second, []).append(segment)

    def near(self, stretch: Stretch) -> list[Any]:
        """Segments that may touch a stretch, in their order, each once."""
        seconds = range(int(stretch[0]), int(stretch[1]) + 1)
        found = {id(segment): segment for second in seconds for segment in self._by_second.get(second, ())}
        return list(found.values())


Reports = Mapping[str, Indexed]


def quoted(text: str) -> str:
    """A text from the video as a short quotation on one line."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(plain) > TEXT_MAX:
        plain = plain[: TEXT_MAX + 1].rsplit(" ", 1)[0][:TEXT_MAX].rstrip() + "…"
    return "'" + plain.replace("'", "’") + "'"


def spelled(name: str) -> str:
    """A name of a report's vocabulary in words: `close_up` is `close up`."""
    return str(name).replace("_", " ")


def article(noun: str) -> str:
    """`a` or `an`."""
    return "an" if noun[:1].lower() in "aeiou" else "a"


def hedged(text: str, score: float | None) -> str:
    """The words, with "perhaps" before them where the analyzer itself is not sure."""
    return text if score is None or score >= SURE else f"perhaps {text}"


def segments_in(report: Indexed, stretch: Stretch) -> Iterator[tuple[Any, float]]:
    """Segments that touch a stretch, each with the seconds it shares with it; momentary ones inside share a little."""
    for segment in report.near(stretch):
        start, end = float(segment.start), float(segment.end)
        shared_s = min(end, stretch[1]) - max(start, stretch[0])
        if shared_s > 0:
            yield segment, shared_s
        elif start == end and stretch[0] <= start < stretch[1]:
            yield segment, 1e-6


def longest_in(report: Indexed, stretch: Stretch) -> Any:
    """The segment that shares most with a stretch; None if none touches it."""
    return max(segments_in(report, stretch), key=lambda pair: pair[1], default=(None, 0.0))[0]


class Narrator:
    """Chooses the facts of one line after another; remembers what the lines before could have said."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._line = 0

    def line(self, facts: Iterable[Phrase]) -> list[Phrase]:
        """The facts of the next line, in their order."""
        unique: dict[str, Phrase] = {}
        for fact in facts:
            unique.setdefault(fact.text, fact)
        new: list[Phrase] = []
        going_on: list[Phrase] = []
        for fact in unique.values():
            last = self._seen.get(fact.identity)
            (new if last is None or self._line - last > MEMORY_S or not fact.lasting else going_on).append(fact)
            self._seen[fact.identity] = self._line
        self._line += 1
        chosen = sorted(new, key=lambda fact: -fact.weight)[:PHRASES_MAX]
        spare = (PHRASES_MIN_AT_CUT if any(fact.cut for fact in chosen) else PHRASES_MIN) - len(chosen)
        if spare > 0:
            chosen += sorted(going_on, key=lambda fact: -fact.weight)[:spare]
        return sorted(chosen, key=lambda fact: fact.rank)
