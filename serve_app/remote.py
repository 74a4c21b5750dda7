"""What the command line does when the video is a post, or when a server does the work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from pipeline.engine import Event, Progress
from pipeline.errors import UsageError
from pipeline.results import AnalyzerResult, VideoReport
from pipeline.service_settings import FetchSettings
from serve_app.client import AsyncClient
from serve_app.exports import export, export_named
from serve_app.fetch import Fetcher
from serve_app.problems import Problem
from serve_app.progress import analysis_progress, transfer_progress
from serve_app.schemas import Job, JobEvent

T = TypeVar("T")
KEY_VARIABLE: Final = "REELSCOPE_API_KEY"
WRONG_USAGE: Final = frozenset(
    {
        "invalid_request",
        "unknown_analyzer",
        "bad_header",
        "unauthorized",
        "not_found",
        "not_acceptable",
        "url_not_allowed",
        "job_not_done",
    }
)
"""Problems that another command line would not have had; all others are of the video or the server."""


async def fetch_here(settings: FetchSettings, url: str, folder: Path) -> Path:
    """A post's video as a file in a folder.

    Raises:
        UsageError: the URL is not one of a post host, or a setting cannot work.
        Problem: it cannot be fetched.
    """
    try:
        with transfer_progress("fetching") as show:
            fetched = await Fetcher(settings).fetch(url, folder, lambda done, total: show("the post", done, total or 0))
    except Problem as problem:
        raise _of_usage(problem) from None
    return fetched.path


def analyze_there(
    server: str, key_file: Path | None, source: str, analyzers: list[str] | None, media_folder: Path | None
) -> tuple[VideoReport, Path | None]:
    """Have a server analyze a file that is here, or a post; shows what it is doing. Ctrl-C cancels the job.

    Args:
        server: its URL.
        key_file: holds the API key; None takes it from `KEY_VARIABLE`, if it is there.
        source: path or https URL.
        analyzers: names; None is all.
        media_folder: where a post's video is brought to; None does without.

    Returns:
        The report, and the file of a post's video if it was asked for and the server keeps it.

    Raises:
        UsageError: nothing answers at `server`, or the server refuses what was asked.
        Problem: the video cannot be analyzed.
    """
    return at_server(server, key_file, lambda client: _analyze(client, source, analyzers, media_folder))


def at_server(server: str, key_file: Path | None, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
    """Do something with a client of a server. Arguments and errors as of `analyze_there`."""

    async def run() -> T:
        async with AsyncClient(server, _key(key_file)) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except Problem as problem:
        raise _of_usage(problem) from None


async def list_jobs(client: AsyncClient) -> None:
    """Print the jobs as a table, newest first."""
    table = Table(Column("id", no_wrap=True, min_width=36), "state", "created", Column("source", overflow="fold"))
    async with aclosing(client.jobs()) as jobs:
        async for job in jobs:
            created = job.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            table.add_row(job.id, job.state, created, Text(job.source))
    Console().print(table)


async def write_result(client: AsyncClient, job_id: str, name: str, target: Path | None) -> Path:
    """Write the result of a job in one format into a file, by default ID with the format's suffix."""
    chosen = export_named(name)
    target = target or Path(f"{job_id}{chosen.suffix}")
    try:
        if name == "json":
            return export(await client.result(job_id), name, target)
        return await client.export(job_id, name, target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from None


async def _analyze(
    client: AsyncClient, source: str, analyzers: list[str] | None, media_folder: Path | None
) -> tuple[VideoReport, Path | None]:
    with _Display(client, Path(source).name) as display:
        async with aclosing(client.stream(source, analyzers, on_upload=display.uploaded)) as events:
            async for event in events:
                if isinstance(event, VideoReport):
                    report = event
                else:
                    display.show(event)
    if media_folder is None or display.job is None or "://" not in source:
        return report, None
    try:
        return report, await client.media(display.job.id, media_folder / "post.mp4")
    except Problem as problem:
        if problem.code != "media_gone":
            raise
        return report, None  # the page will say that the video was not there


class _Display:
    """Shows a job as a local analysis is shown, after how it got to the server.

    Attributes:
        job: as it was told last.
    """

    def __init__(self, client: AsyncClient, name: str) -> None:
        self.job: Job | None = None
        self._client, self._name = client, name
        self._bars = ExitStack()
        self._transfer: tuple[str, Callable[[str, int, int], None]] | None = None
        self._analysis: Callable[[Event], None] | None = None
        self._told = ""

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.close()

    def uploaded(self, sent: int, total: int) -> None:
        self._transferred("uploading", self._name, sent, total)

    def show(self, event: JobEvent) -> None:
        if event.type == "job":
            self.job = job = self._client.parse(Job, event.data)
            if job.state == "queued" and job.position:
                self._tell(f"waiting, {job.position} before it")
            if self._analysis is None and job.state == "running" and job.video is not None and job.analyzers:
                self._bars.close()
                self._analysis = self._bars.enter_context(analysis_progress(job.video, list(job.analyzers)))
        elif event.type == "progress" and event.data.get("fetched_bytes") is not None and self._analysis is None:
            self._transferred("fetching", "the post", event.data["fetched_bytes"], event.data.get("fetch_bytes") or 0)
        elif self._analysis is not None and event.type == "progress":
            for name, at in event.data.get("analyzers", {}).items():
                self._analysis(Progress(name, at["done_s"], at["total_s"]))
        elif self._analysis is not None and event.type != "done":
            self._analysis(self._client.parse(AnalyzerResult, event.data))

    def _transferred(self, verb: str, name: str, done: int, total: int) -> None:
        if self._transfer is None or self._transfer[0] != verb:
            self._bars.close()
            self._transfer = verb, self._bars.enter_context(transfer_progress(verb))
        self._transfer[1](name, done, total)

    def _tell(self, line: str) -> None:
        if line != self._told:
            self._bars.close()
            self._told = line
            Console(stderr=True).print(line, markup=False, soft_wrap=True)


def _key(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        return file.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"no API key can be read from {file}: {error}") from None


def _of_usage(problem: Problem) -> Exception:
    return UsageError(problem.detail) if problem.code in WRONG_USAGE else problem
