"""The DAG that the specs' `after` fields span: checked once, then asked what a request needs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from pipeline.errors import UsageError
from pipeline.types import ALL, AnalyzerSpec, Audio, View


class GraphError(ValueError):
    """The specs do not form a DAG: a cycle, or a name that nobody has. A defect of the code, not of a request."""


@dataclass(frozen=True)
class Selection:
    """What one request runs.

    Args:
        names: analyzers in an order in which each comes after those that it waits for.
        views: the distinct views to decode, and who reads each.
        audio: who reads the sound.
    """

    names: tuple[str, ...]
    views: Mapping[View, tuple[str, ...]]
    audio: tuple[str, ...]


class Graph:
    """All analyzers and what each waits for.

    Raises:
        GraphError: a spec waits for a name that is not there, or the waiting is circular.
    """

    def __init__(self, specs: Iterable[AnalyzerSpec]) -> None:
        self.specs: Mapping[str, AnalyzerSpec] = {spec.name: spec for spec in specs}
        everything = [name for name, spec in self.specs.items() if spec.after_if_ok != ALL]
        self._optional = {
            name: tuple(everything) if spec.after_if_ok == ALL else spec.after_if_ok
            for name, spec in self.specs.items()
        }
        for name, spec in self.specs.items():
            for other in spec.after + self._optional[name]:
                if other not in self.specs:
                    raise GraphError(
                        f"{name} comes after {other}, which no analyzer is called{_hint(other, self.specs)}"
                    )
        try:
            self._order = tuple(TopologicalSorter({name: self.waits_for(name) for name in self.specs}).static_order())
        except CycleError as error:
            raise GraphError(f"analyzers wait for each other: {' after '.join(error.args[1])}") from None

    def required(self, name: str) -> tuple[str, ...]:
        """Those whose reports `name` cannot do without."""
        return self.specs[name].after

    def optional(self, name: str) -> tuple[str, ...]:
        """Those that `name` waits for and uses if they are ok."""
        return self._optional[name]

    def waits_for(self, name: str) -> tuple[str, ...]:
        """All that must have ended before `name` is summarized."""
        return self.required(name) + self.optional(name)

    def closure(self, wanted: Iterable[str] | None = None) -> Selection:
        """Everything needed for the wanted analyzers; None wants all.

        Raises:
            UsageError: a wanted name does not exist; the message offers the nearest.
        """
        names: set[str] = set()
        open_names = list(self.specs if wanted is None else wanted)
        while open_names:
            name = open_names.pop()
            if name not in self.specs:
                raise UsageError(f"there is no analyzer {name!r}{_hint(name, self.specs)}")
            if name not in names:
                names.add(name)
                open_names.extend(self.waits_for(name))
        ordered = tuple(name for name in self._order if name in names)
        views: dict[View, tuple[str, ...]] = {}
        for name in ordered:
            needs = self.specs[name].needs
            if isinstance(needs, View):
                views[needs] = (*views.get(needs, ()), name)
        audio = tuple(name for name in ordered if isinstance(self.specs[name].needs, Audio))
        return Selection(names=ordered, views=views, audio=audio)


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
