"""Walks the graph for one video: feeds chunks as they are decoded, collects parts, starts dependants at once.

There are no stages. Every analyzer is a small task of its own that waits for exactly what it needs: its chunks, then
the reports that it comes after. What is decoded and not yet answered is bounded in bytes, per video and over all;
within that bound fast analyzers run ahead of slow ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pipeline.coverage import measure
from pipeline.graph import Graph, Selection
from pipeline.media import DecodeStats
from pipeline.meter import Meter, host, versions
from pipeline.pool import WorkerPool
from pipeline.results import (
    AnalyzerResult,
    ErrorInfo,
    ModelInfo,
    Report,
    RunFigures,
    Timing,
    Upstream,
    VideoFacts,
    VideoReport,
)
from pipeline.settings import EngineSettings
from pipeline.source import Chunk, ChunkGroup, FrameSource
from pipeline.types import AnalyzerSpec, Audio, View
from pipeline.worker import Outcome, failure


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one analyzer is, in seconds of the video."""

    name: str
    done_s: float
    total_s: float


Event = Progress | AnalyzerResult | VideoReport
SWITCHED_OFF: Final = "switched off in this deployment (setting disabled)"


@dataclass(frozen=True, slots=True)
class Given:
    """A result of an earlier run over the same video.

    Args:
        result: ok.
        report: `result.report` as its analyzer's report model.
    """

    result: AnalyzerResult
    report: Report[Any, Any]


