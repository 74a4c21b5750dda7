"""What all parts of the job service stand on: the database and its thread, the files, and the feeds."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

from pipeline.errors import ReelscopeError
from pipeline.settings import Settings
from serve_app.jobs.events import Feeds
from serve_app.jobs.files import Files, Kind, report_name
from serve_app.jobs.intake import Intake
from serve_app.jobs.present import as_job
from serve_app.jobs.rows import Found
from serve_app.jobs.store import Store
from serve_app.jobs.tables import JobRow, open_database
from serve_app.jobs.upkeep import Freed, Upkeep
from serve_app.problems import Problem, problem_of
from serve_app.schemas import Job

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)

FILE_THREADS: Final = 4
_FULL: Final = ("disk is full", "No space left on device")
"""What SQLite and PostgreSQL say."""


class Backend:
    """Calls what blocks in threads: the database in one, so that its transactions never wait for each other.

    Attributes:
        feeds: of jobs that are worked on or listened to.
        outbox: set when a webhook is to be sent.
    """

    intake: Intake
    store: Store
    upkeep: Upkeep
    files: Files

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.feeds = Feeds()
        self.outbox = asyncio.Event()
        self._database_thread = ThreadPoolExecutor(1, thread_name_prefix="jobs-database")
        self._file_threads = ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="jobs-files")
        self._media = asyncio.Lock()
        self._close_database: Callable[[], None] | None = None
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether the database can be asked."""
        return self._close_database is not None

    async def open(self) -> None:
        """Open the database and the folders. Raises `PlanError`."""
        self.files = await self.file(Files, self.settings)
        engine = await self.db(open_database, self.settings.store.database_url, self.settings.data_dir)
        self.intake = Intake(engine, self.settings.serve)
        self.store = Store(engine, self.settings.serve.attempts_max)
        self.upkeep = Upkeep(engine)
        self._close_database = engine.dispose

    async def close(self) -> None:
        """Let calls end that are under way, and close the database."""
        self._closed = True
        await asyncio.to_thread(self._file_threads.shutdown)
        await asyncio.to_thread(self._database_thread.shutdown)
        if self._close_database is not None:
            self._close_database()
            self._close_database = None

    async def db(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the store in the database's thread. Raises `Problem` stopping after `close`."""
        if self._closed:
            raise Problem("stopping", "the service is being stopped; try again later")
        return await _in(self._database_thread, partial(call, *args, **kwargs))

    async def file(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what reads or writes files in a thread."""
        return await _in(self._file_threads, partial(call, *args, **kwargs))

    def job(self, found: Found) -> Job:
        """What callers are shown."""
        return as_job(found, self.feeds.get(found.row.id))

    # --- media, which jobs share ---

    async def keep_media(self, job_id: str, source: Path, name: str) -> Path | None:
        """Put a running job's file into the store. Answers where to read it; None: the job does not run any more."""
        async with self._media:  # nobody deletes the file between counting who refers to it and doing so
            if not await self.db(self.store.update, job_id, media_name=name):
                return None
        return await self.file(self.files.keep, source, name)

    async def drop_media(self, job_id: str) -> None:
        """An ended job gives up its video."""
        async with self._media:
            await self._drop(await self.db(self.upkeep.drop_media, job_id))

    async def discard(self, job_id: str) -> None:
        """A cancelled job keeps neither its video nor a report that was just written."""
        await self.drop_media(job_id)
        await self.file(self.files.drop, "reports", report_name(job_id))

    async def delete(self, job_id: str) -> None:
        """Delete an ended job, and the files that nobody else refers to."""
        async with self._media:
            await self._drop(await self.db(self.upkeep.delete, job_id))

    async def _drop(self, freed: Freed) -> None:
        if freed.media is not None:
            await self.file(self.files.drop, "media", freed.media)
        if freed.report is not None:
            await self.file(self.files.drop, "reports", freed.report)

    async def sweep_files(self) -> None:
        """Delete files to which no job refers."""
        used = await self.db(self.upkeep.references)
        await self._drop_orphans("media", used.media)
        await self._drop_orphans("reports", used.reports)
        await self.file(self.files.sweep_copies, used.open_media)
        await self.file(self.files.sweep_spool, used.open_jobs)

    async def _drop_orphans(self, kind: Kind, used: Collection[str]) -> None:
        for name in await self.file(self.files.orphans, kind, used):
            async with self._media:  # a job may have come to refer to it while the store was listed
                if not await self.db(self.upkeep.is_used, name):
                    logger.info("deleting %s of %s, to which no job refers", name, kind)
                    await self.file(self.files.drop, kind, name)

    async def free(self, job_id: str) -> None:
        """Delete what an ended job needed only while it ran, and tell those who wait for its end."""
        self.feeds.told(job_id)
        self.outbox.set()
        await self.file(self.files.drop_spool, job_id)
        found = await self.db(self.store.get, job_id)
        name = found.row.media_name if found is not None else None
        if name is not None and not await self.db(self.upkeep.media_in_use, name):
            await self.file(self.files.drop_copy, name)


async def _in(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    """Await a call in a thread. Who is cancelled meanwhile ends after the call, so that nothing goes on unseen."""
    future = asyncio.get_running_loop().run_in_executor(threads, call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


def problem_for(error: Exception, row: JobRow) -> Problem:
    """Why a job failed, as its owner is told; what nobody expected is logged."""
    if is_full(error):
        logger.warning("job %s failed: %s", row.id, error, extra={"request_id": row.request_id, "job_id": row.id})
        return storage_full()
    problem = problem_of(error)
    if not isinstance(error, ReelscopeError):
        extra = {"request_id": row.request_id, "job_id": row.id}
        logger.error("job %s (request %s) failed", row.id, row.request_id, exc_info=error, extra=extra)
    return problem


def is_full(error: Exception) -> bool:
    """Whether a disk had no room left: this machine's, or the database's."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, DBAPIError) and any(words in str(error.orig) for words in _FULL)


def storage_full() -> Problem:
    """The problem of a disk without room."""
    return Problem("storage_full", "there is no room left on the service's disk; its operator must make some")
