"""The service as one object: the loaded analyzers, the fetcher and the jobs, started and ended together."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import time
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final, Literal

from actors.monitor import GpuMonitor
from pipeline.errors import PlanError, ReelscopeError
from pipeline.settings import Settings
from serve_app.fetch import Fetcher
from serve_app.jobs.service import JobService
from serve_app.metrics import ray_metrics
from serve_app.schemas import GpuState, Health
from serve_app.session import Session

LOCK_S: Final = 30.0
"""How long a service that is replaced may take to let go of its data folder."""
COUNTS_KEPT_S: Final = 1.0
"""How old the numbers of jobs in `health` may be: the store may be busy with a result, and watchers ask often."""

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
        self._lock: IO[str] | None = None
        self._counts: dict[str, int] = {}
        self._counted_s = -COUNTS_KEPT_S
        self._loading: asyncio.Task[None] | None = None

    @property
    def names(self) -> Collection[str]:
        """The analyzers that a request may name."""
        return self.session.selection.names

    async def start(self) -> None:
        """Open the store, and begin to load the analyzers.

        Raises:
            PlanError: another service has the data folder, or the store cannot be opened.
        """
        self._lock = await asyncio.to_thread(lock_folder, self.settings.data_dir, LOCK_S)
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
        if self._lock is not None:
            self._lock.close()

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
        """Jobs by state, at most `COUNTS_KEPT_S` old; the last ones once the service stops."""
        now_s = time.monotonic()
        if self.state != "stopping" and now_s - self._counted_s > COUNTS_KEPT_S:
            self._counts, self._counted_s = await self.jobs.counts(), now_s
        return self._counts

    async def metrics(self) -> str:
        """Ray's metrics of every node that answers, in Prometheus's text format."""
        return await ray_metrics()


def lock_folder(folder: Path, wait_s: float) -> IO[str]:
    """Have a data folder to oneself, as long as the answer is open: two services would take each other's jobs over.

    Raises:
        PlanError: another process has it, also after `wait_s`; or it cannot be written.
    """
    deadline_s = time.monotonic() + wait_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "service.lock").open("w")
    except OSError as error:
        raise PlanError(
            f"the data folder {folder} cannot be written: {error.strerror}; choose another data_dir"
        ) from None
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                file.close()
                detail = f"another service has the data folder {folder}; stop it, or choose another with --data-dir"
                raise PlanError(detail) from None
            time.sleep(0.2)


def _gpus(names: list[str]) -> list[GpuState]:
    now = GpuMonitor.glance()
    if now is None:
        return [GpuState(name=name) for name in names]
    return [
        GpuState(name=name, utilization=utilization, used_gb=used_gb)
        for name, utilization, used_gb in zip(names, now.utilization, now.used_gb, strict=True)
    ]
