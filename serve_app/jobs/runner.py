"""One job on its way: fetch the post, probe the file, analyze it, write the report."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from pipeline.engine import Progress
from pipeline.errors import MediaError
from pipeline.results import AnalyzerResult, VideoFacts, VideoReport
from serve_app.jobs.answers import key_of, still_good, without_failures
from serve_app.jobs.backend import Backend, problem_for
from serve_app.jobs.events import Feed
from serve_app.jobs.files import media_name, report_name, suffix_of
from serve_app.jobs.interface import Analysis
from serve_app.jobs.rows import dump
from serve_app.jobs.sources import check_same, checked
from serve_app.jobs.store import Ending
from serve_app.jobs.tables import JobRow
from serve_app.problems import Problem

logger = logging.getLogger(__name__)

# Lower: a database that is away is asked all the time. Higher: a job hangs on after it is back.
RETRY_S: Final = 2.0


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


class NotRunning(Exception):
    """The job was cancelled meanwhile: there is nothing more to do for it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known of a job before it is analyzed.

    Args:
        facts: of the file, whose `source` is where it lies here.
        key: what the report will be an answer to.
        names: all analyzers that run.
        given: results that are taken over.
        identity: of a server-side file, from before it was probed.
    """

    facts: VideoFacts
    key: str
    names: tuple[str, ...]
    given: dict[str, AnalyzerResult]
    identity: str | None


class Runner:
    """Brings jobs that were begun to their end. Cancelling a call leaves the job as it is in the store."""

    def __init__(self, backend: Backend, analysis: Analysis, fetcher: Fetcher) -> None:
        self._backend, self._analysis, self._fetcher = backend, analysis, fetcher
        self._settings = backend.settings

    async def fetch(self, row: JobRow) -> None:
        """Bring a post's video into the spool; then the job waits for the analyzers."""
        backend, files = self._backend, self._backend.files
        with backend.feeds.open(row.id) as feed:
            try:
                await backend.file(files.drop_spool, row.id)  # of an attempt that was interrupted
                fetched = await self._fetcher.fetch(row.source, files.spool_of(row.id), feed.fetching)
                suffix = suffix_of(fetched.path.name)
                await backend.file(files.take, fetched.path, row.id, suffix)
                size = (await backend.file(files.spooled(row.id, suffix).stat)).st_size
                if await backend.db(backend.store.fetched, row.id, suffix, size):
                    backend.feeds.told(row.id)
            except Exception as error:
                await self._settle(row, Ending("failed", problem_for(error, row)))

    async def analyze(self, row: JobRow) -> None:
        """Bring a job with a file to its end."""
        with self._backend.feeds.open(row.id) as feed:
            try:
                ending = await self._analyze(row, feed)
            except NotRunning:
                return
            except Exception as error:
                ending = Ending("failed", problem_for(error, row))
            if ending is not None:
                await self._settle(row, ending)
            else:
                await self._backend.free(row.id)

    async def _settle(self, row: JobRow, ending: Ending) -> None:
        """End the job as soon as the database takes it."""
        backend = self._backend
        while True:
            try:
                ended = await backend.db(backend.store.end, row.id, ending)
                break
            except SQLAlchemyError as error:
                logger.warning("job %s has ended, but the database does not take it: %s", row.id, error)
                await asyncio.sleep(RETRY_S)
        if ended:
            await backend.free(row.id)
        elif ending.report_name is not None:
            await backend.file(backend.files.drop, "reports", ending.report_name)

    async def _analyze(self, row: JobRow, feed: Feed) -> Ending | None:
        """How the job ends; None: it has ended with an earlier report."""
        backend = self._backend
        prepared = await self._prepare(row)
        if row.based_on is None and await self._answered(row, prepared):
            return None
        await backend.db(backend.store.charge, row.id, prepared.facts.duration_s)
        if not await backend.db(backend.store.begin_run, row.id, prepared.names):
            raise NotRunning
        backend.feeds.told(row.id)
        report = await self._stream(row, prepared, feed)
        if _is_path(row):  # otherwise what was decoded may be another file than what was probed
            await backend.file(check_same, row.source, self._settings.media_roots, prepared.identity)
        report = report.model_copy(update={"video": _named(report.video, row)})
        name = report_name(row.id)
        await backend.file(backend.files.write_report, name, report)
        # A rerun under other settings than its base's is nobody else's answer.
        whole = row.based_on is None or row.asked_key == prepared.key
        answers = whole and without_failures(report.analyzers)
        return Ending("done", None, report, name, prepared.key if answers else None)

    # --- before ---

    async def _prepare(self, row: JobRow) -> Prepared:
        """Find the file, know what it is, and keep it."""
        backend, graph = self._backend, self._analysis.graph
        path = await self._file_of(row)
        identity = await backend.file(checked, row.source, self._settings.media_roots) if _is_path(row) else None
        facts = await self._facts(row, path, identity)
        names = graph.closure(row.wanted).names
        key = key_of(facts.sha256, names, graph, self._settings)
        if row.based_on is None and row.asked_key not in (None, key):  # an attempt on other content or settings
            await backend.db(backend.store.forget_results, row.id)
        stored = await backend.db(backend.store.ok_results, row.id)
        known = {"video": dump(_named(facts, row)), "identity": identity}
        if row.based_on is None:
            known["asked_key"] = key
        if not await backend.db(backend.store.update, row.id, **known):
            raise NotRunning
        if not _is_path(row):
            path = await self._kept(row, path, facts.sha256)
        here = facts.model_copy(update={"source": str(path)})
        return Prepared(here, key, names, still_good(stored, names, graph), identity)

    async def _file_of(self, row: JobRow) -> Path:
        """Where the job's file lies here."""
        backend = self._backend
        if _is_path(row):
            return Path(row.source)
        spooled = backend.files.spooled(row.id, row.suffix)
        if await backend.file(spooled.is_file):
            return spooled
        if row.media_name is None:
            raise Problem("media_gone", "the video is not in the service's spool folder any more; submit it again")
        try:
            return await backend.file(backend.files.local_media, row.media_name)
        except FileNotFoundError:
            raise Problem("media_gone", "the video is not in the store any more; submit it again") from None

    async def _facts(self, row: JobRow, path: Path, identity: str | None) -> VideoFacts:
        """What the file is; probed only if that is not known of this very file."""
        if row.video is not None and row.identity == identity:
            return VideoFacts.model_validate(row.video)
        if row.based_on is not None:
            raise Problem("media_gone", f"the file {path.name} is not the one that was submitted any more")
        try:
            return await self._analysis.probe(path)
        except MediaError as error:
            problem = problem_for(error, row)
            shown = Path(row.source).name if row.source_kind != "url" else row.source
            raise Problem(problem.code, problem.detail.replace(str(path), shown).replace(path.name, shown)) from error

    async def _kept(self, row: JobRow, path: Path, sha256: str) -> Path:
        backend = self._backend
        if path != backend.files.spooled(row.id, row.suffix):
            return path
        kept = await backend.keep_media(row.id, path, media_name(sha256, row.suffix))
        if kept is None:
            raise NotRunning
        return kept

    async def _answered(self, row: JobRow, prepared: Prepared) -> bool:
        """End the job with an earlier report, if there is one of the same content and configuration."""
        backend = self._backend
        answer = await backend.db(backend.store.answer, prepared.key)
        if answer is None or answer.report_name is None:
            return False
        try:
            report = await backend.file(backend.files.read_report, answer.report_name)
        except (OSError, EOFError, ValueError) as error:
            logger.warning("the report of job %s cannot be read, %s is analyzed anew: %s", answer.id, row.id, error)
            return False
        report = report.model_copy(update={"video": _named(report.video, row)})
        return await backend.db(backend.store.end_from, row.id, answer, report)

    # --- the run ---

    async def _stream(self, row: JobRow, prepared: Prepared, feed: Feed) -> VideoReport:
        """Analyze; every result is stored as soon as it is there."""
        backend = self._backend
        report: VideoReport | None = None
        async with aclosing(self._analysis.stream(prepared.facts, row.wanted, prepared.given)) as events:
            async for event in events:
                if isinstance(event, Progress):
                    feed.progress(event)
                elif isinstance(event, AnalyzerResult):
                    feed.ended(event.name)
                    if not await backend.db(backend.store.add_result, row.id, event):
                        raise NotRunning
                    backend.feeds.told(row.id)
                else:
                    report = event
        if report is None:
            raise RuntimeError(f"the analysis of job {row.id} ended without a report")
        return report


def _is_path(row: JobRow) -> bool:
    return row.source_kind == "path"


def _named(facts: VideoFacts, row: JobRow) -> VideoFacts:
    """The facts under the name that the caller gave the video."""
    return facts.model_copy(update={"source": row.source})
