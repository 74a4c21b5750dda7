"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import ExitStack, aclosing, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, cast, get_args

import httpx
from pydantic import BaseModel, RootModel, ValidationError

from pipeline.errors import MediaMissing, ReelscopeError, UsageError
from pipeline.results import VideoReport
from serve_app.client import operations
from serve_app.client.connection import BACKOFF_S, Connection, ConnectionLost, ServerMissing, job_problem
from serve_app.client.event_stream import Message, messages
from serve_app.client.operations import ModelT, Operation
from serve_app.schemas import ENDED, AnalyzeRequest, EventType, Health, Job, JobEvent, JobList, RerunRequest

OnUpload = Callable[[int, int], None]
"""Is told the bytes that were sent and the bytes in all."""

DEFAULT_URL: Final = "http://127.0.0.1:8003"
# Must exceed the server's serve.heartbeat_s, or the stream of a quiet job is taken for a dead one and opened again.
EVENTS_SILENT_S: Final = 60.0
PAGE: Final = 50
"""Jobs asked for at once."""
PIECE: Final = 1 << 20
"""Bytes of a download that are written at once."""


class AsyncClient:
    """A client for asyncio. Use it with `async with`, or close it.

    Args:
        url: of the server.
        api_key: where the server wants one.
        timeout_s: for connecting, and for the longest pause within an answer.
        retry_s: how long a full server, or one to which a connection broke, is asked again before that is an error.

    Raises:
        UsageError: `url` is none.
    """

    def __init__(
        self, url: str = DEFAULT_URL, api_key: str | None = None, timeout_s: float = 30.0, retry_s: float = 60.0
    ) -> None:
        self._connection = Connection(url, api_key, timeout_s, retry_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def health(self) -> Health:
        """How the server is, and what its analyzers can answer."""
        return await self._connection.get(operations.HEALTH)

    async def analyze(
        self,
        source: str | Path | None = None,
        analyzers: Sequence[str] | None = None,
        *,
        server_path: str | None = None,
        on_upload: OnUpload | None = None,
    ) -> VideoReport:
        """The whole report of one video. Arguments as of `submit`, errors as of `stream`."""
        report: VideoReport | None = None
        async with aclosing(self.stream(source, analyzers, server_path=server_path, on_upload=on_upload)) as events:
            async for event in events:
                if isinstance(event, VideoReport):
                    report = event
        assert report is not None
        return report

    async def stream(
        self,
        source: str | Path | None = None,
        analyzers: Sequence[str] | None = None,
        *,
        server_path: str | None = None,
        on_upload: OnUpload | None = None,
    ) -> AsyncGenerator[JobEvent | VideoReport, None]:
        """Submit a job; its events as they come, and last the `VideoReport`. Arguments and errors as of `submit`.

        Leaving it before the end cancels the job.

        Raises:
            Problem: the video cannot be analyzed: why is the job's error; job_ended if somebody has cancelled it.
        """
        job = await self.submit(source, analyzers, server_path=server_path, on_upload=on_upload)
        try:
            async with aclosing(self.events(job.id)) as events:
                async for event in events:
                    if event.type == "done":
                        job = self.parse(Job, event.data)
                    yield event
            if job.state != "done":
                raise job_problem(job)
            yield await self.result(job.id)
        except (GeneratorExit, asyncio.CancelledError):
            if job.state not in ENDED:
                with suppress(ReelscopeError):  # the caller wants to know why it was left, not this
                    await self.cancel(job.id)
            raise

    async def submit(
        self,
        source: str | Path | None = None,
        analyzers: Sequence[str] | None = None,
        *,
        server_path: str | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        on_upload: OnUpload | None = None,
    ) -> Job:
        """Have a video analyzed. Returns as soon as the server has taken the job on.

        Args:
            source: a file here, which is uploaded piece by piece, or the https URL of a post.
            analyzers: names; None is all. What they depend on runs too.
            server_path: instead of `source`: a file on the server, below one of its media roots.
            webhook_url: is told when the job has ended.
            idempotency_key: the same key again answers the same job. None makes one for this call, so that asking
                again after a broken connection never makes two jobs.
            on_upload: is called while a file is uploaded.

        Raises:
            MediaMissing: there is no such file here.
            UsageError: not exactly one of `source` and `server_path`.
        """
        if (source is None) == (server_path is None):
            raise UsageError("give exactly one of source and server_path")
        request: dict[str, Any] = {"headers": {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}}
        with ExitStack() as stack:
            if source is None or is_url(source):
                url = None if source is None else str(source)
                what = {"video_path": server_path, "tiktok_url": url, "webhook_url": webhook_url}
                request["json"] = _body(AnalyzeRequest, analyzers=analyzers, **what)
            else:
                file = stack.enter_context(_opened(source))
                wanted = {"analyzers": ",".join(analyzers)} if analyzers is not None else {}
                request["data"] = wanted | ({"webhook_url": webhook_url} if webhook_url else {})
                request["files"] = {"file": (os.path.basename(file.name), _Upload(file, on_upload))}
            return await self._connection.get(operations.SUBMIT, **request)

    async def job(self, job_id: str) -> Job:
        """How a job is."""
        return await self._connection.get(operations.JOB, {"job_id": job_id})

    async def jobs(self) -> AsyncGenerator[Job, None]:
        """All jobs, newest first. They are asked for page by page."""
        page = JobList(jobs=[], next="")
        while page.next is not None:
            params = {"limit": PAGE, **({"before": page.next} if page.next else {})}
            page = await self._connection.get(operations.JOBS, params=params)
            for job in page.jobs:
                yield job

    async def events(self, job_id: str, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        """What has happened to a job since the event with the id `after`, and what happens, up to ``done``.

        A stream that breaks is opened again and goes on where it broke, until the server has been away for `retry_s`.
        Types of events that this version does not know are left out.
        """
        last, breaks = after, _Breaks(self._connection.retry_s)
        silent_s = max(self._connection.timeout_s, EVENTS_SILENT_S)
        timeout = httpx.Timeout(self._connection.timeout_s, read=silent_s)
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(last)} if last else {})
            try:
                async with self._connection.open(
                    operations.EVENTS, {"job_id": job_id}, headers=headers, timeout=timeout
                ) as response:
                    breaks.opened()
                    async with aclosing(messages(response.aiter_bytes())) as stream:
                        async for message in stream:
                            event = self._event(message)
                            if event is None or (event.id is not None and event.id <= last):
                                continue
                            if event.id is not None:
                                last = event.id
                                breaks.mended()
                            yield event
                            if event.type == "done":
                                return
                lost: ReelscopeError = ConnectionLost(f"the server ended the events of job {job_id} before the job")
            except (ServerMissing, ConnectionLost) as error:
                lost = error
            await breaks.pause(lost)

    async def wait(self, job_id: str) -> Job:
        """The job when it has ended, in whatever way."""
        job = await self.job(job_id)
        if job.state in ENDED:
            return job
        async with aclosing(self.events(job_id)) as events:
            async for event in events:
                if event.type == "done":
                    job = self.parse(Job, event.data)
        return job

    async def result(self, job_id: str) -> VideoReport:
        """The report of a job that is done."""
        return await self._connection.get(operations.REPORT, {"job_id": job_id})

    async def export(self, job_id: str, format: str, path: str | Path) -> Path:
        """Write the result in another format (html, srt, vtt, csv, ...) into a file. Returns its path."""
        return await self._download(operations.EXPORT, job_id, Path(path), params={"format": format})

    async def media(self, job_id: str, path: str | Path) -> Path:
        """Write the video into a file, as long as the server keeps it. Returns its path."""
        return await self._download(operations.MEDIA, job_id, Path(path))

    async def cancel(self, job_id: str) -> Job:
        """Stop a job that waits or runs, and free what it holds; one that has ended stays as it is."""
        return await self._connection.get(operations.END, {"job_id": job_id}, params={"keep": True})

    async def delete(self, job_id: str) -> None:
        """Stop a job if it runs, and delete it with its report and video."""
        while await self._connection.ask(operations.END, {"job_id": job_id}) is not None:
            continue  # it was cancelled and is still there

    async def rerun(self, job_id: str, analyzers: Sequence[str]) -> Job:
        """A new job that runs these analyzers anew and takes all others from the job's report."""
        body = _body(RerunRequest, analyzers=analyzers)
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return await self._connection.get(operations.RERUN, {"job_id": job_id}, json=body, headers=headers)

    def parse(self, model: type[ModelT], data: Mapping[str, Any]) -> ModelT:
        """The data of an event as `Job` or `AnalyzerResult`, without fields that only a newer server knows."""
        return self._connection.read(model, data)

    def _event(self, message: Message) -> JobEvent | None:
        if message.type not in get_args(EventType):
            return None
        ident = int(message.id) if message.id and message.id.isdecimal() else None
        data = self._connection.read(_Data, message.data.encode()).root
        return JobEvent(cast(EventType, message.type), data, ident)

    async def _download(self, operation: Operation, job_id: str, path: Path, **request: Any) -> Path:
        part = path.with_name(path.name + ".part")
        try:
            async with self._connection.open(operation, {"job_id": job_id}, **request) as response:
                with part.open("wb") as file:
                    async for piece in response.aiter_bytes(PIECE):
                        file.write(piece)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        return path


