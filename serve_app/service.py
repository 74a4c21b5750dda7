"""The service as one object: the loaded analyzers, the fetcher and the jobs, started and ended together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from importlib.metadata import version
from typing import Final, Literal

from actors.monitor import GpuMonitor
from pipeline.errors import ReelscopeError
from pipeline.settings import Settings
from serve_app.fetch import Fetcher
from serve_app.jobs.service import JobService
from serve_app.metrics import ray_metrics
from serve_app.schemas import GpuState, Health
from serve_app.session import Session

COUNTS_S_MAX: Final = 0.005
"""How long `health` waits for the store; whoever watches a service asks it every few seconds."""

logger = logging.getLogger(__name__)


class Service:
    """What the HTTP interface stands on.

    Jobs are taken on as soon as `start` has returned, and run as soon as the analyzers are loaded.

    Args:
        settings: of everything.
        local: analyze in threads of this process instead of Ray actors, for tests and debugging.
    """

    def __init__(self, settings: Settings, *, local: bool = False) -> None:
        self.settings = settings
        self.session = Session(settings, local=local)
        self.jobs = JobService(settings, self.session, Fetcher(settings.fetch))
        self.state: Literal["starting", "ok", "stopping"] = "starting"
        self.trouble: str | None = None
        self._version = version("reelscope")
        self._gpus: list[str] = []
        self._counts: dict[str, int] | None = None
        self._counting: asyncio.Future[dict[str, int]] | None = None
        self._loading: asyncio.Task[None] | None = None

    @property
    def names(self) -> Collection[str]:
        """The analyzers that a request may name."""
        return self.session.selection.names

    async def start(self) -> None:
        """Open the store, and begin to load the analyzers."""
        self._gpus = await asyncio.to_thread(GpuMonitor.names)
        await self.jobs.start()
        self._loading = asyncio.ensure_future(self._load())

    async def _load(self) -> None:
        try:
            await self.session.start()
            await self.session.ready()
        except ReelscopeError as error:
            self.trouble = str(error)
            logger.error("the analyzers cannot be started: %s", error)
            return
        self.jobs.begin()
        self.state = "ok"

    async def ready(self) -> None:
        """Wait until jobs run, or until they never will (`trouble` says why)."""
        assert self._loading is not None, "the service is not started"
        await asyncio.shield(self._loading)

    async def close(self) -> None:
        """Let running jobs end as long as setting serve.drain_s allows, then stop everything. Once is enough."""
        if self.state == "stopping":
            return
        self.state = "stopping"
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        await self.jobs.drain(self.settings.serve.drain_s)
        await self.jobs.close()
        await self.session.close()

    async def health(self) -> Health:
        """What is loaded, and what it is busy with."""
        analyzers = await self.session.health()
        failed = self.trouble is not None or any(found.state == "failed" for found in analyzers.values())
        limits = self.settings.limits
        return Health(
            status="degraded" if failed and self.state != "stopping" else self.state,
            version=self._version,
            profile=self.settings.profile,
            analyzers=analyzers,
            gpus=await asyncio.to_thread(_gpus, self._gpus) if self._gpus else [],
            jobs=await self._job_counts(),
            limits={
                "limits.bytes_max": limits.bytes_max,
                "limits.duration_s_max": limits.duration_s_max,
                "serve.videos_in_flight": self.settings.serve.videos_in_flight,
                "serve.waiting_max": self.settings.serve.waiting_max,
            },
        )

    async def _job_counts(self) -> dict[str, int]:
        """Jobs by state; as they were a moment ago while the store is busy with a result, or closed."""
        if self.state == "stopping":
            return self._counts or {}
        if self._counting is None:
            self._counting = asyncio.ensure_future(self.jobs.counts())
        done, _ = await asyncio.wait({self._counting}, timeout=None if self._counts is None else COUNTS_S_MAX)
        for task in done:
            self._counting = None
            self._counts = task.result()
        assert self._counts is not None
        return self._counts

    async def metrics(self) -> str:
        """Ray's metrics of every node that answers, in Prometheus's text format."""
        return await ray_metrics()


def _gpus(names: list[str]) -> list[GpuState]:
    now = GpuMonitor.glance()
    if now is None:
        return [GpuState(name=name) for name in names]
    return [
        GpuState(name=name, utilization=utilization, used_gb=used_gb)
        for name, utilization, used_gb in zip(names, now.utilization, now.used_gb, strict=True)
    ]
