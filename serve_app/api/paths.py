"""Which files of the server a request may name: regular ones below a media root, wherever links lead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from serve_app.problems import Problem

_PROTOCOL: Final = re.compile(r"[A-Za-z0-9+.,_-]+:")
"""What FFmpeg takes for a protocol: ``file:``, ``concat:``, ``subfile,,start,0,end,9,,:``."""
_DETAIL: Final = (
    "there is no such file below the service's media roots (setting media_roots, or REELSCOPE_MEDIA_ROOTS); "
    "upload the video instead, or ask for its folder to be added"
)


def allowed_path(text: str, roots: Sequence[Path]) -> Path:
    """The file that a request names, absolute or relative to a media root, without symbolic links.

    A file that is missing, one that lies elsewhere and one that is no regular file are refused with the same words.

    Raises:
        Problem: path_not_allowed.
    """
    if not _PROTOCOL.match(text):
        for root in roots:
            found = _below(root, text)
            if found is not None:
                return found
    raise Problem("path_not_allowed", _DETAIL)


def _below(root: Path, text: str) -> Path | None:
    try:
        top = root.expanduser().resolve(strict=True)
        path = (top / text).resolve(strict=True)
        str(path).encode()  # a name that is no UTF-8 can be neither stored nor shown
        return path if path.is_relative_to(top) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # missing, not readable, a null byte, a circle of links
        return None
