"""A report as annotation tiers, the way ELAN and Praat see time: what lies on one tier does not overlap.

A tier per analyzer; annotations that overlap go to `NAME 2`, `NAME 3` and so on. What is sampled step by step and
followed (objects, people, faces) becomes one annotation for as long as it stays the same; spoken words have a tier of
their own, `NAME.words`. Steps with nothing to say (nobody in the picture) have no annotation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.results import VideoReport
from serve_app.exports.answers import Row, answers, one_line
from serve_app.exports.labels import described, thing

SAME_TIME_MS: Final = 20
"""Steps closer than this follow each other without a gap."""


@dataclass(frozen=True, order=True)
class Annotation:
    """A value from `begin_ms` to `end_ms`, which is later by one at least."""

    begin_ms: int
    end_ms: int
    value: str


def tiers(report: VideoReport) -> Iterator[tuple[str, list[Annotation]]]:
    """Name and annotations of each tier, in order of time and without overlap; none is empty."""
    for analyzer, segments in answers(report):
        followed = list(_followed(segments))
        said = [_annotation(row, described(analyzer, row)) for row in segments]
        yield from _split(analyzer, followed or said)
        words = [word for row in segments for word in _things(row.get("words"))]
        yield from _split(f"{analyzer}.words", [_annotation(word, str(word.get("word", ""))) for word in words])


def _things(value: object) -> list[Row]:
    """The objects in a field that may be a list of them."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []


def _annotation(row: Row, value: str) -> Annotation:
    begin = max(0, round(float(row["start"]) * 1000))
    return Annotation(begin, max(round(float(row["end"]) * 1000), begin + 1), one_line(value))


def _followed(segments: Sequence[Row]) -> Iterator[Annotation]:
    """One annotation for each stretch in which a track stays the same; none if nothing has a track."""
    running: dict[str, Annotation] = {}
    for row in segments:
        for field, item in _tracked(row):
            name = f"{thing(item) or field.removesuffix('s')} #{item['track']}"
            step = _annotation(row, name)
            last = running.get(name)
            if last is not None and step.begin_ms - last.end_ms <= SAME_TIME_MS:
                step = Annotation(last.begin_ms, max(last.end_ms, step.end_ms), last.value)
            elif last is not None:
                yield last
            running[name] = step
    yield from running.values()


def _tracked(row: Row) -> Iterator[tuple[str, Row]]:
    for field, value in row.items():
        for item in _things(value):
            if isinstance(item.get("track"), int):
                yield field, item


def _split(name: str, annotations: Iterable[Annotation]) -> Iterator[tuple[str, list[Annotation]]]:
    """As many tiers as lie over each other at most."""
    found: list[list[Annotation]] = []
    for one in sorted(annotation for annotation in annotations if annotation.value):
        free = next((tier for tier in found if tier[-1].end_ms <= one.begin_ms), None)
        if free is None:
            found.append([one])
        else:
            free.append(one)
    for number, tier in enumerate(found, 1):
        yield (name if number == 1 else f"{name} {number}"), tier
