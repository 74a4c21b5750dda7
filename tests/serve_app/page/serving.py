"""An application on a port of this machine, over a line that can be cut."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import uvicorn
from fastapi import FastAPI

START_S: Final = 30.0


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


class Serving:
    """Runs the application in a thread. Browsers reach it over a line of its own that `cut` and `mend` control."""

    def __init__(self, app: FastAPI) -> None:
        config = uvicorn.Config(app, port=0, log_level="warning", ws="none", timeout_graceful_shutdown=2)
        self._server = _Server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._server.serve(),))
        self._line: asyncio.Server | None = None
        self._calls: set[asyncio.StreamWriter] = set()
        self._port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._server.up.wait(START_S), "the application did not come up"
        self.mend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._server.should_exit = True
        self._thread.join(START_S)
        self._loop.close()

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(START_S)

    def mend(self) -> None:
        """Take connections again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._mend(), self._loop).result(START_S)

    async def _cut(self) -> None:
        assert self._line is not None
        self._line.close()
        for writer in list(self._calls):
            writer.transport.abort()

    async def _mend(self) -> None:
        self._line = await asyncio.start_server(self._forward, "127.0.0.1", self._port)
        self._port = self._line.sockets[0].getsockname()[1]

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        inner_reader, inner_writer = await asyncio.open_connection(host, port)
        self._calls |= {writer, inner_writer}
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        self._calls -= {writer, inner_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
    writer.close()
