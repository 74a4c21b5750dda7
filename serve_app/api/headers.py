"""Headers in and out: which Host and Origin may call, and what every answer tells the browser."""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.settings import Settings
from serve_app.api.problems import problem_response
from serve_app.problems import Problem

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
"""What an answer gets where its route has not said otherwise."""
HSTS: Final = "max-age=31536000"
_PROBES: Final = {"/livez", "/readyz"}
"""Asked by address, by load balancers and kubelets; they tell nothing."""
_PORTS: Final = {"http": 80, "https": 443}
_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")


class SecurityHeaders:
    """ASGI middleware: sets `SECURITY_HEADERS`, and Strict-Transport-Security (RFC 6797) on https."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI 3.0)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", HSTS)
            await send(message)

        await self.app(scope, receive, with_headers)


class SiteGuard:
    """ASGI middleware: refuses names that are not ours (DNS rebinding) and changes that another site asks for (CSRF).

    A page of another site that lets its name resolve to this machine speaks with that name in Host. Without API keys
    only localhost, the loopback addresses, `serve.host` and `serve.allowed_hosts` are answered. With keys such a page
    has none, so that every name is answered unless `serve.allowed_hosts` lists some.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._any_name = bool(settings.access.keys) and not settings.serve.allowed_hosts
        self._listed = {_plain(name) for name in settings.serve.allowed_hosts}
        self._names = {"localhost", "127.0.0.1", "::1", _plain(settings.serve.host)} | self._listed
        self._origins = {origin.lower().rstrip("/") for origin in settings.access.cors_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI 3.0)."""
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await problem_response(problem)(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        host = _authority(hosts[0]) if len(hosts) == 1 else None
        if scope["path"] not in _PROBES and not self._any_name and (host is None or host[0] not in self._names):
            detail = "this service does not answer to that Host; add the name to setting serve.allowed_hosts"
            return Problem("forbidden_origin", detail)
        origin = headers.get("origin")
        if scope["method"] in {"GET", "HEAD"} or origin is None or self._is_ours(origin, host):
            return None
        detail = "a page of another origin may not change anything here; see setting access.cors_origins"
        return Problem("forbidden_origin", detail)

    def _is_ours(self, origin: str, host: tuple[str, int | None] | None) -> bool:
        if origin.lower() in self._origins or "*" in self._origins:
            return True
        scheme, _, authority = origin.partition("://")
        default, sender = _PORTS.get(scheme.lower()), _authority(authority)
        if sender is None or host is None or default is None:
            return False
        if sender[0] in self._listed:  # a reverse proxy may have put its own name for us into Host
            return True
        return (sender[0], sender[1] or default) == (host[0], host[1] or default)


def _plain(name: str) -> str:
    return name.lower().strip("[]").rstrip(".")


def _authority(text: str) -> tuple[str, int | None] | None:
    """Name and port of a Host header's value, the name in lower case and without brackets; None if it is none."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    address, name, port = match.groups()
    return _plain(address or name), int(port) if port else None
