"""API keys: random, shown once, stored as their SHA-256."""

from __future__ import annotations

import hashlib
import re
import secrets

PREFIX = "rs_"
"""Lets people and secret scanners see what it is."""


def new_key() -> tuple[str, str]:
    """A new key (256 random bits, so that a plain hash protects it) and its SHA-256 in hex."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, hash_of(key)


def hash_of(key: str) -> str:
    """What `access.keys.NAME.sha256` holds."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def is_name(text: str) -> bool:
    """Whether a key may be called that: it stands in a TOML section, in logs and in messages."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) is not None
