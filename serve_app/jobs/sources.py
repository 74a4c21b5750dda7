"""Server-side files: looked at again whenever they are used, since somebody may have put another in their place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from serve_app.problems import Problem


def checked(source: str, roots: Sequence[Path]) -> str:
    """What identifies the file's content now: size, time of change and inode.

    Args:
        source: absolute path of which symlinks were resolved.
        roots: folders below which it must lie; symlinks in them are resolved here.

    Raises:
        Problem: path_not_allowed: it lies elsewhere, a part of it has become a symlink, or it is not there.
    """
    path = Path(source)
    try:
        inside = path.resolve(strict=True) == path and any(path.is_relative_to(root.resolve()) for root in roots)
        facts = os.stat(path, follow_symlinks=False)
    except (OSError, RuntimeError, ValueError):  # not there; a loop of symlinks; no path at all
        inside = False
    if not inside or not path.is_file():
        raise Problem("path_not_allowed", f"there is no file {path.name} below the media roots (setting media_roots)")
    return f"{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ino}"


def check_same(source: str, roots: Sequence[Path], identity: str | None) -> None:
    """Raises `Problem` media_gone if a file is not the one that was probed any more, or there is none."""
    try:
        same = identity is not None and checked(source, roots) == identity
    except Problem:
        same = False
    if not same:
        raise Problem("media_gone", f"the file {Path(source).name} is not the one that was submitted any more")
