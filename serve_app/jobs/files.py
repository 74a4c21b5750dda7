"""Where reports and media lie (any fsspec URL), and the local spool folder through which they come and go.

Media are named by their content, so that jobs share them. All methods block.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from fsspec.core import url_to_fs  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from pipeline.errors import PlanError
from pipeline.results import VideoReport
from pipeline.settings import Settings

logger = logging.getLogger(__name__)

Kind = Literal["reports", "media"]
ORPHAN_AGE_S: Final = 3600.0
"""Younger files may belong to somebody who is about to say so."""
COPY_KEPT_S: Final = 3600.0
"""How long the local copy of a file in a remote store is kept after it was asked for last."""
_GZIP_LEVEL: Final = 6
_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,8}")


class Files:
    """Reports and media.

    Args:
        settings: `store.files_url` and `data_dir`.

    Raises:
        PlanError: the URL cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        data_dir = settings.data_dir.absolute()  # workers that read media have another working directory
        self.spool = data_dir / "spool"
        self._copies = data_dir / "copies"
        url = settings.store.files_url or str(data_dir / "files")
        try:
            self._fs, root = url_to_fs(url)
            self._root = root.rstrip("/")
            self._local = isinstance(self._fs, LocalFileSystem)
            self.spool.mkdir(parents=True, exist_ok=True)
            for kind in ("reports", "media"):
                self._fs.makedirs(f"{self._root}/{kind}", exist_ok=True)
        except Exception as error:  # whatever library is behind the URL raises its own
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise PlanError(f"files cannot be kept at {url} (setting store.files_url): {reason}") from error

    # --- the spool: one folder for each job until its media are kept ---

    def spool_of(self, job_id: str) -> Path:
        """The folder of a job's file; it may not be there."""
        return self.spool / job_id

    def spooled(self, job_id: str, suffix: str) -> Path:
        """Where a job's file lies until it is kept: under a name that is ours."""
        return self.spool_of(job_id) / f"{job_id}{suffix}"

    def take(self, source: Path, job_id: str, suffix: str) -> None:
        """Take a file over into the spool: by renaming it, if it is on the same disk."""
        target = self.spooled(job_id, suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)

    def drop_spool(self, job_id: str) -> None:
        """Delete a job's folder."""
        shutil.rmtree(self.spool_of(job_id), ignore_errors=True)

    # --- media ---

    def keep(self, source: Path, name: str) -> Path:
        """Put a file of the spool into the store, if it is not there yet. Answers where to read it from here."""
        local = self._local_path(name)
        if self._local:
            local.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, local) if _same_disk(source, local.parent) else _move_whole(source, local)
            return local
        remote = self._path("media", name)
        if not self._fs.exists(remote):
            self._fs.makedirs(remote.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(source), remote)
        local.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, local)
        return local

    def has_media(self, name: str) -> bool:
        """Whether a file is in the store."""
        return bool(self._fs.exists(self._path("media", name)))

    def local_media(self, name: str) -> Path:
        """A file of the store as a local one. Raises `FileNotFoundError`."""
        local = self._local_path(name)
        if self._local:
            if not local.is_file():
                raise FileNotFoundError(local)
            return local
        with suppress(FileNotFoundError):
            os.utime(local)  # it is in use: see `sweep_copies`
            return local
        local.parent.mkdir(parents=True, exist_ok=True)
        partial = local.with_name(f"{local.name}.{secrets.token_hex(4)}.part")
        try:
            self._fs.get_file(self._path("media", name), str(partial))
            os.replace(partial, local)
        finally:
            partial.unlink(missing_ok=True)
        return local

    def drop_copy(self, name: str) -> None:
        """Delete the local copy of a file in a remote store."""
        if not self._local:
            self._local_path(name).unlink(missing_ok=True)

    def drop(self, kind: Kind, name: str) -> None:
        """Delete a file of the store, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path(kind, name))
        if kind == "media":
            self.drop_copy(name)

    # --- reports ---

    def write_report(self, name: str, report: VideoReport) -> None:
        """Store a report: JSON, compressed. Nobody ever sees half of it in a local store."""
        data = gzip.compress(report.model_dump_json().encode(), _GZIP_LEVEL, mtime=0)
        path = self._path("reports", name)
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        if not self._local:
            self._fs.pipe_file(path, data)
            return
        partial = Path(f"{path}.{secrets.token_hex(4)}.part")
        try:
            partial.write_bytes(data)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def read_report(self, name: str) -> VideoReport:
        """A stored report. Raises `FileNotFoundError`; `ValueError`, `OSError` or `EOFError` if it is damaged."""
        return VideoReport.model_validate_json(gzip.decompress(self._fs.cat_file(self._path("reports", name))))

    # --- what a crash between a write and its row has left ---

    def orphans(self, kind: Kind, used: Collection[str]) -> list[str]:
        """Names of files in the store that are not among the used ones, and older than `ORPHAN_AGE_S`."""
        before_s = time.time() - ORPHAN_AGE_S
        return [name for name, changed_s in self._stored(kind) if name not in used and changed_s < before_s]

    def sweep_spool(self, open_jobs: Collection[str]) -> None:
        """Delete what lies in the spool and belongs to no open job, if it is older than `ORPHAN_AGE_S`."""
        for entry in self.spool.iterdir():
            with suppress(FileNotFoundError):  # its job has ended in this moment
                if entry.name not in open_jobs and time.time() - entry.lstat().st_mtime > ORPHAN_AGE_S:
                    logger.info("deleting %s, which belongs to no job", entry)
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def sweep_copies(self, in_use: Collection[str]) -> None:
        """Delete local copies that nobody has asked for in `COPY_KEPT_S`, but for those that are worked on."""
        for path in self._copies.rglob("*") if not self._local else ():
            with suppress(FileNotFoundError):
                if str(path.relative_to(self._copies)) in in_use or not path.is_file():
                    continue
                if time.time() - path.stat().st_mtime > COPY_KEPT_S:
                    path.unlink()

    def _stored(self, kind: Kind) -> Iterator[tuple[str, float]]:
        """Names, and when they were changed; a store that does not say is taken to have changed them now."""
        folder = f"{self._root}/{kind}"
        found: dict[str, dict[str, Any]] = self._fs.find(folder, detail=True)
        for path, facts in found.items():
            changed = facts.get("mtime", facts.get("LastModified", facts.get("created", time.time())))
            yield path.removeprefix(f"{folder}/"), changed.timestamp() if hasattr(changed, "timestamp") else changed

    def _path(self, kind: Kind, name: str) -> str:
        return f"{self._root}/{kind}/{name}"

    def _local_path(self, name: str) -> Path:
        return Path(self._path("media", name)) if self._local else self._copies / name


def media_name(sha256: str, suffix: str) -> str:
    """The name of media by its content, in one of 256 folders."""
    return f"{sha256[:2]}/{sha256}{suffix}"


def report_name(job_id: str) -> str:
    """The name of a job's report, in a folder by the last characters, which are random."""
    return f"{job_id[-2:]}/{job_id}.json.gz"


def suffix_of(name: str) -> str:
    """The suffix of a name that somebody else has chosen, if it is a plain one."""
    suffix = Path(name).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def _move_whole(source: Path, target: Path) -> None:
    """Move over disks so that the target is never there in part."""
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        shutil.copyfile(source, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    source.unlink()
