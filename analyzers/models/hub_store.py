"""Fetches models of the hub into the store, and says which are there: `HubStore.entries`, `.verify`, `.fetch`.

A fetched model is a folder MODELS_DIR/NAME with the repository's files and a lock, `fetched.json`: id, commit, and size
and sha256 of each file. It gets there by one rename once every file was right; until then its files lie in
MODELS_DIR/.partial-NAME, which the next try goes on from. A folder without a lock is the user's own and never touched.

Only data is fetched: safetensors, JSON, tokenizer texts. A pickle can run code when it is read, so one is refused
unless the manifest names it with its sum, or names it as data in spite of its ending.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analyzers.models.download import POLL_S, bytes_below
from analyzers.models.manifest import HubModel, Manifest, RelativePath, Sha256, is_pickle, read_manifest
from pipeline.errors import ModelUnavailable

LOCK_FILE: Final = "fetched.json"
RANDOM_MARK: Final = "RANDOM_WEIGHTS"
PARTIAL_PREFIX: Final = ".partial-"
DISK_RESERVE_BYTES: Final = 500_000_000
"""What must be free beside the files themselves."""
WEIGHT_ENDINGS: Final = (".safetensors", ".onnx", ".bin", ".pt", ".pth", ".ckpt")

HubState = Literal["present", "local", "partial", "missing", "damaged"]
Progress = Callable[[str, int, int], None]


class NotEnoughDisk(ModelUnavailable):
    """The files would not fit the disk; the message states what they need and what is free."""


class LockedFile(BaseModel):
    """One fetched file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int = Field(ge=0)
    sha256: Sha256


