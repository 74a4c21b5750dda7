"""Runs toy analyzers through the real engine, over threads or over Ray."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pipeline.engine import Engine, Event
from pipeline.graph import Graph
from pipeline.pool import LocalPool, WorkerPool
from pipeline.registry import specs_of
from pipeline.results import AnalyzerResult, VideoReport
from pipeline.settings import EngineSettings, Settings
from pipeline.source import FrameSource, LocalFrameSource


@asynccontextmanager
async def running(*classes: Any, machine: Any = None, settings: Settings | None = None, disabled: Any = ()) -> Any:
    """An engine over loaded workers of these analyzers: threads, or Ray actors if a machine is given."""
    settings = settings or Settings()
    by_name = {analyzer_class.spec.name: analyzer_class for analyzer_class in classes}
    source: FrameSource
    pool: WorkerPool
    if machine is None:
        pool, source = LocalPool(settings), LocalFrameSource(settings.limits)
    else:
        from actors.pool import RayPool
        from pipeline.stream import RayFrameSource

        pool, source = RayPool(settings, machine), RayFrameSource(settings.limits, machine.cpus / 4)
    await pool.start({name: cls for name, cls in by_name.items() if name not in disabled})
    engine = Engine(
        graph=Graph(specs_of(by_name, settings).values()),
        source=source,
        pool=pool,
        settings=settings.engine,
        profile=settings.profile,
        disabled=disabled,
    )
    try:
        yield engine, source, pool
    finally:
        await pool.close()


async def run(path: Path, *classes: Any, **how: Any) -> tuple[VideoReport, list[Event]]:
    """The report of one clip, and all events before it."""
    async with running(*classes, **how) as (engine, source, _):
        return await run_on(engine, source, path)


async def run_on(engine: Engine, source: FrameSource, path: Path) -> tuple[VideoReport, list[Event]]:
    """The same on a running engine."""
    events = [event async for event in engine.run(await source.probe(str(path)))]
    assert isinstance(events[-1], VideoReport)
    return events[-1], events[:-1]


def results(events: list[Event]) -> list[str]:
    """Names of analyzers in the order in which they ended."""
    return [event.name for event in events if isinstance(event, AnalyzerResult)]


def content(report: VideoReport) -> dict[str, Any]:
    """What must be the same in every run: all but times and the machine."""
    dump = report.model_dump(mode="json", exclude={"created_at", "run"})
    for result in dump["analyzers"].values():
        result["timing"] = {"chunks": result["timing"]["chunks"]}
    return dump


def tight(**engine: Any) -> Settings:
    """Settings with other bounds for the engine."""
    return Settings(engine=EngineSettings(**engine))
