"""Webhooks: tell a URL that a job has ended, signed after the Standard Webhooks specification 1.0.0.

A receiver checks with `verify_webhook`, or with any library of that specification (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import logging
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from pipeline.errors import ReelscopeError, UsageError
from pipeline.service_settings import AccessSettings
from serve_app.addresses import is_public
from serve_app.problems import Problem
from serve_app.schemas import ENDED, Job

# Lower: a busy receiver is told again and again. Higher: receivers that hang hold more connections at once.
SEND_S_MAX: Final = 15.0
SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = (24, 64)
"""Shortest and longest secret, from the specification."""
TOLERANCE_S: Final = 300

log = logging.getLogger(__name__)


class NotAuthentic(ReelscopeError):
    """What arrived was not signed with the secret, or not now."""


class Webhooks:
    """Sends webhooks to the hosts of the settings.

    Args:
        access: `webhook_hosts` and `webhook_secret`; without both none are sent.
        networks_allowed: private networks that a host may resolve to all the same, as 10.0.0.0/8.
        ca_file: PEM file of authorities that are trusted beside the system's.

    Raises:
        UsageError: the secret is none, or `ca_file` cannot be read.
    """

    def __init__(
        self, access: AccessSettings, networks_allowed: Sequence[str] = (), ca_file: Path | None = None
    ) -> None:
        self.enabled = bool(access.webhook_secret and access.webhook_hosts)
        self._hosts = tuple(host.lower().strip("[]") for host in access.webhook_hosts)
        self._networks_allowed = tuple(networks_allowed)
        if self.enabled:
            assert access.webhook_secret is not None
            self._key = _key(access.webhook_secret)
            self._tls = _trust(ca_file)

    def check(self, url: str) -> str:
        """The URL as it will be called: https, to an allowed host or a subdomain of one, without user or fragment.

        Raises:
            Problem: url_not_allowed.
        """
        if not self.enabled:
            raise Problem("url_not_allowed", "this service sends no webhooks (settings access.webhook_*)")
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise Problem("url_not_allowed", f"webhook_url is no URL: {error}") from None
        if parsed.scheme != "https":
            raise Problem("url_not_allowed", "webhook_url must begin with https://")
        if parsed.userinfo:
            raise Problem("url_not_allowed", "webhook_url must not carry a user name or password")
        if parsed.port is not None and not 1 <= parsed.port <= 65535:
            raise Problem("url_not_allowed", f"webhook_url names port {parsed.port}, which there is not")
        host = parsed.raw_host.decode("ascii").strip("[]")
        if not any(host == allowed or _is_below(host, allowed) for allowed in self._hosts):
            raise Problem("url_not_allowed", f"webhooks do not go to {host!r} (setting access.webhook_hosts)")
        return str(parsed.copy_with(fragment=None))

    async def send(self, url: str, job: Job) -> bool:
        """Tell a URL that a job has ended, once; True when it answered 2xx within `SEND_S_MAX`.

        The message's id and body are the same however often it is sent. Redirects are not followed, and of the answer
        only the status is read.

        Args:
            url: from `check`; it is checked again.
            job: one that has ended; its times carry their zone.
        """
        message_id, body = f"msg_{job.id}", _body(job)
        try:
            target = httpx.URL(self.check(url))
            async with asyncio.timeout(SEND_S_MAX):
                status = await self._post(target, body, signed_headers(self._key, message_id, int(time.time()), body))
        except (Problem, httpx.HTTPError, OSError, UnicodeError) as error:  # the last: a name that cannot be looked up
            log.warning("webhook of job %s was not delivered: %s", job.id, str(error) or type(error).__name__)
            return False
        if not 200 <= status < 300:
            log.warning("webhook of job %s was answered %d by %s", job.id, status, target.host)
        return 200 <= status < 300

    async def _post(self, target: httpx.URL, body: bytes, headers: dict[str, str]) -> int:
        """Connect to an address that was checked, so that no second look-up can answer with another one."""
        host = target.raw_host.decode("ascii").strip("[]")
        port = target.port or 443
        unreachable: httpx.ConnectError | None = None
        # trust_env would let a proxy of the environment do the looking up.
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=SEND_S_MAX) as client:
            for address in await self._addresses(host, port):
                try:
                    async with client.stream(
                        "POST",
                        target.copy_with(host=address),
                        content=body,
                        headers={"Host": target.netloc.decode("ascii"), **headers},
                        extensions={"sni_hostname": host},  # the name that the certificate is checked for, too
                    ) as response:
                        return response.status_code
                except httpx.ConnectError as error:
                    unreachable = error
        assert unreachable is not None
        raise unreachable

    async def _addresses(self, host: str, port: int) -> list[str]:
        """What the host resolves to; a `Problem` if one of it is not public."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not is_public(address, self._networks_allowed):
                raise Problem("address_not_allowed", f"{host} resolves to {address}, which is not public")
        return addresses


