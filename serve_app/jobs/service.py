"""Takes jobs on, brings each to its end, and tells what happened."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Protocol

from pipeline.results import VideoReport
from pipeline.settings import Settings
from serve_app.jobs.interface import Analysis, Submission
from serve_app.schemas import Job, JobEvent, JobList


class FetchedFile(Protocol):
    """A post's video on disk: what `Fetcher.fetch` answers, in part."""

    @property
    def path(self) -> Path:
        """The file, below the folder that was given."""


class Fetcher(Protocol):
    """Fetches posts: what `serve_app.fetch.Fetcher` is, in part."""

    async def fetch(
        self, url: str, folder: Path, on_progress: Callable[[int, int | None], None] | None = None
    ) -> FetchedFile:
        """Fetch a post's video into the folder; `on_progress` is told bytes done and in all. Raises `Problem`."""


class JobService:
    """See `serve_app.jobs.interface.Jobs`.

    `start` opens the database, takes up interrupted jobs and accepts submissions; `begin` runs jobs from then on.

    Args:
        settings: effective ones.
        analysis: probes and analyzes; need not be ready before `begin`.
        fetcher: fetches posts.
    """

    def __init__(self, settings: Settings, analysis: Analysis, fetcher: Fetcher) -> None:
        self._settings, self._analysis, self._fetcher = settings, analysis, fetcher

    async def start(self) -> None:
        """Open the database and accept submissions. Raises `PlanError`: the database cannot be used."""
        raise NotImplementedError

    def begin(self) -> None:
        """Analyzers are loaded: run jobs from now on."""
        raise NotImplementedError

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more on; running jobs may end within the time, then they are interrupted, to be resumed."""
        raise NotImplementedError

    async def close(self) -> None:
        """Leave nothing running."""
        raise NotImplementedError

    async def check_room(self, nbytes: int, owner: str, jobs_in_flight_max: int | None) -> None:
        """See `Jobs.check_room`."""
        raise NotImplementedError

    async def submit(self, submission: Submission) -> tuple[Job, bool]:
        """See `Jobs.submit`."""
        raise NotImplementedError

    async def get(self, job_id: str, owner: str) -> Job:
        """See `Jobs.get`."""
        raise NotImplementedError

    async def page(self, owner: str, limit: int, before: str | None) -> JobList:
        """See `Jobs.page`."""
        raise NotImplementedError

    def events(self, job_id: str, owner: str, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        """See `Jobs.events`."""
        raise NotImplementedError

    async def wait(self, job_id: str, owner: str) -> Job:
        """See `Jobs.wait`."""
        raise NotImplementedError

    async def cancel(self, job_id: str, owner: str) -> Job | None:
        """See `Jobs.cancel`."""
        raise NotImplementedError

    async def report(self, job_id: str, owner: str) -> VideoReport:
        """See `Jobs.report`."""
        raise NotImplementedError

    async def media(self, job_id: str, owner: str) -> Path:
        """See `Jobs.media`."""
        raise NotImplementedError

    async def counts(self) -> dict[str, int]:
        """See `Jobs.counts`."""
        raise NotImplementedError

    @property
    def stopping(self) -> bool:
        """See `Jobs.stopping`."""
        raise NotImplementedError
