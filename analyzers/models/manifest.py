"""What the model manifest may say: models, their files with sums, and where these come from (manifest.json is data).

A model lists its sources in order; the first that yields every file with the right sum is taken. Weights that ship
inside a package are read from the archive as plain bytes: no code of that package runs.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pipeline.analyzer import ProfileName

WHOLE_ARCHIVE: Final = "*"
"""As a member's path: the archive itself, as it was downloaded."""

PICKLE_ENDINGS: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
"""Files that torch, joblib or numpy may unpickle: reading them can run code."""

MANIFEST: Final = Path(__file__).with_name("manifest.json")


def _below(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError(f"must be a relative path without '..', got {path!r}")
    return path


def _sum(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"must be 64 lower-case hex digits, got {value!r}")
    return value


def is_pickle(name: str) -> bool:
    """Whether a file, or what a pattern matches, can be one of Python's pickles."""
    return name.lower().endswith(PICKLE_ENDINGS)


RelativePath = Annotated[str, AfterValidator(_below)]
Sha256 = Annotated[str, AfterValidator(_sum)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WeightFile(_Data):
    """One file of a model as it lies in the store: relative path, sum, size."""

    path: RelativePath
    sha256: Sha256
    bytes: int = Field(ge=0)


class Package(_Data):
    """One pinned archive of a registry.

    Args:
        name: of the package, with the scope for npm.
        version: exact.
        archive: ``wheel``, ``sdist`` (both Python) or ``tarball`` (npm).
        bytes: size of the archive, for the progress bar; 0 if unknown.
        python: the Python version whose wheel is wanted, where it is not the running one, for example ``3.11``.
        platform: the platform tag whose wheel is wanted, where it is not the running one.
    """

    name: str = Field(pattern=r"^(@[a-z0-9_.-]+/)?[A-Za-z0-9][A-Za-z0-9_.-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+!-]*$")
    archive: Literal["wheel", "sdist", "tarball"] = "wheel"
    bytes: int = Field(default=0, ge=0)
    python: str | None = None
    platform: str | None = None

    @property
    def label(self) -> str:
        """For messages and progress bars."""
        return f"{self.name} {self.version}"


class Member(_Data):
    """Bytes inside a package: `path` in its archive (`*`: the archive itself); `inside` a member of that, if a zip."""

    package: str
    path: str
    inside: str | None = None


class PackageSource(_Data):
    """Files inside registry packages. More than one member for a file: they are joined in order."""

    kind: Literal["pypi", "npm"]
    packages: tuple[Package, ...] = Field(min_length=1)
    members: dict[RelativePath, tuple[Member, ...]]

    @model_validator(mode="after")
    def _known_packages(self) -> PackageSource:
        names = {package.name for package in self.packages}
        unknown = {m.package for parts in self.members.values() for m in parts} - names
        if unknown:
            raise ValueError(f"members name packages that the source does not list: {sorted(unknown)}")
        for package in self.packages:
            if (package.archive == "tarball") != (self.kind == "npm"):
                raise ValueError(f"{package.label}: a {package.archive} does not come from {self.kind}")
        return self


class HubSource(_Data):
    """Files of a model hub's repository at a fixed revision (`members`: file in the store to file there)."""

    kind: Literal["hub"]
    id: str
    revision: str = Field(min_length=7)
    members: dict[RelativePath, RelativePath]


class InstalledSource(_Data):
    """Files that an installed package brings along (`members`: file to its path below site-packages); used in place."""

    kind: Literal["installed"]
    package: str
    version: str
    members: dict[RelativePath, RelativePath]


Source = Annotated[PackageSource | HubSource | InstalledSource, Field(discriminator="kind")]


class ModelEntry(_Data):
    """One model: who uses it, under which licence, which files, from where."""

    name: Name
    used_by: tuple[str, ...] = ()
    profile: ProfileName = "embedded"
    licence: str
    note: str = ""
    files: tuple[WeightFile, ...] = Field(min_length=1)
    sources: tuple[Source, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sources_give_every_file(self) -> ModelEntry:
        wanted = {file.path for file in self.files}
        for source in self.sources:
            if set(source.members) != wanted:
                raise ValueError(
                    f"{self.name}: the {source.kind} source gives {sorted(source.members)}, not {sorted(wanted)}"
                )
        if len(self.sources) > 1 and any(isinstance(source, InstalledSource) for source in self.sources):
            raise ValueError(f"{self.name}: an installed package is used in place and can be the only source")
        return self

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def installed(self) -> InstalledSource | None:
        """The source, if the files are used where an installed package has them."""
        return next((source for source in self.sources if isinstance(source, InstalledSource)), None)

    def file(self, path: str) -> WeightFile:
        """The file of that path.

        Raises:
            KeyError: the model has no such file.
        """
        for file in self.files:
            if file.path == path:
                return file
        raise KeyError(f"the model {self.name} has no file {path}; it has {', '.join(f.path for f in self.files)}")


class HubModel(_Data):
    """One model of the full profile, a repository of the model hub.

    Args:
        name: its folder in the store.
        id: the hub id.
        revision: the pinned commit; None where no commit was at hand to write down: the first fetch then pins what it
            got in the folder's own lock.
        licence: of the weights, SPDX where there is one.
        commercial: whether it allows commercial use.
        parameters: how many, for the plan.
        bytes: size of the files.
        files: what is fetched, as the hub's own patterns; weights are safetensors, or data that holds no code.
        data_files: files that are read as data only, though they end like a pickle: CTranslate2's `model.bin`, or
            YOLO's `.pt`, of which analyzers/models/yolo.py reads tensors and runs nothing.
        convert: a pickle of tensors that is taken where the repository has no safetensors at all: while it is fetched
            torch's restricted unpickler reads it (tensors only, nothing runs), it is kept as safetensors, and removed.
        sums: sha256 of files whose content is pinned here; a pickle is fetched only if it is one of them.
        used_by: analyzers that can use it.
        quantizable: whether bitsandbytes can load it in 8 and 4 bit.
        smaller: the next smaller model that can stand in for it where a GPU is too small.
        note: what a reader must know.
    """

    name: Name
    id: str
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    licence: str
    commercial: bool
    parameters: int = Field(gt=0)
    bytes: int = Field(gt=0)
    files: tuple[str, ...] = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
    data_files: tuple[RelativePath, ...] = ()
    convert: RelativePath | None = None
    sums: dict[RelativePath, Sha256] = Field(default_factory=dict)
    used_by: tuple[str, ...] = Field(min_length=1)
    quantizable: bool = False
    smaller: Name | None = None
    note: str = ""

    @model_validator(mode="after")
    def _no_pickles(self) -> HubModel:
        for pattern in self.files:
            if is_pickle(pattern) and pattern not in (*self.data_files, *self.sums):
                raise ValueError(
                    f"{self.name}: {pattern} can run code when it is read; name the file in `sums` with its sha256, "
                    "or in `data_files` if its format holds data only"
                )
        return self


class Manifest(_Data):
    """All models."""

    models: tuple[ModelEntry, ...]
    hub: tuple[HubModel, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Manifest:
        names = [model.name for model in self.models] + [model.name for model in self.hub]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"models are listed twice: {twice}")
        smaller = {model.smaller for model in self.hub if model.smaller} - {model.name for model in self.hub}
        if smaller:
            raise ValueError(f"smaller choices that are not in the manifest: {sorted(smaller)}")
        return self

    def model(self, name: str) -> ModelEntry:
        """The model of that name.

        Raises:
            KeyError: there is none.
        """
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(f"the manifest has no model {name}; it has {', '.join(m.name for m in self.models)}")


@cache
def read_manifest(path: Path = MANIFEST) -> Manifest:
    """Read and check a manifest file."""
    return Manifest.model_validate_json(path.read_bytes())
