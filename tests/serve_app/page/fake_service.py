"""A service that replays a report: real HTTP over scripted jobs, for looking at the page and for testing it.

`python -m tests.serve_app.page.fake_service REPORT.json VIDEO` serves it on 127.0.0.1:8003.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

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

STEPS: Final = 40
"""Progress events of a run."""
FAILURES: Final = {
    "private": JobError(code="post_private", detail="its owner shows it to followers only"),
    "broken": JobError(code="media_unreadable", detail="no stream could be decoded: moov atom not found"),
}
"""A source whose name holds the word fails in that way."""


@dataclass
class _Script:
    job: Job
    owner: str
    report: VideoReport
    media: Path
    kept: list[JobEvent] = field(default_factory=list)
    progress: JobEvent | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class ScriptedJobs:
    """`Jobs` that plays a report back: the results in the order in which they once came.

    Args:
        report: what every job ends with.
        media: the video of jobs that have none of their own.
        seconds: how long a job runs.
        waits: how many jobs it claims stand before each at first.

    Attributes:
        held: running jobs stop in the middle until it is false again; may be set from another thread.
        resumed_after: the event ids behind which listeners have asked to go on.
    """

    def __init__(self, report: VideoReport, media: Path, *, seconds: float = 4.0, waits: int = 2) -> None:
        self._report, self._media, self._seconds, self._waits = report, media, seconds, waits
        self._scripts: dict[str, _Script] = {}
        self._known: dict[tuple[str, str], str] = {}
        self.stopping = self.held = False
        self.resumed_after: list[int] = []

    def add(self, job: Job, owner: str = "", report: VideoReport | None = None) -> None:
        """A job that has ended before."""
        self._scripts[job.id] = _Script(job, owner, report or self._report, self._media)

    async def check_room(self, nbytes: int, owner: str, jobs_in_flight_max: int | None) -> None:
        if self.stopping:
            raise Problem("stopping", "the service is being stopped", retry_after_s=5)

    async def submit(self, submission: Submission) -> tuple[Job, bool]:
        key = (submission.owner, submission.idempotency_key or secrets.token_hex(8))
        if key in self._known:
            return self._scripts[self._known[key]].job, False
        job = made_job(
            state="queued",
            source_kind=submission.kind,
            source=submission.source,
            wanted=list(submission.analyzers) if submission.analyzers else None,
            based_on=submission.based_on,
            position=self._waits,
            request_id=submission.request_id,
        )
        report, media = self._report, self._media
        if submission.based_on is not None:
            before = self._script(submission.based_on, submission.owner)
            report, media = before.report, before.media
            job = job.model_copy(update={"source": before.job.source, "source_kind": before.job.source_kind})
        if submission.upload is not None:
            media = submission.upload.rename(submission.upload.with_name(f"{job.id}.media"))
        script = _Script(job, submission.owner, report, media)
        self._scripts[job.id], self._known[key] = script, job.id
        script.task = asyncio.ensure_future(self._play(script))
        return job, True

    async def get(self, job_id: str, owner: str) -> Job:
        return self._script(job_id, owner).job

    async def page(self, owner: str, limit: int, before: str | None) -> JobList:
        mine = [script.job for script in self._scripts.values() if script.owner == owner]
        mine.sort(key=lambda job: job.created_at, reverse=True)
        if before is not None:
            mine = mine[[job.id for job in mine].index(before) + 1 :]
        return JobList(jobs=mine[:limit], next=mine[limit - 1].id if len(mine) > limit else None)

    async def events(self, job_id: str, owner: str, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        script = self._script(job_id, owner)
        if after:
            self.resumed_after.append(after)
        told = None
        while True:
            changed = script.changed
            for event in script.kept[after:]:  # an event's id is its place in the list
                yield event
                after = event.id or after
                if event.type == "done":
                    return
            if script.progress is not told:
                told = script.progress
                yield script.progress
            await changed.wait()

    async def wait(self, job_id: str, owner: str) -> Job:
        async for _ in self.events(job_id, owner):
            pass
        return await self.get(job_id, owner)

    async def cancel(self, job_id: str, owner: str, *, keep: bool = False) -> Job | None:
        script = self._script(job_id, owner)
        if script.job.state in ENDED:
            if keep:
                return script.job
            del self._scripts[job_id]
            return None
        if script.task is not None:
            script.task.cancel()
        self._end(script, "cancelled")
        return script.job

    async def report(self, job_id: str, owner: str) -> VideoReport:
        script = self._script(job_id, owner)
        if script.job.state != "done":
            raise Problem("job_ended" if script.job.state in ENDED else "job_not_done", f"it is {script.job.state}")
        return script.report

    async def media(self, job_id: str, owner: str) -> Path:
        script = self._script(job_id, owner)
        if not script.job.media_kept:
            raise Problem("media_gone", "the video is not kept any more")
        return script.media

    async def counts(self) -> dict[str, int]:
        states = [script.job.state for script in self._scripts.values()]
        return {state: states.count(state) for state in ("queued", "fetching", "running")}

    def _script(self, job_id: str, owner: str) -> _Script:
        script = self._scripts.get(job_id)
        if script is None or script.owner != owner:
            raise Problem("not_found", f"there is no job {job_id!r}")
        return script

    async def _play(self, script: _Script) -> None:
        for position in range(self._waits, -1, -1):
            self._change(script, position=position)
            await asyncio.sleep(self._seconds / 20)
        self._change(script, position=None, started_at=datetime.now(UTC))
        if script.job.source_kind == "url":
            await self._fetch(script)
        failure = next((error for word, error in FAILURES.items() if word in script.job.source), None)
        if failure is not None:
            return self._end(script, "failed", error=failure)
        video, results = script.report.video, script.report.analyzers
        self._change(
            script,
            state="running",
            media_kept=True,
            video=video,
            duration_s=video.duration_s,
            analyzers={name: AnalyzerState() for name in results},
        )
        left = sorted(results.values(), key=_ended_s)
        whole_s = max(map(_ended_s, left)) or 1.0
        for step in range(1, STEPS + 1):
            await asyncio.sleep(self._seconds / STEPS)
            while self.held and step == STEPS // 2:  # noqa: ASYNC110  an event of asyncio belongs to one thread
                await asyncio.sleep(0.02)
            now_s = whole_s * step / STEPS
            moved = {
                result.name: min(1.0, now_s / max(_ended_s(result), 0.01)) * video.duration_s
                for result in left
                if result.timing.chunks
            }
            totals = {name: {"done_s": done_s, "total_s": video.duration_s} for name, done_s in moved.items()}
            states = {name: AnalyzerState(done_s=done_s) for name, done_s in moved.items()}
            script.job = script.job.model_copy(update={"analyzers": script.job.analyzers | states})
            script.progress = JobEvent("progress", {"analyzers": totals})
            self._wake(script)
            while left and _ended_s(left[0]) <= now_s + 1e-6:
                result = left.pop(0)
                ended = AnalyzerState(done_s=video.duration_s, status=result.status)
                script.job = script.job.model_copy(update={"analyzers": script.job.analyzers | {result.name: ended}})
                kind = "analyzer.failed" if result.status == "failed" else "analyzer.completed"
                self._keep(script, kind, result.model_dump(mode="json"))
        return self._end(script, "done")

    async def _fetch(self, script: _Script) -> None:
        size = 8_400_000
        for step in range(11):
            self._change(script, state="fetching", fetched_bytes=size * step // 10, fetch_bytes=size)
            await asyncio.sleep(self._seconds / 40)

    def _end(self, script: _Script, state: Literal["done", "failed", "cancelled"], **fields: Any) -> None:
        self._change(script, state=state, ended_at=datetime.now(UTC), **fields)
        self._keep(script, "done", script.job.model_dump(mode="json"))

    def _change(self, script: _Script, **fields: Any) -> None:
        script.job = script.job.model_copy(update=fields)
        self._keep(script, "job", script.job.model_dump(mode="json"))

    def _keep(self, script: _Script, kind: Any, data: dict[str, Any]) -> None:
        script.kept.append(JobEvent(kind, data, len(script.kept) + 1))
        self._wake(script)

    def _wake(self, script: _Script) -> None:
        changed, script.changed = script.changed, asyncio.Event()
        changed.set()


def _ended_s(result: AnalyzerResult) -> float:
    return result.timing.done_s or 0.0


def made_job(**fields: Any) -> Job:
    """A job with links to itself; `fields` are the job's."""
    job_id = fields.pop("id", secrets.token_hex(8))
    path = f"/v1/jobs/{job_id}"
    links = JobLinks(
        self=path, events=f"{path}/events", result=f"{path}/result", media=f"{path}/media", page=f"/jobs/{job_id}"
    )
    given = {"state": "done", "source_kind": "upload", "source": "clip.mp4", "created_at": datetime.now(UTC)}
    return Job.model_validate({"id": job_id, "links": links, **given, **fields})


