"""The client for synchronous code: `AsyncClient` on an event loop in a thread of its own.

So it also works where a loop is running already, as in a notebook. Ctrl-C ends the call as it would end a task.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from pipeline.errors import UsageError
from serve_app.client.asynchronous import DEFAULT_URL, AsyncClient
from serve_app.client.operations import ModelT

P = ParamSpec("P")
T = TypeVar("T")
END: Final = object()
# Lower: the process ends before a slow server has heard of the cancellation. Higher: Ctrl-C seems to do nothing.
CANCEL_S_MAX: Final = 5.0


def _call(method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Client, P], T]:
    @wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self._client, *args, **kwargs))

    return call


def _iterate(
    method: Callable[Concatenate[AsyncClient, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Client, P], Generator[T, None, None]]:
    @wraps(method)
    def iterate(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        items = method(self._client, *args, **kwargs)

        async def following() -> Any:
            return await anext(items, END)

        self._open.add(items)
        try:
            while (item := self._run(following())) is not END:
                yield item
        finally:
            self._leave(items)

    return iterate


class Client:
    """The same as `AsyncClient`, with plain calls and iterators. Use it with `with`, or close it.

    One client may be used by several threads. Arguments and errors as of `AsyncClient`.
    """

    def __init__(
        self, url: str = DEFAULT_URL, api_key: str | None = None, timeout_s: float = 30.0, retry_s: float = 60.0
    ) -> None:
        self._client = AsyncClient(url, api_key, timeout_s, retry_s)
        self._open: set[AsyncGenerator[Any, None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reelscope-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave what is still being iterated over, and close all connections. A second time does nothing."""
        if not self._loop.is_closed():
            for items in tuple(self._open):
                self._leave(items)
            self._run(self._client.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    health = _call(AsyncClient.health)
    analyze = _call(AsyncClient.analyze)
    stream = _iterate(AsyncClient.stream)
    submit = _call(AsyncClient.submit)
    job = _call(AsyncClient.job)
    jobs = _iterate(AsyncClient.jobs)
    events = _iterate(AsyncClient.events)
    wait = _call(AsyncClient.wait)
    result = _call(AsyncClient.result)
    export = _call(AsyncClient.export)
    media = _call(AsyncClient.media)
    cancel = _call(AsyncClient.cancel)
    delete = _call(AsyncClient.delete)
    rerun = _call(AsyncClient.rerun)

    def parse(self, model: type[ModelT], data: Mapping[str, Any]) -> ModelT:
        """As of `AsyncClient`."""
        return self._client.parse(model, data)

    def _leave(self, items: AsyncGenerator[Any, None]) -> None:
        if items in self._open:
            self._open.remove(items)
            self._run(items.aclose())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise UsageError("this client is closed; make another")
        over = threading.Event()

        async def tracked() -> T:
            try:
                return await work
            finally:
                over.set()

        future = asyncio.run_coroutine_threadsafe(tracked(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            over.wait(CANCEL_S_MAX)  # an interrupted analysis has a job to cancel
            raise
