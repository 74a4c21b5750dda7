"""Who calls: API keys, session cookies, and how often each may ask. `Depends(caller)` gives a route its `Caller`."""

from __future__ import annotations

import hmac
import ipaddress
import math
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from pipeline.errors import UsageError
from pipeline.service_settings import AccessSettings
from pipeline.settings import Settings
from serve_app.api.keys import hash_of
from serve_app.api.rates import RateLimit
from serve_app.api.sessions import COOKIE, Sessions
from serve_app.jobs.interface import ANYONE
from serve_app.problems import Problem

# Lower: a typing error locks people out. Higher: guessing costs more hashing. Keys have 256 bits either way.
FAILURES_PER_MINUTE: Final = 20


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is, and what its key allows. `owner` is `ANYONE` where no keys are configured."""

    owner: str = ANYONE
    jobs_in_flight_max: int | None = None
    seconds_per_day_max: float | None = None


class Access:
    """The configured keys, the sessions that came from them, and what each may do in a minute."""

    def __init__(self, settings: AccessSettings) -> None:
        self._keys = settings.keys
        self._requests = {name: RateLimit(key.requests_per_minute) for name, key in settings.keys.items()}
        self._failures = RateLimit(FAILURES_PER_MINUTE)
        self.sessions = Sessions()

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything, as there are no keys."""
        return not self._keys

    def owner_of_key(self, key: str, client: str) -> str:
        """The name of a key.

        Args:
            key: as it was sent.
            client: address of the caller; from one with too many failures no key is looked at.

        Raises:
            Problem: unauthorized, rate_limited.
        """
        place = _network(client)
        waiting_s = self._failures.wait_s(place)
        if waiting_s > 0:
            detail = f"too many wrong keys came from {client}; it may try again in {math.ceil(waiting_s)} s"
            raise Problem("rate_limited", detail, retry_after_s=math.ceil(waiting_s))
        sent, owner = hash_of(key), None
        for name, configured in self._keys.items():  # all of them, so that the time tells nothing
            if hmac.compare_digest(sent, configured.sha256):
                owner = name
        if owner is None:
            self._failures.take(place)
            raise Problem("unauthorized", "this API key is not one of the service's")
        return owner

    def caller(self, key: str | None, session: str | None, client: str) -> Caller:
        """Whose request it is. A key counts before a session.

        Raises:
            Problem: unauthorized, rate_limited.
        """
        if self.is_open:
            return Caller()
        owner = self.sessions.owner(session) if session and key is None else None
        if key is not None:
            owner = self.owner_of_key(key, client)
        if owner is None:
            raise Problem("unauthorized", "send an API key as Authorization: Bearer KEY or as X-API-Key: KEY")
        waiting_s = self._requests[owner].take(owner)
        if waiting_s > 0:
            allowed = self._keys[owner].requests_per_minute
            detail = f"{allowed} requests a minute are allowed (setting access.keys.{owner}.requests_per_minute)"
            raise Problem("rate_limited", detail, retry_after_s=math.ceil(waiting_s))
        allowance = self._keys[owner]
        return Caller(owner, allowance.jobs_in_flight, allowance.video_seconds_per_day)


_BEARER = HTTPBearer(scheme_name="bearer", description="an API key: `Authorization: Bearer KEY`", auto_error=False)
_HEADER = APIKeyHeader(name="X-API-Key", scheme_name="header", description="the same API key", auto_error=False)
_SESSION = APIKeyCookie(
    name=COOKIE, scheme_name="session", description="set by `POST /v1/session`, for browsers", auto_error=False
)


def client_of(request: Request) -> str:
    """The caller's address, or ``unknown``."""
    return request.client.host if request.client else "unknown"


async def caller(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
    session: Annotated[str | None, Security(_SESSION)],
) -> Caller:
    """Dependency of every route that needs to know who asks.

    Raises:
        Problem: unauthorized, rate_limited.
    """
    access: Access = request.app.state.access
    found = access.caller(bearer.credentials if bearer else header, session, client_of(request))
    request.state.owner = found.owner
    return found


async def visitor(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    header: Annotated[str | None, Depends(_HEADER)],
    session: Annotated[str | None, Depends(_SESSION)],
) -> Caller | None:
    """Dependency of routes that tell strangers less: None without a key or a session that is still good.

    Raises:
        Problem: unauthorized (a wrong key), rate_limited.
    """
    access: Access = request.app.state.access
    has_session = session is not None and access.sessions.owner(session) is not None
    if not access.is_open and bearer is None and header is None and not has_session:
        return None
    return await caller(request, bearer, header, session)


def check_binding(settings: Settings) -> None:
    """Refuse to listen where others can reach it without a key.

    Raises:
        UsageError: `serve.host` is not a loopback address and there is no API key.
    """
    if settings.access.keys or _is_loopback(settings.serve.host):
        return
    raise UsageError(
        f"serve.host {settings.serve.host} can be reached by others, and no API key is set; make one with "
        "`reelscope key NAME`, or listen on 127.0.0.1"
    )


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _network(client: str) -> str:
    """What one subscriber holds: an IPv4 address, or a /64 of IPv6."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