class ScriptedService:
    """A `ServiceLike` over `ScriptedJobs`."""

    def __init__(self, report: VideoReport, media: Path, **script: Any) -> None:
        self.jobs = ScriptedJobs(report, media, **script)
        self.state: Literal["starting", "ok", "stopping"] = "ok"
        self._report = report

    @property
    def names(self) -> Collection[str]:
        return list(self._report.analyzers)

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to end."""

    async def health(self) -> Health:
        analyzers = {
            name: AnalyzerHealth(state="skipped" if result.status == "skipped" else "ready", reason=result.reason)
            for name, result in self._report.analyzers.items()
        }
        limits = {"limits.bytes_max": 2 * 1024**3, "limits.duration_s_max": 14_400}
        return Health(
            status=self.state, version="0", profile="embedded", analyzers=analyzers, gpus=[],
            jobs=await self.jobs.counts(), limits=limits,
        )  # fmt: skip

    async def metrics(self) -> str:
        return ""


def main() -> None:
    """Serve a report that is replayed again and again."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("report", type=Path, help="a report.json")
    parser.add_argument("video", type=Path, help="the video it is about")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long a job runs")
    given = parser.parse_args()
    report = VideoReport.model_validate_json(given.report.read_bytes())
    with TemporaryDirectory() as folder:
        service = ScriptedService(report, given.video, seconds=given.seconds)
        uvicorn.run(create_app(Settings(data_dir=Path(folder)), service), port=8003)


if __name__ == "__main__":
    main()
