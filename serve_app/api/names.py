"""File names that come from outside, made harmless: for what is shown, and for Content-Disposition."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

NAME_CHARS_MAX: Final = 120
NAMELESS: Final = "video"
_SUFFIX_CHARS_MAX: Final = 10


def clean_name(text: str) -> str:
    """The last part of a file's name without control and direction characters, at most `NAME_CHARS_MAX` long."""
    last = re.split(r"[\\/]", unicodedata.normalize("NFC", text))[-1]
    shown = "".join(character for character in last if unicodedata.category(character)[0] != "C").strip()
    if not shown.strip("."):
        return NAMELESS
    suffix = PurePosixPath(shown).suffix[:_SUFFIX_CHARS_MAX]
    return shown if len(shown) <= NAME_CHARS_MAX else shown[: NAME_CHARS_MAX - len(suffix)] + suffix


def disposition(kind: str, name: str) -> str:
    """Content-Disposition (RFC 6266): the name in ASCII for old readers, and in full (RFC 8187)."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", ascii_name).strip() or NAMELESS
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
