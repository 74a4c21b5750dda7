"""A running Reelscope: Ray (or threads), the loaded analyzers and the engine. The command line and Python share it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cluster.plan import Machine
from pipeline.engine import SWITCHED_OFF, Engine, Event, Given
from pipeline.errors import PlanError, UsageError
from pipeline.graph import Graph
from pipeline.pool import LocalPool, WorkerPool
from pipeline.registry import AnalyzerClass, discover, specs_of
from pipeline.results import AnalyzerResult, Report, VideoFacts, VideoReport
from pipeline.settings import Settings, load_settings
from pipeline.source import FrameSource, LocalFrameSource
from pipeline.worker import Outcome
from serve_app.schemas import AnalyzerHealth


class Session:
    """Loads analyzers once and analyzes any number of videos, several at a time if you like.

    `async with Session() as session: report = await session.analyze("clip.mp4")`

    Args:
        settings: None reads the effective ones.
        analyzers: which to load; None is all. What they depend on is loaded too.
        local: run in threads of this process instead of Ray: slower, simple to debug, the same report.

    Raises:
        UsageError: a name in `analyzers` or in the settings does not exist.
    """

    def __init__(
        self, settings: Settings | None = None, *, analyzers: Sequence[str] | None = None, local: bool = False
    ) -> None:
        self.settings = settings or load_settings()
        self._classes = discover()
        self.graph = Graph(specs_of(self._classes, self.settings).values())
        self.selection = self.graph.closure(analyzers)
        self._check_names()
        self._local = local
        self._owns_ray = False
        self._engine: Engine | None = None
        self._pool: WorkerPool | None = None
        self._machine: Machine | None = None
        self._prober: FrameSource = LocalFrameSource(self.settings.limits)
        self._warming: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Bring everything up; returns while analyzers are still loading (`ready` waits for them).

        Raises:
            PlanError: the analyzers do not fit this machine.
            UsageError: settings of an analyzer are wrong.
        """
        source: FrameSource = self._prober
        if self._local:
            self._pool = LocalPool(self.settings)
        else:
            import ray

            from actors.pool import RayPool
            from cluster.boot import boot
            from cluster.plan import decode_share
            from pipeline.stream import RayFrameSource

            self._owns_ray = not ray.is_initialized()
            self._machine = machine = await asyncio.to_thread(boot, self.settings.ray)
            pool = RayPool(self.settings, machine)
            self._pool = pool
            share = decode_share(machine, self.settings.ray.decode_cpus)
            source = stream = RayFrameSource(self.settings.limits, share, self.settings.ray.niceness)
            self._prober = source
            self._warming = asyncio.ensure_future(stream.warm())
        try:
            await self._pool.start(self._wanted_classes())
        except PlanError as error:
            raise self._with_advice(error) from None
        self._engine = Engine(
            graph=self.graph,
            source=source,
            pool=self._pool,
            settings=self.settings.engine,
            profile=self.settings.profile,
            disabled=self.settings.disabled,
        )

    async def ready(self) -> None:
        """Wait until every analyzer is loaded (or has failed to load, which its results will say)."""
        assert self._pool is not None, "the session is not started"
        await self._pool.ready()
        if self._warming is not None:
            await self._warming

    async def health(self) -> dict[str, AnalyzerHealth]:
        """Whether each analyzer that was asked for can answer now."""
        outcomes = self._pool.loaded_so_far() if self._pool is not None else {}
        return {name: self._health_of(name, outcomes.get(name)) for name in sorted(self.selection.names)}

    def _health_of(self, name: str, outcome: Outcome | None) -> AnalyzerHealth:
        if name in self.settings.disabled:
            return AnalyzerHealth(state="skipped", reason=SWITCHED_OFF)
        if outcome is None:
            return AnalyzerHealth(state="loading")
        if outcome.skipped is not None:
            return AnalyzerHealth(state="skipped", reason=outcome.skipped)
        if outcome.error is not None:
            return AnalyzerHealth(state="failed", reason=f"{outcome.error.type}: {outcome.error.message}")
        return AnalyzerHealth(state="ready", model=outcome.value.id)

    def _typed(self, result: AnalyzerResult) -> Report[Any, Any]:
        return self._classes[result.name].report_model.model_validate(result.report)

    async def close(self) -> None:
        """End the workers, and Ray if this session started it."""
        if self._warming is not None:
            self._warming.cancel()
        if self._pool is not None:
            await self._pool.close()
        if self._owns_ray:
            await asyncio.to_thread(stop_ray)

    async def probe(self, source: str | Path) -> VideoFacts:
        """What the file is. Works before `start`. Raises `MediaError`."""
        return await self._prober.probe(_local_path(source))

    async def stream(
        self,
        source: str | Path | VideoFacts,
        analyzers: Sequence[str] | None = None,
        given: Mapping[str, AnalyzerResult] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Progress, each `AnalyzerResult` as soon as it is there, and last the `VideoReport`.

        Args:
            source: a path, or what `probe` said about it.
            analyzers: names; None is all that were loaded.
            given: ok results of the same video by name, which are taken over and neither computed nor yielded again.

        Raises:
            MediaError: the source cannot be analyzed.
            UsageError: an analyzer does not exist, or was not loaded.
        """
        assert self._engine is not None, "the session is not started"
        wanted = list(self.selection.names if analyzers is None else analyzers)
        missing = set(self.graph.closure(wanted).names) - set(self.selection.names)
        if missing:
            raise UsageError(f"this session was started without {', '.join(sorted(missing))}")
        facts = source if isinstance(source, VideoFacts) else await self.probe(source)
        from actors.monitor import GpuMonitor

        with GpuMonitor() as gpu:
            known = [Given(result, self._typed(result)) for result in (given or {}).values()]
            async with aclosing(self._engine.run(facts, wanted, gpu.figures, known)) as events:
                async for event in events:
                    yield event

    async def analyze(self, source: str | Path | VideoFacts, analyzers: Sequence[str] | None = None) -> VideoReport:
        """The whole report. Raises as `stream`."""
        report: VideoReport | None = None
        async with aclosing(self.stream(source, analyzers)) as events:
            async for event in events:
                if isinstance(event, VideoReport):
                    report = event
        assert report is not None
        return report

    def _check_names(self) -> None:
        """An analyzer that a typing error leaves switched on must not go unnoticed."""
        ray = self.settings.ray
        named = {
            "disabled": self.settings.disabled,
            "ray.together": [name for names in ray.together for name in names],
            "ray.together_on_gpu": [name for names in ray.together_on_gpu for name in names],
            "ray.replicate": ray.replicate,
            "plan": self.settings.plan,
            "analyzers": self.settings.analyzers,
        }
        for setting, names in named.items():
            try:
                self.graph.closure(names)
            except UsageError as error:
                raise UsageError(f"setting {setting}: {error}") from None

    def _with_advice(self, error: PlanError) -> PlanError:
        """The error with the settings that would fit; as it is where the GPUs themselves are not to be had."""
        from analyzers.models.hub import smaller
        from cluster.advice import with_advice

        if self._machine is None:
            return error
        return with_advice(error, self._wanted_classes(), self.settings, self._machine, smaller)

    def _wanted_classes(self) -> dict[str, AnalyzerClass]:
        return {name: self._classes[name] for name in self.selection.names if name not in self.settings.disabled}


def _local_path(source: str | Path) -> str:
    text = str(source)
    if "://" in text:
        raise UsageError(f"{text} is a URL; download the post first and give the file's path")
    return str(Path(text).expanduser())


def stop_ray() -> None:
    """End the Ray that this process has started, and remove its logs and sockets."""
    import ray

    node = ray._private.worker._global_node
    if node is None:
        return  # it did not start
    session_dir = node.get_session_dir_path()
    ray.shutdown()
    shutil.rmtree(session_dir, ignore_errors=True)  # logs and sockets of a cluster that is no more