def signed_headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt, at `timestamp` (Unix seconds): id, time and HMAC-SHA256 over both and the body."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "reelscope",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": _signature(key, message_id, str(timestamp), body),
    }


def verify_webhook(
    secret: str, headers: Mapping[str, str], body: bytes, tolerance_s: float = TOLERANCE_S
) -> dict[str, Any]:
    """What a receiver does first with what arrives: check that this service sent it, and not long ago.

    Remember `webhook-id` for as long as `tolerance_s`, to do nothing twice: an attempt that was answered too late is
    made again.

    Args:
        secret: setting access.webhook_secret of the service.
        headers: of the request, by names in any case.
        body: of the request, as it came.
        tolerance_s: largest difference between the sender's clock and this one.

    Returns:
        The message: ``{"type": "job.done" | "job.failed" | "job.cancelled", "timestamp": ..., "data": the Job}``.

    Raises:
        NotAuthentic: a header is missing or wrong, the signature is another one, or the time is too far away.
        UsageError: `secret` is none.
    """
    named = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = (named[f"webhook-{part}"] for part in ("id", "timestamp", "signature"))
        difference_s = abs(time.time() - int(timestamp))
    except KeyError as error:
        raise NotAuthentic(f"the header {error.args[0]} is missing") from None
    except ValueError:
        raise NotAuthentic("the header webhook-timestamp is no whole number") from None
    if difference_s > tolerance_s:
        raise NotAuthentic(f"it was sent {difference_s:.0f} s from now, {tolerance_s:.0f} s are allowed")
    expected = _signature(_key(secret), message_id, timestamp, body).encode()
    # Several stand there while a secret is being changed.
    if not any(hmac.compare_digest(expected, given.encode()) for given in signatures.split(" ")):
        raise NotAuthentic("no signature is of this secret")
    message: dict[str, Any] = json.loads(body)
    return message


def _body(job: Job) -> bytes:
    if job.state not in ENDED or job.ended_at is None:
        raise ValueError(f"job {job.id} is {job.state}; only a job that has ended is told")
    data = job.model_dump(mode="json")
    message = {"type": f"job.{job.state}", "timestamp": data["ended_at"], "data": data}
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    shortest, longest = SECRET_BYTES
    if not shortest <= len(key) <= longest:
        raise UsageError(
            f"a webhook secret (setting access.webhook_secret) is {SECRET_PREFIX} and {shortest} to {longest} random "
            f"bytes in base64; make one with: echo {SECRET_PREFIX}$(openssl rand -base64 32)"
        )
    return key


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"authorities cannot be read from {ca_file}: {error}") from None
    return context


def _is_below(host: str, allowed: str) -> bool:
    """Whether a host is a subdomain. An address has none."""
    try:
        ipaddress.ip_address(allowed)
    except ValueError:
        return host.endswith("." + allowed)
    return False