class ByteBudget:
    """Bounds decoded bytes in flight. One holder may exceed it alone, so that a single large chunk always passes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def acquire(self, count: int) -> None:
        """Wait until `count` more bytes fit."""
        while self.used > 0 and self.used + count > self._limit:
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            await freed
        self.used += count

    def release(self, count: int) -> None:
        """Give them back."""
        self.used -= count
        waiting, self._waiting = self._waiting, []
        for freed in waiting:
            if not freed.done():
                freed.set_result(None)


class Engine:
    """Runs videos over one pool. Several may run at once.

    Args:
        graph: all analyzers.
        source: where chunks come from.
        pool: started with (at least) the analyzers that will be wanted.
        settings: bounds of what is in flight.
        profile: named in the report.
        disabled: analyzers that this deployment has switched off; they are skipped, and the pool need not have them.
    """

    def __init__(
        self,
        *,
        graph: Graph,
        source: FrameSource,
        pool: WorkerPool,
        settings: EngineSettings,
        profile: str,
        disabled: Collection[str] = (),
    ) -> None:
        self._graph, self._source, self._pool = graph, source, pool
        self._settings, self._profile, self._disabled = settings, profile, disabled
        self._budget = ByteBudget(settings.bytes_in_flight)
        self._videos = 0

    async def run(
        self,
        facts: VideoFacts,
        wanted: list[str] | None = None,
        figures: Callable[[], dict[str, Any]] = dict,
        given: Sequence[Given] = (),
    ) -> AsyncGenerator[Event, None]:
        """Analyze one video. Yields progress, each `AnalyzerResult` when it is there, and last the `VideoReport`.

        Closing the generator cancels the run and frees what it held.

        Args:
            facts: from the source's `probe`.
            wanted: analyzer names; None is all. What they depend on runs too.
            figures: more fields for `RunFigures`, asked for at the end (a GPU monitor's).
            given: results of the same video that are taken over as they are. They are not yielded again, dependants
                build on them, and a view that only they read is not decoded.

        Raises:
            UsageError: a wanted name does not exist.
            MediaError: the video cannot be decoded.
        """
        self._videos += 1
        video_id = f"{facts.sha256[:12]}-{self._videos}"
        selection = self._graph.closure(wanted)
        budgets = (ByteBudget(self._settings.video_bytes_in_flight), self._budget)
        run = _Run(self._graph, self._source, self._pool, budgets, self._disabled, facts, selection, video_id, given)
        async with aclosing(run.events()) as events:
            async for event in events:
                yield event
        yield VideoReport(
            created_at=datetime.now(UTC),
            profile=self._profile,
            video=run.final_facts(),
            analyzers={name: run.results[name] for name in sorted(run.results)},
            coverage=measure(facts, run.results),
            run=run.figures(figures()),
        )


@dataclass(slots=True, eq=False)
class _Held:
    """The memory of a group in flight, and how many answers about its chunks are still to come."""

    consumers: int
    nbytes: int


@dataclass(slots=True)
class _Member:
    """One analyzer's state within one video."""

    inbox: asyncio.Queue[tuple[Chunk, _Held] | None]
    ended: asyncio.Future[Report[Any, Any] | None]
    dropped: bool = False
    queued_s: float = 0.0
    busy_s: float = 0.0
    cpu_s: float = 0.0
    first_s: float | None = None
    chunks: int = 0
    reached_s: float = 0.0
    answers: list[asyncio.Task[Outcome]] = field(default_factory=list)


class _Stop(Exception):
    """Ends one analyzer with a result that is not ok."""

    def __init__(self, status: str, reason: str, error: ErrorInfo | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.error = status, reason, error


class _Run:
    """One video on its way."""

    def __init__(
        self,
        graph: Graph,
        source: FrameSource,
        pool: WorkerPool,
        budgets: tuple[ByteBudget, ...],
        disabled: Collection[str],
        facts: VideoFacts,
        selection: Selection,
        video_id: str,
        given: Sequence[Given],
    ) -> None:
        self._graph, self._source, self._pool = graph, source, pool
        self._budgets, self._disabled = budgets, disabled
        self._facts, self._selection, self._video_id = facts, selection, video_id
        self._events: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self._members = {name: _Member(asyncio.Queue(), loop.create_future()) for name in selection.names}
        self._held: set[_Held] = set()
        self._stats = DecodeStats(passes=0)
        self._meter, self._start_s = Meter(), time.perf_counter()
        self._wall_s = 0.0
        self._first_chunk_s: float | None = None
        self.results: dict[str, AnalyzerResult] = {}
        self._given = {known.result.name for known in given} & self._members.keys()
        for known in given:
            if known.result.name in self._given:
                member = self._members[known.result.name]
                member.dropped = True
                member.ended.set_result(known.report)
                self.results[known.result.name] = known.result

    async def events(self) -> AsyncGenerator[Event, None]:
        """Start everything, yield what happens, and leave nothing behind however it ends."""
        open_names = [name for name in self._selection.names if name not in self._given]
        tasks = [asyncio.ensure_future(self._follow(name)) for name in open_names]
        feeding = asyncio.ensure_future(self._feed())
        closing = asyncio.ensure_future(self._close(feeding, tasks))
        try:
            while (event := await self._events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            everything = [closing, feeding, *tasks, *(a for member in self._members.values() for a in member.answers)]
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)
            for held in list(self._held):
                self._let_go(held)

    async def _close(self, feeding: asyncio.Task[None], tasks: list[asyncio.Task[None]]) -> None:
        try:
            for task in (feeding, *tasks):
                await task
        except Exception as error:
            self._events.put_nowait(error)
        self._wall_s = time.perf_counter() - self._start_s
        self._events.put_nowait(None)

    # --- decoding ---

    async def _feed(self) -> None:
        views = tuple(view for view in self._selection.views if self._facts.has_video and self._readers(view))
        audio = bool(self._readers(None)) and self._facts.has_audio
        if not views and not audio:
            return
        stream = self._source.stream(self._facts.source, video_id=self._video_id, views=views, audio=audio)
        try:
            async for item in stream:
                if isinstance(item, DecodeStats):
                    self._stats = item
                elif not await self._deliver(item):
                    return
        finally:
            await stream.aclose()

    async def _deliver(self, group: ChunkGroup) -> bool:
        """Hand chunks to those who read their view. False when nobody is left who reads anything."""
        if any(self._readers(chunk.view) for chunk in group.chunks):
            for budget in self._budgets:
                await budget.acquire(group.nbytes)
            # Only now: an analyzer that has ended while we waited would never answer.
            deliveries = [(chunk, member) for chunk in group.chunks for member in self._readers(chunk.view)]
            held = _Held(len(deliveries), group.nbytes)
            self._held.add(held)
            for chunk, member in deliveries:
                member.inbox.put_nowait((chunk, held))
                if chunk.last:
                    member.inbox.put_nowait(None)
            if not deliveries:
                self._let_go(held)
        return any(self._readers(view) for view in (None, *self._selection.views))

    def _readers(self, view: View | None) -> list[_Member]:
        names = self._selection.audio if view is None else self._selection.views[view]
        return [self._members[name] for name in names if not self._members[name].dropped]

    def _answered(self, held: _Held) -> None:
        held.consumers -= 1
        if held.consumers <= 0:
            self._let_go(held)

    def _let_go(self, held: _Held) -> None:
        if held in self._held:
            self._held.discard(held)
            for budget in self._budgets:
                budget.release(held.nbytes)

    # --- one analyzer ---

    async def _follow(self, name: str) -> None:
        member = self._members[name]
        model: ModelInfo | None = None
        report: Report[Any, Any] | None = None
        stop: _Stop | None = None
        try:
            self._check_input(name)
            model = _value(await self._pool.loaded(name))
            parts = await self._parts(name, member)
            upstream = await self._upstream(name)
            if untrained := [other for other in self._graph.required(name) if self.results[other].is_random]:
                model = model.model_copy(update={"random_weights": True, "note": f"built on {', '.join(untrained)}"})
            outcome = await self._pool.summarize(name, parts, upstream)
            member.busy_s, member.cpu_s = member.busy_s + outcome.busy_s, member.cpu_s + outcome.cpu_s
            report = _value(outcome)
        except _Stop as reason:
            stop = reason
        except Exception as error:
            stop = _Stop("failed", f"{type(error).__name__}: {error}", failure(error).error)
        await self._drop(member)
        spec = self._graph.specs[name]
        result = AnalyzerResult(
            name=name,
            version=spec.version,
            status="ok" if stop is None else stop.status,  # type: ignore[arg-type]
            reason=stop.reason if stop else None,
            error=stop.error if stop else None,
            model=model,
            timing=self._timing(member),
            report=report.model_dump(mode="json") if report is not None else None,
        )
        self.results[name] = result
        self._events.put_nowait(result)
        member.ended.set_result(report)

    def _check_input(self, name: str) -> None:
        if name in self._disabled:
            raise _Stop("skipped", SWITCHED_OFF)
        spec = self._graph.specs[name]
        if self._has_input(spec) or spec.needs_optional:
            return
        raise _Stop("skipped", f"the source has no {'picture' if isinstance(spec.needs, View) else 'sound'}")

    def _has_input(self, spec: AnalyzerSpec) -> bool:
        if isinstance(spec.needs, View):
            return self._facts.has_video
        return self._facts.has_audio if isinstance(spec.needs, Audio) else True

    async def _parts(self, name: str, member: _Member) -> list[Any]:
        """Parts of all chunks in order. Calls overlap; the first that fails ends the rest."""
        spec = self._graph.specs[name]
        if spec.needs is None or not self._has_input(spec):
            return []
        reading = asyncio.ensure_future(self._read(name, member))
        try:
            await reading
            outcomes = await asyncio.gather(*member.answers)
        finally:
            reading.cancel()
        return [_value(outcome) for outcome in outcomes]

    async def _read(self, name: str, member: _Member) -> None:
        while (delivery := await member.inbox.get()) is not None:
            chunk, held = delivery
            if any(answer.done() and not answer.result().ok for answer in member.answers[-8:]):
                self._answered(held)
                return
            answer = asyncio.ensure_future(self._call(name, member, chunk))
            # As a callback and not in the task: one that is cancelled before its first step never runs.
            answer.add_done_callback(lambda _, held=held: self._answered(held))  # type: ignore[misc]
            member.answers.append(answer)

    async def _call(self, name: str, member: _Member, chunk: Chunk) -> Outcome:
        sent_s = time.perf_counter()
        outcome = await self._pool.analyze(name, chunk.item)
        now_s = time.perf_counter()
        member.queued_s += max(0.0, now_s - sent_s - outcome.busy_s)
        member.busy_s, member.cpu_s = member.busy_s + outcome.busy_s, member.cpu_s + outcome.cpu_s
        member.chunks += 1
        member.reached_s = max(member.reached_s, chunk.end_s)
        if member.first_s is None:
            member.first_s = now_s - self._start_s
        begun_s = now_s - outcome.busy_s - self._start_s
        self._first_chunk_s = begun_s if self._first_chunk_s is None else min(begun_s, self._first_chunk_s)
        if outcome.ok:
            self._events.put_nowait(Progress(name, member.reached_s, self._facts.duration_s))
        return outcome

    async def _upstream(self, name: str) -> Upstream:
        """Wait for the reports that this analyzer comes after."""
        reports: dict[str, Report[Any, Any]] = {}
        missing: dict[str, str] = {}
        for other in self._graph.waits_for(name):
            report = await asyncio.shield(self._members[other].ended)
            required = other in self._graph.required(name)
            if report is None:
                ending = f"{other} was {self.results[other].status}: {self.results[other].reason}"
                if required:
                    raise _Stop("skipped", ending)
                missing[other] = ending
            elif self.results[other].is_random and not required:
                missing[other] = f"{other} has random weights: its report is not evidence"
            else:
                reports[other] = report
        return Upstream(video=self._facts, reports=reports, missing=missing)

    async def _drop(self, member: _Member) -> None:
        """Free what an analyzer that has ended, however, still holds."""
        member.dropped = True
        for answer in member.answers:
            answer.cancel()
        await asyncio.gather(*member.answers, return_exceptions=True)
        member.answers.clear()
        while not member.inbox.empty():
            delivery = member.inbox.get_nowait()
            if delivery is not None:
                self._answered(delivery[1])

    def _timing(self, member: _Member) -> Timing:
        return Timing(
            queued_s=member.queued_s,
            busy_s=member.busy_s,
            cpu_s=member.cpu_s,
            first_s=member.first_s,
            done_s=time.perf_counter() - self._start_s,
            chunks=member.chunks,
        )

    # --- the end ---

    def final_facts(self) -> VideoFacts:
        """The facts with what only decoding could tell."""
        if not self._stats.passes:
            return self._facts
        found: dict[str, Any] = {"bad_packets": self._stats.bad_packets, "lost": list(self._stats.lost)}
        if self._stats.frames:
            found["frames"] = self._stats.frames
        return self._facts.model_copy(update=found)

    def figures(self, more: dict[str, Any]) -> RunFigures:
        """What the run cost."""
        computed = [result for name, result in self.results.items() if name not in self._given]
        useful_s = self._stats.cpu_s + sum(result.timing.cpu_s for result in computed)
        duration_s, wall_s = max(self._facts.duration_s, 1e-3), max(self._wall_s, 1e-3)
        return RunFigures(
            wall_s=wall_s,
            rtf=wall_s / duration_s,
            speed_x=duration_s / wall_s,
            decode_s=self._stats.cpu_s,
            decode_passes=self._stats.passes,
            overlap=useful_s / (self._meter.cores * wall_s),
            cpu_util=self._meter.cpu_util(),
            first_chunk_s=self._first_chunk_s,
            host=host(),
            versions=versions(),
            **more,
        )


def _value(outcome: Outcome) -> Any:
    """The value of a call, or the end of the analyzer that made it."""
    if outcome.skipped is not None:
        raise _Stop("skipped", outcome.skipped)
    if outcome.error is not None:
        raise _Stop("failed", f"{outcome.error.type}: {outcome.error.message}", outcome.error)
    return outcome.value
