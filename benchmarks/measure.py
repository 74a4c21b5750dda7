"""What the benchmarks share: memory of all processes of a run, medians, tables."""

from __future__ import annotations

import re
import statistics
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One figure of the table: what, the value as measured, and the bar it must reach (None: it has none)."""

    what: str
    value: float
    unit: str = ""
    bar: float | None = None
    at_most: bool = True

    @property
    def reached(self) -> bool:
        """Whether the bar, if there is one, is met."""
        return self.bar is None or (self.value <= self.bar if self.at_most else self.value >= self.bar)


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table("figure", "measured", "bar", "", title=title, title_justify="left")
    for row in rows:
        bar = "" if row.bar is None else f"{'at most' if row.at_most else 'at least'} {row.bar:g}"
        mark = "" if row.bar is None else "ok" if row.reached else "MISSED"
        table.add_row(row.what, f"{row.value:.3g} {row.unit}".strip(), bar, mark)
    Console(width=120).print(table)


def median(values: Sequence[float]) -> float:
    """The middle of several runs."""
    return statistics.median(values)


class Memory:
    """Peak memory of this process and all of Ray's, sampled in a thread.

    Proportional set size where the kernel gives it, so that shared memory (the object store) counts once.
    """

    def __init__(self, interval_s: float = 2.0) -> None:
        self.peak_bytes = 0
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.peak_bytes = max(self.peak_bytes, sum(_bytes_of(process) for process in our_processes()))


def our_processes() -> list[psutil.Process]:
    """This process, its descendants, and Ray's, which may have other parents."""
    ours = {process.pid: process for process in [psutil.Process(), *psutil.Process().children(recursive=True)]}
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if "ray::" in line or "/ray/" in line:
            ours[process.pid] = process
    return list(ours.values())


def spilled() -> bool:
    """Whether the running Ray has written objects to disk for lack of shared memory, by its own log."""
    import ray

    logs = Path(ray._private.worker._global_node.get_session_dir_path(), "logs")
    return any(re.search(r"Spilled \d", log.read_text(errors="replace")) for log in logs.glob("raylet*.out"))


def _bytes_of(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0  # it has ended in between