class _Breaks:
    """How long a stream that breaks is opened again: until it has not lived for `retry_s`.

    It lives when it brings something new, or stays open for a while with nothing to tell.
    """

    def __init__(self, retry_s: float) -> None:
        self._retry_s, self._pause_s = retry_s, BACKOFF_S[0]
        self._opened_at: float | None = None
        self._lived_at: float | None = None

    def opened(self) -> None:
        self._opened_at = time.monotonic()
        self._lived_at = self._lived_at or self._opened_at

    def mended(self) -> None:
        self._lived_at, self._pause_s = time.monotonic(), BACKOFF_S[0]

    async def pause(self, error: ReelscopeError) -> None:
        """Wait before the next attempt. Raises the error when there was never a stream, or none for too long."""
        now = time.monotonic()
        if self._opened_at is not None and now - self._opened_at > BACKOFF_S[1]:
            self.mended()
        self._opened_at = None
        if self._lived_at is None or now - self._lived_at > self._retry_s:
            raise error
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, BACKOFF_S[1])


class _Data(RootModel[dict[str, Any]]):
    """What an event carries."""


class _Upload:
    """A file as httpx reads it, piece by piece and from its start again for another attempt; tells how far it is."""

    def __init__(self, file: BinaryIO, tell: OnUpload | None) -> None:
        self._file, self._tell, self._total = file, tell, os.fstat(file.fileno()).st_size
        self.fileno, self.seek = file.fileno, file.seek

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        if self._tell is not None and piece:
            self._tell(self._file.tell(), self._total)
        return piece


def is_url(source: str | Path) -> bool:
    """Whether a source is a post and not a file.

    Raises:
        UsageError: it is a URL of another kind than https.
    """
    if isinstance(source, Path) or "://" not in source:
        return False
    if not source.lower().startswith("https://"):
        raise UsageError(f"{source} is no https URL")
    return True


def _opened(source: str | Path) -> BinaryIO:
    try:
        return Path(source).expanduser().open("rb")
    except OSError as error:
        raise MediaMissing(f"{source} cannot be read: {error.strerror or error}") from None


def _body(model: type[BaseModel], **fields: Any) -> dict[str, Any]:
    try:
        return model(**fields).model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