class Lock(BaseModel):
    """What was fetched: `fetched.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    files: dict[RelativePath, LockedFile]


@dataclass(frozen=True)
class HubEntry:
    """One hub model as `reelscope models list` shows it.

    Args:
        model: what the manifest says.
        state: ``present`` (fetched, and right), ``local`` (a folder of the user's own, not checked), ``partial`` (a
            fetch was interrupted), ``missing``, ``damaged``.
        folder: where its files lie or would lie.
        revision: the commit that was fetched.
        bytes: of the files that are there; the manifest's figure where none are.
        detail: what else there is to say, for example which file is damaged.
    """

    model: HubModel
    state: HubState
    folder: Path
    revision: str | None = None
    bytes: int = 0
    detail: str = ""


@dataclass(frozen=True)
class _Remote:
    """One file of the repository: the sums are those that the hub states, as far as it does."""

    path: str
    bytes: int
    sha256: str | None
    git_blob: str | None


def read_lock(folder: Path) -> Lock | None:
    """The lock of a fetched model; None for a folder of the user's own.

    Raises:
        ModelUnavailable: the lock is damaged.
    """
    path = folder / LOCK_FILE
    if not path.is_file():
        return None
    try:
        return Lock.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise ModelUnavailable(f"{path} is damaged: {str(error).splitlines()[0]}") from None


def wrong_file(folder: Path, lock: Lock, *, sums: bool) -> str | None:
    """What is wrong with the first file that is not as locked, by its size, and its sha256 if `sums`."""
    for name, expected in lock.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected.bytes:
            return f"{name} has {path.stat().st_size} bytes, expected {expected.bytes}"
        if sums and _sha256(path) != expected.sha256:
            return f"{name} has another sha256 than when it was fetched"
    return None


class HubStore:
    """The hub models of a store folder.

    Args:
        models_dir: the folder; it need not exist.
        manifest: the models there are; None takes the shipped one.
        disk_free: bytes free below a folder.
    """

    def __init__(
        self,
        models_dir: Path,
        manifest: Manifest | None = None,
        *,
        disk_free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self.models_dir = models_dir
        self.manifest = manifest or read_manifest()
        self._disk_free = disk_free

    def entries(self, *, sums: bool = False) -> list[HubEntry]:
        """Every hub model and its state, judged by sizes; by sha256 too if `sums`."""
        return [self.entry(model, sums=sums) for model in self.manifest.hub]

    def verify(self) -> list[HubEntry]:
        """Every hub model and its state, by the sha256 of every file."""
        return self.entries(sums=True)

    def entry(self, model: HubModel, *, sums: bool = False) -> HubEntry:
        """One model and its state."""
        folder, partial = self.models_dir / model.name, self._partial(model)
        if not folder.is_dir() or not any(folder.iterdir()):
            if partial.is_dir():
                there = bytes_below(partial)
                return HubEntry(model, "partial", folder, None, model.bytes, f"{there / 1e9:.2f} GB are there")
            return HubEntry(model, "missing", folder, None, model.bytes)
        try:
            lock = read_lock(folder)
        except ModelUnavailable as error:
            return HubEntry(model, "damaged", folder, None, bytes_below(folder), str(error))
        if lock is None:
            random = "random weights" if (folder / RANDOM_MARK).exists() else "a folder of your own, not checked"
            return HubEntry(model, "local", folder, None, bytes_below(folder), random)
        size = sum(file.bytes for file in lock.files.values())
        if wrong := wrong_file(folder, lock, sums=sums):
            return HubEntry(model, "damaged", folder, lock.revision, size, wrong)
        other = model.revision is not None and model.revision != lock.revision
        detail = f"at {lock.revision[:12]}, the manifest pins {str(model.revision)[:12]}" if other else ""
        return HubEntry(model, "present", folder, lock.revision, size, detail)

    def fetch(self, names: Sequence[str], *, on_progress: Progress | None = None) -> list[str]:
        """Get what is missing, interrupted or damaged. Returns the names of the models that came new.

        Args:
            names: which models.
            on_progress: told (name, bytes there, bytes in all), from another thread.

        Raises:
            KeyError: the manifest has no such hub model.
            NotEnoughDisk: they would not fit; nothing was begun.
            ModelUnavailable: one could not be had; what was fetched of it is kept for the next try.
        """
        by_name = {model.name: model for model in self.manifest.hub}
        wanted = [by_name[name] for name in dict.fromkeys(names)]
        absent = [model for model in wanted if self.entry(model, sums=True).state not in ("present", "local")]
        if not absent:
            return []
        hub = _client()
        plans = [(model, *_listing(hub, model)) for model in absent]
        self._check_disk([(model, sum(file.bytes for file in files)) for model, _, files in plans])
        for model, revision, files in plans:
            with _claimed(self._partial(model), model):
                self._fetch(hub, model, revision, files, on_progress)
        return [model.name for model in absent]

    def _fetch(
        self, hub: Any, model: HubModel, revision: str, files: Sequence[_Remote], on_progress: Progress | None
    ) -> None:
        folder, partial = self.models_dir / model.name, self._partial(model)
        if folder.is_dir() and any(folder.iterdir()):  # damaged: the client keeps the files that are right
            shutil.rmtree(partial, ignore_errors=True)
            os.replace(folder, partial)
            (partial / LOCK_FILE).unlink(missing_ok=True)
        partial.mkdir(parents=True, exist_ok=True)
        total = sum(file.bytes for file in files)
        locked: dict[str, LockedFile] = {}
        with _watched(partial, model.name, total, on_progress):
            for file in files:
                path = _download(hub, model, revision, file, partial)
                found = LockedFile(bytes=file.bytes, sha256=_checked(model, path, file, partial))
                if file.path == model.convert:
                    path = _converted(model, path)
                    found = LockedFile(bytes=path.stat().st_size, sha256=_sha256(path))
                locked[str(path.relative_to(partial))] = found
        lock = Lock(id=model.id, revision=revision, files=locked)
        (partial / LOCK_FILE).write_text(lock.model_dump_json(indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        if folder.is_dir():
            folder.rmdir()  # empty, or it would have been taken over above
        os.replace(partial, folder)

    def _check_disk(self, wanted: Sequence[tuple[HubModel, int]]) -> None:
        """All of them must fit before the first is begun."""
        there = sum(bytes_below(self._partial(model)) for model, _ in wanted)
        needed = sum(size for _, size in wanted) - there + DISK_RESERVE_BYTES
        existing = next(folder for folder in (self.models_dir, *self.models_dir.parents) if folder.exists())
        free = self._disk_free(existing)
        if free < needed:
            names = ", ".join(model.name for model, _ in wanted)
            raise NotEnoughDisk(
                f"{names} needs {needed / 1e9:.1f} GB in {self.models_dir} and {free / 1e9:.1f} GB are free: free some "
                "space, name fewer models, or choose another folder (--models-dir)"
            )

    def _partial(self, model: HubModel) -> Path:
        return self.models_dir / f"{PARTIAL_PREFIX}{model.name}"


@contextlib.contextmanager
def _claimed(partial: Path, model: HubModel) -> Iterator[None]:
    """Say, while it lasts, that this process fetches a model.

    Raises:
        ModelUnavailable: another one does.
    """
    mark = partial.with_name(f"{partial.name}.owner")
    owner = mark.read_text(encoding="utf-8") if mark.is_file() else ""
    if owner.isdigit() and int(owner) != os.getpid() and psutil.pid_exists(int(owner)):
        raise ModelUnavailable(f"{model.name} is being fetched by process {owner}; wait for it, or end it")
    partial.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(str(os.getpid()), encoding="utf-8")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _client() -> Any:
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError:
        raise ModelUnavailable(
            "models of the full profile come from a model hub: install the extra `full` "
            "(pip install 'reelscope[full]'), or put the files into a folder and name it as `model`"
        ) from None
    importlib.import_module("huggingface_hub.utils").disable_progress_bars()
    importlib.import_module("huggingface_hub.utils.logging").set_verbosity_error()
    return hub


def _listing(hub: Any, model: HubModel) -> tuple[str, list[_Remote]]:
    """The commit and the wanted files of a repository at the pinned revision, or its newest where none is pinned."""
    with _errors_of(model):
        found = hub.HfApi(endpoint=_endpoint()).model_info(model.id, revision=model.revision, files_metadata=True)
    files = [
        _Remote(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs else None, one.blob_id)
        for one in found.siblings or ()
        if any(fnmatch(one.rfilename, pattern) for pattern in (*model.files, model.convert or ""))
    ]
    names = {file.path for file in files}
    if any(name.endswith(".safetensors") for name in names):
        files = [file for file in files if file.path != model.convert]
    for name in model.files:
        if not set(name) & set("*?[") and name not in names:
            raise ModelUnavailable(f"{model.id} has no file {name} at {found.sha[:12]}")
    for file in files:
        if is_pickle(file.path) and file.path not in (*model.data_files, *model.sums, model.convert):
            raise ModelUnavailable(f"{model.id}: {file.path} is refused: a pickle can run code when it is read")
    if not any(name.endswith(WEIGHT_ENDINGS) for name in names):
        raise ModelUnavailable(
            f"{model.id} has no safetensors at {found.sha[:12]}; convert its weights in a place you trust, and set "
            "`model` to the folder"
        )
    return str(found.sha), files


def _download(hub: Any, model: HubModel, revision: str, file: _Remote, partial: Path) -> Path:
    """One file, by the client, which goes on by itself where a connection was cut."""
    with _errors_of(model, file.path):
        return Path(
            hub.hf_hub_download(model.id, file.path, revision=revision, local_dir=partial, endpoint=_endpoint())
        )


def _checked(model: HubModel, path: Path, file: _Remote, partial: Path) -> str:
    """The sha256 of a downloaded file, if it is what the hub and the manifest state."""
    found = _sha256(path)
    pinned = model.sums.get(file.path)
    wrong = None
    if path.stat().st_size != file.bytes:
        wrong = f"has {path.stat().st_size} bytes, the hub states {file.bytes}"
    elif file.sha256 is not None and found != file.sha256:
        wrong = f"has sha256 {found}, the hub states {file.sha256}"
    elif pinned is not None and found != pinned:
        wrong = f"has sha256 {found}, the manifest pins {pinned}"
    elif file.sha256 is None and file.git_blob is not None and _git_blob(path) != file.git_blob:
        wrong = "is not the file of that commit"
    if wrong is None:
        return found
    path.unlink()
    for left in (partial / ".cache").rglob(f"{Path(file.path).name}.metadata"):
        left.unlink()
    raise ModelUnavailable(f"{model.name}: {file.path} is refused: it {wrong}; run the fetch again")


def _converted(model: HubModel, path: Path) -> Path:
    """A pickle of tensors as safetensors beside it. The pickle is removed."""
    import torch
    from safetensors.torch import save_file

    target = path.with_name("model.safetensors")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        save_file({name: one.clone().contiguous() for name, one in tensors.items()}, target, metadata={"format": "pt"})
    except Exception as error:  # whatever the restricted unpickler refuses
        path.unlink()
        raise ModelUnavailable(
            f"{model.name}: {path.name} is refused, it holds more than tensors ({type(error).__name__})"
        ) from error
    path.unlink()
    return target


@contextlib.contextmanager
def _errors_of(model: HubModel, file: str | None = None) -> Iterator[None]:
    """The client's errors as ours: what could not be had, why, and what to do."""
    what = f"{file} of {model.id}" if file else model.id
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise NotEnoughDisk(
                f"the disk is full while fetching {what}: free {model.bytes / 1e9:.1f} GB and run it again; what is "
                "there is kept"
            ) from error
        raise ModelUnavailable(_why(what, error)) from error
    except Exception as error:  # the client's errors have no common base
        raise ModelUnavailable(_why(what, error)) from error


