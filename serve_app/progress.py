"""Progress of long work: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pipeline.engine import Event
from pipeline.engine import Progress as AnalyzerProgress
from pipeline.results import AnalyzerResult, VideoFacts

MARKS = {"ok": "[green]ok[/]", "failed": "[red]failed[/]", "skipped": "[yellow]skipped[/]"}


@contextmanager
def analysis_progress(facts: VideoFacts, names: Sequence[str]) -> Iterator[Callable[[Event], None]]:
    """A bar per analyzer. Yields what to call with each event."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (
        TextColumn("{task.description:32}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {name: bars.add_task(name, total=facts.duration_s, state="") for name in names}

        def show(event: Event) -> None:
            if isinstance(event, AnalyzerProgress):
                bars.update(tasks[event.name], completed=event.done_s)
            elif isinstance(event, AnalyzerResult):
                bars.update(tasks[event.name], completed=facts.duration_s, state=MARKS[event.status])
                bars.stop_task(tasks[event.name])

        yield show


def _lines(console: Console) -> Callable[[Event], None]:
    def show(event: Event) -> None:
        if isinstance(event, AnalyzerResult):
            reason = f": {event.reason}" if event.reason else ""
            done_s = event.timing.done_s
            when = " " * 9 if done_s is None else f"{done_s:7.2f} s"
            console.print(f"{when}  {event.name} {event.status}{reason}", markup=False, soft_wrap=True)

    return show


@contextmanager
def transfer_progress(verb: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar per file that comes or goes. Yields what to call with (its name, bytes there, bytes in all or 0)."""
    console = Console(stderr=True)
    tasks: dict[str, TaskID] = {}
    if not console.is_terminal:

        def tell(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = TaskID(len(tasks))
                size = f" ({total / 1e6:.1f} MB)" if total else ""
                console.print(f"{verb} {name}{size}", markup=False, soft_wrap=True)

        yield tell
        return
    columns = (TextColumn(f"{verb} {{task.description:40}}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console) as bars:

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total or None)
            bars.update(tasks[name], completed=done)

        yield show
