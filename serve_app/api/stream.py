"""Answers that go on while a job does: server-sent events (WHATWG HTML 9.2) and newline-delimited JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final

from fastapi import Response
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from serve_app.problems import Problem
from serve_app.schemas import JobEvent

EVENT_STREAM: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"
RETRY_MS: Final = 2000
"""How long a browser waits before it comes back."""
HEARTBEAT: Final = b": still here\n\n"
UNBUFFERED: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Proxies must pass on what there is."""
_LINE_ENDS: Final = {end.encode(): f"\\u{ord(end):04x}".encode() for end in "\x85\u2028\u2029"}

_unfinished: set[asyncio.Task[Any]] = set()


class LiveResponse(Response):
    """Sends frames as they come. Ends, and closes their source, when the caller leaves or the request is cancelled.

    Args:
        frames: what to send.
        media_type: of the whole.
        heartbeat: what is sent after every `heartbeat_s` of silence; None sends nothing.
        on_left: called when the caller left before the end.
        on_end: called in any case, last.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        media_type: str,
        *,
        headers: dict[str, str] | None = None,
        heartbeat: bytes | None = None,
        heartbeat_s: float = 15,
        on_left: Callable[[], Coroutine[Any, Any, None]] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers({**UNBUFFERED, **(headers or {})})
        self._frames = frames
        self._heartbeat, self._heartbeat_s = heartbeat, heartbeat_s
        self._on_left, self._on_end = on_left, on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI 3.0)."""
        leaving = asyncio.ensure_future(left(receive))
        coming: asyncio.Future[bytes | None] | None = None
        complete = False
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while not leaving.done():
                coming = coming or asyncio.ensure_future(_next(self._frames))
                either: set[asyncio.Future[Any]] = {coming, leaving}
                await asyncio.wait(either, timeout=self._silence_s, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    frame, coming = coming.result(), None
                    if frame is None:
                        complete = True
                        await send({"type": "http.response.body", "body": b"", "more_body": False})
                        return
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
                elif not leaving.done() and self._heartbeat is not None:
                    await send({"type": "http.response.body", "body": self._heartbeat, "more_body": True})
        finally:
            await in_any_case(self._end(leaving, coming, complete))

    @property
    def _silence_s(self) -> float | None:
        return None if self._heartbeat is None else self._heartbeat_s

    async def _end(
        self, leaving: asyncio.Future[None], coming: asyncio.Future[bytes | None] | None, complete: bool
    ) -> None:
        try:
            await put_away(leaving, *([coming] if coming is not None else []))
            await self._frames.aclose()
            if not complete and self._on_left is not None:
                await self._on_left()
        finally:
            if self._on_end is not None:
                self._on_end()


async def left(receive: Receive) -> None:
    """Return when the caller has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def in_any_case(work: Coroutine[Any, Any, None]) -> None:
    """Do this to its end even if the request is cancelled, once or again."""
    task = asyncio.ensure_future(work)
    _unfinished.add(task)  # the loop alone would let go of it
    task.add_done_callback(_unfinished.discard)
    await asyncio.shield(task)


async def put_away(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what has not ended and wait for it; nobody needs their results or errors any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _next(frames: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(frames, None)


async def sse_frames(events: AsyncGenerator[JobEvent, None]) -> AsyncGenerator[bytes, None]:
    """Events as a browser's EventSource reads them. A job that is deleted meanwhile ends them."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    async with aclosing(events):
        try:
            async for event in events:
                id_line = b"" if event.id is None else f"id: {event.id}\n".encode()
                yield id_line + f"event: {event.type}\ndata: ".encode() + _json(event.data) + b"\n\n"
        except Problem as problem:
            if problem.code != "not_found":
                raise


async def ndjson_frames(
    events: AsyncGenerator[JobEvent, None], ending: Callable[[], Awaitable[tuple[str, Any]]], timeout_s: float
) -> AsyncGenerator[bytes, None]:
    """Events as a line each, then a last line.

    Args:
        events: of a job.
        ending: gives type and data of the last line, once the job has ended or `timeout_s` are over.
        timeout_s: after that the events end, though the job goes on.
    """
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    async with aclosing(events):
        while True:
            try:
                async with asyncio.timeout_at(deadline_s):
                    event = await anext(events, None)
            except TimeoutError:
                break
            if event is None:
                break
            yield line({"type": event.type, "id": event.id, "data": event.data})
    kind, data = await ending()
    yield line({"type": kind, "data": data})


def line(value: Any) -> bytes:
    """One line of NDJSON."""
    return _json(value) + b"\n"


def _json(value: Any) -> bytes:
    """JSON in one line, also for readers that end lines where Unicode does (Python's `splitlines`)."""
    text = to_json(value, inf_nan_mode="null")
    for character, escaped in _LINE_ENDS.items():
        text = text.replace(character, escaped)
    return text