def _why(what: str, error: Exception) -> str:
    kind = type(error).__name__
    if kind == "GatedRepoError":
        return f"{what} is given only to those who accepted its licence: do so on its page and log in with `hf auth`"
    if kind == "RepositoryNotFoundError":
        return f"{what} is not on the hub (renamed, removed or private); set `model` to another id or to a folder"
    if kind == "RevisionNotFoundError":
        return f"{what} has not the pinned commit any more; set `model` to another id or to a folder"
    said = " ".join(word for word in str(error).split() if "://" not in word)[:200] or "no reason given"
    return f"{what} could not be fetched ({kind}: {said}); check the network and run it again: what is there is kept"


@contextlib.contextmanager
def _watched(partial: Path, name: str, total: int, on_progress: Progress | None) -> Iterator[None]:
    """Tell the progress while the client downloads: by what lies in the folder, its temporary files included."""
    if on_progress is None:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_S):
            on_progress(name, min(bytes_below(partial), total), total)

    on_progress(name, min(bytes_below(partial), total), total)
    watcher = threading.Thread(target=watch, daemon=True, name="fetch-progress")
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    on_progress(name, total, total)


def _endpoint() -> str | None:
    """Where the hub is; None leaves it to the client."""
    return os.environ.get("HF_ENDPOINT") or None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git_blob(path: Path) -> str:
    """The name that git gives a file's content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
