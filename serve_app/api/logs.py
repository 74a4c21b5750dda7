"""Request ids and the access log: one line per request, key=value, without queries and bodies."""

from __future__ import annotations

import logging
import re
import secrets
import time
from contextvars import ContextVar
from typing import Final
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("reelscope_request_id", default=None)
"""The request that this task works for; tasks started for it inherit it."""
HEADER: Final = "X-Request-ID"
_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_PATH_CHARS_MAX: Final = 200

logger = logging.getLogger("serve_app.access")


class RequestIdFilter(logging.Filter):
    """Gives every record the `request_id` that it belongs to, or ``-``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        record.request_id = REQUEST_ID.get() or "-"
        return True


def log_to(handler: logging.Handler, level: int = logging.INFO) -> None:
    """Send what the service logs, the access log included, to one handler, every line with its request's id."""
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(
        logging.Formatter("%(asctime)s level=%(levelname)s logger=%(name)s request_id=%(request_id)s %(message)s")
    )
    ours = logging.getLogger("serve_app")
    ours.setLevel(level)
    ours.addHandler(handler)
    ours.propagate = False


class RequestLog:
    """ASGI middleware, the outermost: gives the request its id and logs how it ended.

    The id is the caller's X-Request-ID where that is 1 to 128 letters, digits, points, underscores and hyphens, else a
    new one.

    Args:
        app: what it wraps.
        echo: send the id back. Off behind a proxy that does so itself, as Ray Serve's.
    """

    def __init__(self, app: ASGIApp, echo: bool = True) -> None:
        self.app = app
        self._echo = echo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI 3.0)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _taken(scope) or secrets.token_hex(16)
        status, nbytes, began_s = 0, 0, time.monotonic()

        async def noting(message: Message) -> None:
            nonlocal status, nbytes
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._echo:
                    MutableHeaders(scope=message)[HEADER] = request_id
            elif message["type"] == "http.response.body":
                nbytes += len(message.get("body", b""))
            await send(message)

        token = REQUEST_ID.set(request_id)
        state = scope.setdefault("state", {})
        try:
            await self.app(scope, receive, noting)
        finally:
            logger.info(
                "method=%s path=%s status=%s bytes=%d ms=%.1f client=%s key=%s",
                quote(scope["method"], safe=""),
                quote(scope["path"], safe="/", errors="replace")[:_PATH_CHARS_MAX],
                status or "-",
                nbytes,
                (time.monotonic() - began_s) * 1000,
                quote((scope.get("client") or ("-",))[0], safe=":."),
                quote(state.get("owner") or "-", safe=""),
            )
            REQUEST_ID.reset(token)


def _taken(scope: Scope) -> str | None:
    """The caller's own id, if it sent exactly one that may stand in a log."""
    sent = [value for name, value in scope["headers"] if name == b"x-request-id"]
    return sent[0].decode("ascii") if len(sent) == 1 and _ID.fullmatch(sent[0]) else None
