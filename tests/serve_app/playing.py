"""For tests of what talks to a server: jobs in memory that do as a test says, and a network that fails on demand."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from pipeline.results import AnalyzerResult, VideoReport
from pipeline.settings import Settings
from serve_app.api.application import create_app
from serve_app.jobs.interface import Submission
from serve_app.problems import Problem
from serve_app.schemas import (
    ENDED,
    AnalyzerHealth,
    AnalyzerState,
    Health,
    Job,
    JobError,
    JobEvent,
    JobLinks,
    JobList,
)
from tests.serve_app.documents import document, result, without_report

Ending = Callable[[Job], Job]


def report_of(source: str, failed: bool = False) -> VideoReport:
    cuts = result("cut_analysis", [{"start": 0.0, "end": 30.0}], {"cuts": []})
    other = without_report("text_overlay", "failed", "out of memory") if failed else result("text_overlay", [])
    return document(cuts, other, source=source)


class PlayedJobs:
    """A `Jobs` whose jobs end at once, or wait until they are let go or cancelled.

    Args:
        hold: jobs stay ``running`` until `let_go`.
        error: what every job fails with.
        failed: an analyzer of every report has failed.
    """

    def __init__(self) -> None:
        self.hold, self.failed = False, False
        self.error: JobError | None = None
        self.submissions: list[Submission] = []
        self.uploaded: list[bytes] = []
        self.jobs: dict[str, Job] = {}
        self.kept: dict[str, list[JobEvent]] = {}
        self.reports: dict[str, VideoReport] = {}
        self.files: dict[str, Path] = {}
        self.keys: dict[str, str] = {}
        self.stopping = False
        self._ids = itertools.count(1)

    async def check_room(self, nbytes: int, owner: str, jobs_in_flight_max: int | None) -> None:
        """There always is."""

    async def submit(self, submission: Submission) -> tuple[Job, bool]:
        key = submission.idempotency_key
        if key is not None and key in self.keys:
            return self.jobs[self.keys[key]], False
        job_id = f"job{next(self._ids)}"
        if key is not None:
            self.keys[key] = job_id
        self.submissions.append(submission)
        if submission.upload is not None:
            self.uploaded.append(submission.upload.read_bytes())
            self.files[job_id] = submission.upload.rename(submission.upload.with_name(job_id))
        base = f"/v1/jobs/{job_id}"
        links = JobLinks(
            self=base, events=f"{base}/events", result=f"{base}/result", media=f"{base}/media", page=f"/jobs/{job_id}"
        )
        self.jobs[job_id] = Job(
            id=job_id,
            state="queued",
            source_kind=submission.kind,
            source=submission.source,
            created_at=datetime.now(UTC),
            wanted=list(submission.analyzers) if submission.analyzers else None,
            based_on=submission.based_on,
            links=links,
        )
        self.kept[job_id] = []
        self._tell(job_id)
        self.reports[job_id] = report_of(submission.source, self.failed)
        report = self.reports[job_id]
        running = {name: AnalyzerState() for name in report.analyzers}
        self._change(job_id, state="running", video=report.video, duration_s=30.0, analyzers=running)
        for one in report.analyzers.values():
            self._tell_result(job_id, one)
        if not self.hold:
            self.let_go(job_id)
        return self.jobs[job_id], True

    def let_go(self, job_id: str) -> None:
        self._end(job_id, state="failed" if self.error else "done", error=self.error)

    async def get(self, job_id: str, owner: str) -> Job:
        if job_id not in self.jobs:
            raise Problem("not_found", f"there is no job {job_id}")
        return self.jobs[job_id]

    async def page(self, owner: str, limit: int, before: str | None) -> JobList:
        newest = list(reversed(self.jobs.values()))
        begin = 0 if before is None else [job.id for job in newest].index(before) + 1
        shown = newest[begin : begin + limit]
        return JobList(jobs=shown, next=shown[-1].id if begin + limit < len(newest) else None)

    async def events(self, job_id: str, owner: str, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        await self.get(job_id, owner)
        yield JobEvent("progress", {"analyzers": {"cut_analysis": {"done_s": 1.5, "total_s": 30.0}}})
        while True:
            for event in self.kept[job_id][after:]:
                after += 1
                yield event
                if event.type == "done":
                    return
            await asyncio.sleep(0.01)

    async def wait(self, job_id: str, owner: str) -> Job:
        async for _ in self.events(job_id, owner):
            continue
        return self.jobs[job_id]

    async def cancel(self, job_id: str, owner: str, *, keep: bool = False) -> Job | None:
        job = await self.get(job_id, owner)
        if job.state in ENDED:
            if keep:
                return job
            del self.jobs[job_id]
            return None
        self._end(job_id, state="cancelled")
        return self.jobs[job_id]

    async def report(self, job_id: str, owner: str) -> VideoReport:
        job = await self.get(job_id, owner)
        if job.state not in ENDED:
            raise Problem("job_not_done", f"job {job_id} is {job.state}")
        return self.reports[job_id]

    async def media(self, job_id: str, owner: str) -> Path:
        await self.get(job_id, owner)
        if job_id not in self.files:
            raise Problem("media_gone", "the video is not kept any more")
        return self.files[job_id]

    async def counts(self) -> dict[str, int]:
        return {"queued": 0, "fetching": 0, "running": sum(job.state == "running" for job in self.jobs.values())}

    def _change(self, job_id: str, **changes: Any) -> None:
        self.jobs[job_id] = self.jobs[job_id].model_copy(update=changes)
        self._tell(job_id)

    def _end(self, job_id: str, **changes: Any) -> None:
        self._change(job_id, ended_at=datetime.now(UTC), **changes)
        self._tell(job_id, "done")

    def _tell(self, job_id: str, kind: Any = "job") -> None:
        self._keep(job_id, kind, self.jobs[job_id].model_dump(mode="json"))

    def _tell_result(self, job_id: str, one: AnalyzerResult) -> None:
        kind = "analyzer.failed" if one.status == "failed" else "analyzer.completed"
        self._keep(job_id, kind, one.model_dump(mode="json"))

    def _keep(self, job_id: str, kind: Any, data: Any) -> None:
        events = self.kept[job_id]
        events.append(JobEvent(kind, data, len(events) + 1))


class PlayedService:
    """What `create_app` serves."""

    names = ("cut_analysis", "text_overlay")

    def __init__(self) -> None:
        self.jobs = PlayedJobs()
        self.state = "ok"

    async def start(self) -> None:
        """Nothing has to be loaded."""

    async def close(self) -> None:
        """Nothing is held."""

    async def metrics(self) -> str:
        return ""

    async def health(self) -> Health:
        return Health(
            status="ok",
            version="1",
            profile="embedded",
            analyzers={"cut_analysis": AnalyzerHealth(state="ready")},
            gpus=[],
            jobs=await self.jobs.counts(),
            limits={},
        )


class Network:
    """What lies between client and server (an ASGI application around another).

    Args:
        answers: instead of the server's, to the next requests that `only` allows: status, headers, body.
        lost_answers: so many requests are done by the server and their answers lost.
        cut_after: event streams break after so many bytes; None lets them be.
        newer: JSON answers have fields that nobody knows yet.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.only = ("POST",)
        self.lost_answers = 0
        self.cut_after: int | None = None
        self.newer = False
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def asked(self, method: str, path: str = "") -> int:
        return sum(found == method and path in where for found, where, _ in self.requests)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append((scope["method"], scope["path"], headers))
        if self.answers and scope["method"] in self.only:
            await _whole_body(receive)
            await _answer(send, *self.answers.pop(0))
            return
        if self.lost_answers and scope["method"] in self.only:
            self.lost_answers -= 1
            await self.app(scope, receive, _nowhere)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
            return  # and no body: the server closes the connection
        if self.cut_after is not None and scope["path"].endswith("/events"):
            await self._cut(scope, receive, send)
            return
        await self.app(scope, receive, self._renewed(send) if self.newer else send)

    async def _cut(self, scope: Any, receive: Any, send: Any) -> None:
        """To the server it looks as if the client has left, and to the client as if the server had."""
        room, gone = self.cut_after or 0, asyncio.Event()

        async def until_cut(message: Any) -> None:
            nonlocal room
            room -= len(message.get("body", b""))
            if room < 0:
                gone.set()
            else:
                await send(message)

        async def leaving() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        await receive()
        await self.app(scope, leaving, until_cut)

    def _renewed(self, send: Any) -> Any:
        json_answer = False

        async def through(message: Any) -> None:
            nonlocal json_answer
            if message["type"] == "http.response.start":
                json_answer = any(value.startswith(b"application/json") for _, value in message["headers"])
                headers = [pair for pair in message["headers"] if pair[0] != b"content-length"]
                message = {**message, "headers": headers}
            elif json_answer and message.get("body"):
                message = {**message, "body": json.dumps(_newer(json.loads(message["body"]))).encode()}
            await send(message)

        return through


