"""Session tokens for browsers, whose EventSource and <video> cannot send an API key: signed, and gone after a while."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

COOKIE: Final = "reelscope_session"
SESSION_S: Final = 12 * 3600
"""A working day; then the page asks for the key again."""


class Sessions:
    """Makes and reads tokens. The signing key lives as long as this object: a restart of the service ends all sessions.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._secret = secrets.token_bytes(32)
        self._clock = clock

    def token(self, owner: str) -> str:
        """``OWNER.EXPIRY.HMAC-SHA256``, for the next `SESSION_S` seconds."""
        name = base64.urlsafe_b64encode(owner.encode()).decode().rstrip("=")
        signed = f"{name}.{int(self._clock()) + SESSION_S}"
        return f"{signed}.{self._signature(signed)}"

    def owner(self, token: str) -> str | None:
        """Whose token it is; None if it is not one of ours, or too old."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(signed).encode(), signature.encode("utf-8", "replace")):
            return None
        name, _, expiry = signed.partition(".")
        if int(expiry) < self._clock():
            return None
        return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()

    def _signature(self, text: str) -> str:
        return hmac.digest(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hex()
