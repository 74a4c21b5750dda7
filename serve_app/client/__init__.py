"""The Python client of a Reelscope server: `AsyncClient`, and `Client` for synchronous code and notebooks.

    with reelscope.Client("http://127.0.0.1:8003") as client:
        report = client.analyze("clip.mp4")

What it asks of a server is listed in operations.py. Every call may raise, all of them `ReelscopeError`:

Problem          the server refuses, with a `code` that stays the same over releases
ServerMissing    nothing answers at the URL (a UsageError)
ServerError      this version does not understand what the server answers
ConnectionLost   the server stopped answering, for longer than `retry_s` (a ServerError)
"""

from __future__ import annotations

from serve_app.client.asynchronous import AsyncClient
from serve_app.client.connection import ConnectionLost, ServerError, ServerMissing
from serve_app.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "ConnectionLost", "ServerError", "ServerMissing"]
