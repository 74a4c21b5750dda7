"""A job service in memory that does what a test tells it to, and the application over it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import httpx
import uvicorn
from fastapi import FastAPI

from pipeline.results import VideoReport
from pipeline.settings import Settings
from serve_app.api.application import create_app
from serve_app.api.keys import hash_of
from serve_app.jobs.interface import Submission
from serve_app.problems import Problem
from serve_app.schemas import ENDED, AnalyzerHealth, Health, Job, JobError, JobEvent, JobLinks, JobList
from tests.serve_app.documents import document, everything

NAMES = ("cut_analysis", "color_analysis", "speech_transcription")
TICK_S = 0.005


def report() -> VideoReport:
    """A report with something of everything."""
    return document(*everything())


@dataclass
class Record:
    """One job, and what happened to it."""

    job: Job
    owner: str
    submission: Submission
    events: list[JobEvent] = field(default_factory=list)
    media: Path | None = None


class FakeJobs:
    """`Jobs` whose jobs end at once, unless `holds` is set.

    Args:
        folder: takes uploads over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, Record] = {}
        self.holds = False
        self.fails_with: JobError | None = None
        self.no_room: Problem | None = None
        self.asked_room: list[tuple[int, str, int | None]] = []
        self.cancelled: list[str] = []
        self.listeners = 0
        self.stopping = False

    @property
    def last(self) -> Record:
        return list(self.records.values())[-1]

    async def check_room(self, nbytes: int, owner: str, jobs_in_flight_max: int | None) -> None:
        self.asked_room.append((nbytes, owner, jobs_in_flight_max))
        if self.no_room is not None:
            raise self.no_room

    async def submit(self, submission: Submission) -> tuple[Job, bool]:
        if self.no_room is not None:
            raise self.no_room
        for record in self.records.values():
            known = record.submission
            same_key = known.idempotency_key == submission.idempotency_key
            if submission.idempotency_key is not None and same_key and record.owner == submission.owner:
                if known.body_sha256 != submission.body_sha256:
                    raise Problem("idempotency_conflict", f"that key made job {record.job.id} from another request")
                return record.job, False
        job_id = f"job{len(self.records) + 1}"
        media = None
        if submission.upload is not None:
            media = self.folder / job_id
            shutil.move(submission.upload, media)
        elif submission.kind == "path":
            media = Path(submission.source)
        base = f"/v1/jobs/{job_id}"
        job = Job(
            id=job_id,
            state="running",
            source_kind=submission.kind,
            source=submission.source,
            created_at=datetime(2026, 11, 22, tzinfo=UTC),
            wanted=None if submission.analyzers is None else list(submission.analyzers),
            request_id=submission.request_id,
            based_on=submission.based_on,
            video=report().video,
            media_kept=media is not None,
            links=JobLinks(
                self=base,
                events=f"{base}/events",
                result=f"{base}/result",
                media=f"{base}/media",
                page=f"/jobs/{job_id}",
            ),
        )
        self.records[job_id] = Record(job, submission.owner, submission, media=media)
        self.emit(job_id, "job", {"state": "running"})
        if not self.holds:
            self.finish(job_id)
        return job, True

    def emit(self, job_id: str, kind: Any, data: dict[str, Any], *, kept: bool = True) -> None:
        """Something happens."""
        record = self.records[job_id]
        number = sum(event.id is not None for event in record.events) + 1
        record.events.append(JobEvent(kind, data, number if kept else None))

    def finish(self, job_id: str, state: Literal["done", "failed", "cancelled"] = "done") -> None:
        """The job ends."""
        record = self.records[job_id]
        state = "failed" if self.fails_with else state
        record.job = record.job.model_copy(update={"state": state, "error": self.fails_with})
        self.emit(job_id, "done", record.job.model_dump(mode="json"))

    def _record(self, job_id: str, owner: str) -> Record:
        record = self.records.get(job_id)
        if record is None or record.owner != owner:
            raise Problem("not_found", f"there is no job {job_id}")
        return record

    async def get(self, job_id: str, owner: str) -> Job:
        return self._record(job_id, owner).job

    async def page(self, owner: str, limit: int, before: str | None) -> JobList:
        mine = [record.job for record in reversed(self.records.values()) if record.owner == owner]
        if before is not None:
            ids = [job.id for job in mine]
            mine = mine[ids.index(before) + 1 :] if before in ids else []
        return JobList(jobs=mine[:limit], next=mine[limit - 1].id if len(mine) > limit else None)

    async def events(self, job_id: str, owner: str, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        record = self._record(job_id, owner)
        self.listeners += 1
        try:
            place = 0
            while True:
                for event in record.events[place:]:
                    place += 1
                    if event.id is None or event.id > after:
                        yield event
                    if event.type == "done":
                        return
                await asyncio.sleep(TICK_S)
        finally:
            self.listeners -= 1

    async def wait(self, job_id: str, owner: str) -> Job:
        while self._record(job_id, owner).job.state not in ENDED:  # noqa: ASYNC110 (another thread may end it)
            await asyncio.sleep(TICK_S)
        return self._record(job_id, owner).job

    async def cancel(self, job_id: str, owner: str, *, keep: bool = False) -> Job | None:
        record = self._record(job_id, owner)
        if record.job.state in ENDED:
            if keep:
                return record.job
            del self.records[job_id]
            return None
        self.cancelled.append(job_id)
        self.finish(job_id, "cancelled")
        return record.job

    async def report(self, job_id: str, owner: str) -> VideoReport:
        job = self._record(job_id, owner).job
        if job.state not in ENDED:
            raise Problem("job_not_done", f"job {job_id} is {job.state}")
        if job.state != "done":
            raise Problem("job_ended", f"job {job_id} is {job.state}")
        return report()

    async def media(self, job_id: str, owner: str) -> Path:
        media = self._record(job_id, owner).media
        if media is None or not media.exists():
            raise Problem("media_gone", f"the video of job {job_id} is not kept any more")
        return media

    async def counts(self) -> dict[str, int]:
        return {"running": sum(record.job.state not in ENDED for record in self.records.values())}


class FakeService:
    """A service that is ready at once."""

    names = NAMES

    def __init__(self, jobs: FakeJobs) -> None:
        self.jobs = jobs
        self.state: Literal["starting", "ok", "stopping"] = "ok"
        self.calls: list[str] = []

    async def start(self) -> None:
        self.calls.append("start")

    async def close(self) -> None:
        self.calls.append("close")

    async def health(self) -> Health:
        analyzers = {name: AnalyzerHealth(state="ready") for name in NAMES}
        jobs = await self.jobs.counts()
        return Health(
            status="ok", version="1", profile="embedded", analyzers=analyzers, gpus=[], jobs=jobs, limits={"a": 1}
        )

    async def metrics(self) -> str:
        return "# TYPE reelscope_jobs gauge\nreelscope_jobs 0\n"


@dataclass
class World:
    """An application over fakes."""

    settings: Settings
    jobs: FakeJobs
    service: FakeService
    app: FastAPI

    def client(self, **arguments: Any) -> httpx.AsyncClient:
        """Speaks to the application without a network."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost:8003", **arguments)

    @property
    def spooled(self) -> list[Path]:
        """Uploads that lie where they are received."""
        return list((self.settings.data_dir / "spool").glob("*"))

    @contextmanager
    def served(self) -> Iterator[str]:
        """A real server in a thread; yields its URL."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            config = uvicorn.Config(self.app, log_config=None, lifespan="on", timeout_graceful_shutdown=2)
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                while not server.started:
                    assert thread.is_alive(), "the server did not start"
                    threading.Event().wait(0.01)
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join(10)
                assert not thread.is_alive()


def make_world(folder: Path, **settings: Any) -> World:
    """An application whose data lies in `folder`; settings by name, groups as dictionaries."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    effective = Settings(data_dir=data, **settings)
    jobs = FakeJobs(data)
    service = FakeService(jobs)
    return World(effective, jobs, service, create_app(effective, service))


async def until(true: Callable[[], object]) -> None:
    """Wait for something that happens in the application."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 (in another thread)
            await asyncio.sleep(TICK_S)


def with_keys(*names: str, **limits: Any) -> dict[str, Any]:
    """Setting `access` in which each name has the key ``rs_NAME``."""
    return {"keys": {name: {"sha256": hash_of(f"rs_{name}"), **limits} for name in names}}