def _newer(model: dict[str, Any]) -> dict[str, Any]:
    """The same with a field more, in the models that it holds, too."""
    held = {name: _newer(model[name]) for name in ("links", "video", "run", "coverage") if model.get(name)}
    jobs = {"jobs": [_newer(job) for job in model["jobs"]]} if isinstance(model.get("jobs"), list) else {}
    return {**model, **held, **jobs, "since_2027": {"a": [1]}}


async def _whole_body(receive: Any) -> None:
    while (await receive()).get("more_body"):
        continue


async def _answer(send: Any, status: int, headers: dict[str, str], body: bytes) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _nowhere(message: Any) -> None:
    """An answer that nobody gets."""


class Stage:
    """A server, what lies before it, and what its jobs do. Below its media root is ``there.mp4``."""

    def __init__(self, url: str, network: Network, jobs: PlayedJobs) -> None:
        self.url, self.network, self.jobs = url, network, jobs

    def reset(self) -> None:
        """As good as new."""
        self.network.__init__(self.network.app)  # type: ignore[misc]
        self.jobs.__init__()  # type: ignore[misc]

    def listened_to(self) -> None:
        """Wait until somebody asks for events."""
        while not self.network.asked("GET", "/events"):
            time.sleep(0.01)


@contextmanager
def staged(folder: Path, **settings: Any) -> Iterator[Stage]:
    """The service's own HTTP interface over played jobs, on a port of its own."""
    service: Any = PlayedService()
    media = folder / "media"
    media.mkdir()
    (media / "there.mp4").write_bytes(b"video")
    network = Network(create_app(Settings(data_dir=folder, media_roots=[media], **settings), service))
    with serving(network) as url:
        yield Stage(url, network, service.jobs)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serves an application on a port of its own in a thread; yields the URL."""
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive() and time.monotonic() < until, "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
