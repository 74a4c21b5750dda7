"""The seam between HTTP and jobs: the API knows `Jobs`, and `Jobs` knows an `Analysis` (a `Session`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.engine import Event
from pipeline.graph import Graph
from pipeline.results import AnalyzerResult, VideoFacts, VideoReport
from serve_app.schemas import AnalyzerHealth, Job, JobEvent, JobList, SourceKind

ANYONE = ""
"""Owner of everything where no API keys are configured."""


class Analysis(Protocol):
    """Loaded analyzers: what `serve_app.session.Session` is, in part."""

    graph: Graph

    async def probe(self, source: str | Path) -> VideoFacts:
        """What the file is. Raises `MediaError`."""

    def stream(
        self,
        source: str | Path | VideoFacts,
        analyzers: Sequence[str] | None = None,
        given: Mapping[str, AnalyzerResult] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Progress, results and last the report; `given` results are taken over instead of being computed.

        Closing it cancels the run. Raises `MediaError`, `UsageError`.
        """

    async def health(self) -> dict[str, AnalyzerHealth]:
        """The state of every analyzer, at once."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A request that the API has checked: the path lies below a media root, the URL is one of a post host.

    Args:
        kind: where the video comes from.
        source: the file's path (kind ``path``; symlinks resolved), the URL, or the name that an upload had.
        upload: the uploaded file (kind ``upload``); the service takes it over, by moving it.
        analyzers: wanted names, checked; None is all.
        owner: name of the API key, or `ANYONE`.
        request_id: of the HTTP request.
        idempotency_key: with `body_sha256`, by owner: the same key and body answers the first job, another body is a
            `Problem` idempotency_conflict.
        body_sha256: hash of what was asked (for an upload, of its bytes and fields).
        webhook_url: told when the job has ended; checked.
        based_on: a job whose report is taken over but for `analyzers`.
        jobs_in_flight_max: of the owner's key; more is a `Problem` too_many_jobs.
        seconds_per_day_max: of the owner's key; a job whose video would exceed it fails with quota_exceeded.
    """

    kind: SourceKind
    source: str
    upload: Path | None = None
    analyzers: tuple[str, ...] | None = None
    owner: str = ANYONE
    request_id: str | None = None
    idempotency_key: str | None = None
    body_sha256: str | None = None
    webhook_url: str | None = None
    based_on: str | None = None
    jobs_in_flight_max: int | None = None
    seconds_per_day_max: float | None = None


class Jobs(Protocol):
    """Takes jobs on and brings them to their end. Every call names the owner; others' jobs are `Problem` not_found."""

    async def check_room(self, nbytes: int, owner: str, jobs_in_flight_max: int | None) -> None:
        """Whether a job with that much media would be taken on now: asked before an upload is read.

        Raises:
            Problem: busy or stopping (with retry_after_s), too_many_jobs.
        """

    async def submit(self, submission: Submission) -> tuple[Job, bool]:
        """Take a job on; the flag says whether it is new (False: the answer to an Idempotency-Key).

        Raises:
            Problem: busy, stopping, idempotency_conflict, too_many_jobs, not_found (based_on), job_not_done (based_on),
                job_ended (based_on, without a report), media_gone (based_on), unknown_analyzer, storage_full.
        """

    async def get(self, job_id: str, owner: str) -> Job:
        """Raises `Problem` not_found."""

    async def page(self, owner: str, limit: int, before: str | None) -> JobList:
        """Newest first, those older than the job `before`."""

    def events(self, job_id: str, owner: str, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        """Kept events with an id above `after`, then new ones as they come; ends after ``done``, or
        when the service is stopped.

        A listener that joins late is told the present progress first. Closing it costs and leaves nothing. Raises
        `Problem` not_found when first asked.
        """

    async def wait(self, job_id: str, owner: str) -> Job:
        """The job when it has ended. Raises `Problem` not_found; stopping: the service ends before the job."""

    async def cancel(self, job_id: str, owner: str, *, keep: bool = False) -> Job | None:
        """Stop a job that runs or waits (it becomes ``cancelled``, and what it held is freed when this returns);
        delete one that has ended, with its report and media (None), or leave it as it is (`keep`). One that ends by
        itself in that moment stays. Raises `Problem` not_found."""

    async def report(self, job_id: str, owner: str) -> VideoReport:
        """Raises `Problem` not_found, job_not_done, job_ended."""

    async def media(self, job_id: str, owner: str) -> Path:
        """The video as a local file, as long as it is kept. Raises `Problem` not_found, job_not_done (it is not there
        yet), media_gone."""

    async def counts(self) -> dict[str, int]:
        """How many jobs are queued, fetching and running, by state."""

    @property
    def stopping(self) -> bool:
        """Whether no new jobs are taken on."""
