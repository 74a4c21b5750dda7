"""Takes jobs on, brings each to its end, and tells what happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import UsageError
from pipeline.results import AnalyzerResult, VideoReport
from pipeline.settings import Settings
from serve_app.jobs.answers import dependants, still_good
from serve_app.jobs.backend import Backend, is_full, storage_full
from serve_app.jobs.files import suffix_of
from serve_app.jobs.housekeeping import Sender, deliver_always, sweep_always
from serve_app.jobs.intake import Rerun
from serve_app.jobs.interface import Analysis, Submission
from serve_app.jobs.present import as_it_was
from serve_app.jobs.rows import Found, new_id
from serve_app.jobs.runner import RETRY_S, Fetcher, Runner
from serve_app.jobs.sources import check_same
from serve_app.jobs.store import Ending
from serve_app.jobs.tables import EventRow, JobRow
from serve_app.jobs.webhooks import Webhooks
from serve_app.problems import Problem
from serve_app.schemas import ENDED, Job, JobEvent, JobList

T = TypeVar("T")
logger = logging.getLogger(__name__)

EVENTS_AT_ONCE: Final = 32
"""How many kept events are read for one listener."""
EVENT_ID_MAX: Final = 2**63 - 1
"""The largest number that a database compares with."""


class JobService:
    """See `serve_app.jobs.interface.Jobs`.

    `start` opens the database, takes up interrupted jobs and accepts submissions; `begin` runs jobs from then on. One
    database belongs to one service: another one would take its running jobs for interrupted ones.

    Args:
        settings: effective ones.
        analysis: probes and analyzes; need not be ready before `begin`.
        fetcher: fetches posts.
        sender: of webhooks; None is the one that the settings describe.
    """

    def __init__(self, settings: Settings, analysis: Analysis, fetcher: Fetcher, sender: Sender | None = None) -> None:
        self._settings, self._analysis = settings, analysis
        self._backend = Backend(settings)
        self._runner = Runner(self._backend, analysis, fetcher)
        self._sender = sender or Webhooks(settings.access, settings.fetch.networks_allowed, settings.fetch.ca_file)
        self._stopping = False
        self._wake = asyncio.Event()
        # Held while a job is begun or cancelled, so that a job that is begun has its task when it is cancelled.
        self._turn = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._lanes: dict[bool, set[asyncio.Task[None]]] = {False: set(), True: set()}
        self._always: list[asyncio.Task[None]] = []
        self._calls: set[asyncio.Task[Any]] = set()

    # --- from start to end ---

    async def start(self) -> None:
        """Open the database and accept submissions. Raises `PlanError`: the database or the files cannot be used."""
        await self._backend.open()
        resumed = await self._backend.db(self._backend.store.resume)
        if resumed:
            logger.info("%d interrupted jobs go on", resumed)
        self._always.append(asyncio.create_task(sweep_always(self._backend)))
        self._always.append(asyncio.create_task(deliver_always(self._backend, self._sender)))

    def begin(self) -> None:
        """Analyzers are loaded: run jobs from now on."""
        if not self._stopping:
            self._always.append(asyncio.create_task(self._schedule()))

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more on; running jobs may end within the time, then they are interrupted, to be resumed."""
        self._stopping = True
        await _stop(self._always)
        running = list(self._tasks.values())
        if running and timeout_s > 0:
            await asyncio.wait(running, timeout=timeout_s)
        if self._backend.is_open:
            await self._backend.db(self._backend.store.interrupt)
        await _stop([task for task in running if not task.done()])
        self._backend.feeds.close()

    async def close(self) -> None:
        """Leave nothing running; what runs is interrupted as by `drain`."""
        await self.drain(0)
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._backend.close()

    @property
    def stopping(self) -> bool:
        """See `Jobs.stopping`."""
        return self._stopping

    async def _schedule(self) -> None:
        """Begin jobs as long as there are free places, whenever something has changed."""
        serve = self._settings.serve
        while True:
            self._wake.clear()
            try:
                await self._fill(False, serve.fetches_in_flight, self._runner.fetch)
                await self._fill(True, serve.videos_in_flight, self._runner.analyze)
            except SQLAlchemyError as error:
                logger.warning("the next job cannot be looked up; it is tried again: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            await self._wake.wait()

    async def _fill(self, ready: bool, places: int, run: Callable[[JobRow], Coroutine[Any, Any, None]]) -> None:
        lane = self._lanes[ready]
        while len(lane) < places:
            async with self._turn:
                row = await self._backend.db(self._backend.store.claim, ready)
                if row is None:
                    return
                task = asyncio.create_task(run(row), name=f"job {row.id}")
                self._tasks[row.id] = task
                lane.add(task)
            self._backend.feeds.told(row.id)
            task.add_done_callback(lambda task, job_id=row.id: self._finished(task, job_id))  # type: ignore[misc]

    def _finished(self, task: asyncio.Task[None], job_id: str) -> None:
        for lane in self._lanes.values():
            lane.discard(task)
        if self._tasks.get(job_id) is task:  # a post that was fetched may be analyzed already
            del self._tasks[job_id]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("job %s was left as it is", job_id, exc_info=error)

    # --- taking on ---

    async def check_room(self, nbytes: int, owner: str, jobs_in_flight_max: int | None) -> None:
        """See `Jobs.check_room`."""
        self._check_open()
        await self._backend.db(self._backend.intake.check_room, nbytes, owner, jobs_in_flight_max)

    async def submit(self, submission: Submission) -> tuple[Job, bool]:
        """See `Jobs.submit`; also raises `Problem` job_ended (based_on) and storage_full."""
        return await self._whole(self._submit(submission))

    async def _submit(self, asked: Submission) -> tuple[Job, bool]:
        backend, job_id, new = self._backend, new_id(), False
        try:
            self._check_open()
            self._check_names(asked.analyzers)
            rerun = None
            if asked.based_on is not None:
                rerun = await self._rerun(asked, asked.based_on)
                if (names := rerun.base.wanted) is None:
                    asked = replace(asked, analyzers=None)
                else:
                    asked = replace(asked, analyzers=tuple(sorted({*names, *(asked.analyzers or ())})))
            nbytes, suffix = 0, ""
            if asked.upload is not None:
                nbytes, suffix = (await backend.file(asked.upload.stat)).st_size, suffix_of(asked.source)
                await backend.file(backend.files.take, asked.upload, job_id, suffix)
            found, new = await backend.db(backend.intake.add, job_id, asked, nbytes, suffix, rerun)
        except (OSError, SQLAlchemyError) as error:
            if is_full(error):
                raise storage_full() from error
            raise
        finally:
            if not new and asked.upload is not None:
                await backend.file(asked.upload.unlink, missing_ok=True)
                await backend.file(backend.files.drop_spool, job_id)
        if new:
            self._wake.set()
        return backend.job(found), new

    async def _rerun(self, asked: Submission, base_id: str) -> Rerun:
        """What a rerun takes from its base: all but the named analyzers and those that build on them."""
        graph = self._analysis.graph
        base, report = await self._with_report(base_id, asked.owner)
        if base.source_kind == "path":
            await self._backend.file(check_same, base.source, self._settings.media_roots, base.identity)
        anew = dependants(asked.analyzers or tuple(graph.specs), graph)
        names = graph.closure(base.wanted).names
        given: dict[str, AnalyzerResult] = still_good(report.analyzers.values(), names, graph)
        return Rerun(base, [result for name, result in given.items() if name not in anew])

    def _check_open(self) -> None:
        if self._stopping:
            detail = "the service is being stopped; try again later"
            raise Problem("stopping", detail, retry_after_s=self._settings.serve.retry_after_s)

    def _check_names(self, names: tuple[str, ...] | None) -> None:
        try:
            self._analysis.graph.closure(names)
        except UsageError as error:
            raise Problem("unknown_analyzer", str(error)) from None

    async def _whole(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call that goes on to its end even if whoever asked for it goes away."""
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._called)
        return await asyncio.shield(task)

    def _called(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, since whoever asked may have gone

    # --- asking ---

    async def get(self, job_id: str, owner: str) -> Job:
        """See `Jobs.get`."""
        return self._backend.job(await self._found(job_id, owner))

    async def page(self, owner: str, limit: int, before: str | None) -> JobList:
        """See `Jobs.page`."""
        found = await self._backend.db(self._backend.store.page, owner, limit + 1, before)
        jobs = [self._backend.job(job) for job in found[:limit]]
        return JobList(jobs=jobs, next=jobs[-1].id if len(found) > limit else None)

    async def report(self, job_id: str, owner: str) -> VideoReport:
        """See `Jobs.report`."""
        return (await self._with_report(job_id, owner))[1]

    async def media(self, job_id: str, owner: str) -> Path:
        """See `Jobs.media`; also raises `Problem` job_not_done, as long as the video is not there yet."""
        row = (await self._found(job_id, owner)).row
        if row.state not in ENDED and row.media_name is None and row.identity is None:
            raise Problem("job_not_done", f"the video of job {job_id} is not there yet")
        if row.source_kind == "path":
            await self._backend.file(check_same, row.source, self._settings.media_roots, row.identity)
            return Path(row.source)
        try:
            if row.media_name is not None:
                return await self._backend.file(self._backend.files.local_media, row.media_name)
        except FileNotFoundError:
            logger.warning("the video of job %s is not in the store", job_id)
        raise Problem("media_gone", f"the video of job {job_id} is not kept any more (setting store.media_kept_days)")

    async def counts(self) -> dict[str, int]:
        """See `Jobs.counts`."""
        return await self._backend.db(self._backend.store.counts)

    async def _found(self, job_id: str, owner: str) -> Found:
        found = await self._backend.db(self._backend.store.get, job_id, owner)
        if found is None:
            raise Problem("not_found", f"there is no job {job_id}")
        return found

    async def _with_report(self, job_id: str, owner: str) -> tuple[JobRow, VideoReport]:
        row = (await self._found(job_id, owner)).row
        if row.state not in ENDED:
            raise Problem("job_not_done", f"job {job_id} is {row.state}; its events say when it is done")
        if row.report_name is None:
            raise Problem("job_ended", f"job {job_id} is {row.state} and has no report; submit the video again")
        try:
            report = await self._backend.file(self._backend.files.read_report, row.report_name)
        except FileNotFoundError:
            raise Problem("not_found", f"the report of job {job_id} is not in the store any more") from None
        except (OSError, EOFError, ValueError) as error:
            logger.warning("the report of job %s cannot be read: %r", job_id, error)
            detail = f"the report of job {job_id} is damaged or of another version; submit the video again"
            raise Problem("internal", detail) from error
        # Jobs of the same content share a report, under the name that each gave the video.
        video = report.video.model_copy(update={"source": row.source})
        return row, report.model_copy(update={"video": video})

    # --- listening ---

    async def events(self, job_id: str, owner: str, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        """See `Jobs.events`."""
        backend, step, read = self._backend, 0, -1
        report: VideoReport | None = None
        after = max(0, min(after, EVENT_ID_MAX))
        await self._found(job_id, owner)
        with backend.feeds.open(job_id) as feed:
            while not feed.closed:
                changed, kept = feed.changed, feed.kept
                if kept != read:
                    rows, ended = await backend.db(backend.store.events, job_id, after, EVENTS_AT_ONCE)
                    for row in rows:
                        event, report = await self._event(row, owner, report)
                        if event is not None:
                            yield event
                        after = row.id
                        if row.type == "done":
                            return
                    if len(rows) == EVENTS_AT_ONCE:
                        continue
                    if ended and not rows:
                        return
                    read = kept
                data, step = feed.moved(step)
                if data:
                    yield JobEvent("progress", data)
                await changed.wait()

    async def _event(
        self, row: EventRow, owner: str, report: VideoReport | None
    ) -> tuple[JobEvent | None, VideoReport | None]:
        """A kept event with its data, None if that is deleted; and the report if that had to be read."""
        data: BaseModel | None
        try:
            if row.type in ("job", "done"):
                data = as_it_was(await self.get(row.job_id, owner), row.what)
            else:
                data = await self._backend.db(self._backend.store.result, row.job_id, row.what)
            if data is None:
                report = report or await self.report(row.job_id, owner)
                data = report.analyzers.get(row.what)
        except Problem:
            data = None
        return None if data is None else JobEvent(row.type, data.model_dump(mode="json"), row.id), report

    async def wait(self, job_id: str, owner: str) -> Job:
        """See `Jobs.wait`; raises `Problem` stopping if the service ends before the job."""
        with self._backend.feeds.open(job_id) as feed:
            read = -1
            while not feed.closed:
                changed, kept = feed.changed, feed.kept
                if kept != read:
                    job, read = await self.get(job_id, owner), kept
                    if job.state in ENDED:
                        return job
                await changed.wait()
        raise Problem("stopping", f"the service is being stopped; job {job_id} goes on when it is started again")

    # --- ending ---

    async def cancel(self, job_id: str, owner: str, *, keep: bool = False) -> Job | None:
        """See `Jobs.cancel`. A job that ends in the moment in which it is cancelled stays, as it has ended."""
        return await self._whole(self._cancel(job_id, owner, keep))

    async def _cancel(self, job_id: str, owner: str, keep: bool) -> Job | None:
        backend = self._backend
        was_ended = (await self._found(job_id, owner)).row.state in ENDED
        async with self._turn:
            won = not was_ended and await backend.db(backend.store.end, job_id, Ending("cancelled"))
            task = self._tasks.get(job_id)
        if task is not None:
            if won:
                task.cancel()
            await asyncio.wait([task])
        if was_ended and not keep:
            await backend.delete(job_id)
            return None
        if won:
            await backend.free(job_id)
            await backend.discard(job_id)
            self._wake.set()
        return await self.get(job_id, owner)


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
