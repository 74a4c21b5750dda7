"""Fetching models of the hub, against a server on this machine that answers as the hub does."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from analyzers.models.hub import locate
from analyzers.models.hub_store import LOCK_FILE, HubStore, NotEnoughDisk, read_lock
from analyzers.models.manifest import Manifest
from pipeline.errors import ModelUnavailable
from serve_app.tables import hub_table
from tests.full.checkpoints.mark import mark_random

ID = "org/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEWEST = "89abcdef0123456789abcdef0123456789abcdef"
WEIGHTS = bytes(range(256)) * 4000  # 1 MB
FILES = {"model.safetensors": WEIGHTS, "config.json": b"{}", "README.md": b"not wanted"}


@dataclass
class Hub:
    """What the server gives and how it misbehaves.

    `cut_once` names files whose connection breaks in the middle the first time; `gone` those that it does not find;
    `lies` maps a file to the sum that it states for it.
    """

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    cut_once: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    lies: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""

    def downloads(self, file: str) -> int:
        """How often a file's content was asked for."""
        return sum(name == file for name, _ in self.asked)


def lfs_sum(hub: Hub, name: str) -> str:
    return hub.lies.get(name, hashlib.sha256(hub.files[name]).hexdigest())


def is_large(name: str) -> bool:
    return not name.endswith((".json", ".md"))


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        found = re.fullmatch(rf"/api/models/{ID}(?:/revision/([0-9a-f]+))?", path)
        if found:
            self.info(found.group(1) or NEWEST)
            return
        found = re.fullmatch(rf"/{ID}/resolve/([0-9a-f]+)/(.+)", path)
        if found is None or found.group(2) not in self.hub.files or found.group(2) in self.hub.gone:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if found else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.content(found.group(1), found.group(2), body)

    def info(self, commit: str) -> None:
        siblings: list[dict[str, Any]] = []
        for name, content in self.hub.files.items():
            one: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob(content)}
            if is_large(name):
                one["lfs"] = {"size": len(content), "sha256": lfs_sum(self.hub, name), "pointerSize": 130}
            siblings.append(one)
        text = json.dumps({"id": ID, "modelId": ID, "sha": commit, "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def content(self, commit: str, name: str, body: bool) -> None:
        content = self.hub.files[name]
        start = 0
        if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(wanted.group(1))
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{lfs_sum(self.hub, name) if is_large(name) else blob(content)}"')
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return
        self.hub.asked.append((name, self.headers.get("Range")))
        if name in self.hub.cut_once:
            self.hub.cut_once.remove(name)
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.wfile.write(content[start:])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub of one repository."""
    served = Hub()
    handler = type("OneHub", (Handler,), {"hub": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def store(folder: Path, *, free: int = 10**12, **entry: Any) -> HubStore:
    """A store whose manifest has one model."""
    model = {"name": "m", "id": ID, "licence": "MIT", "commercial": True, "parameters": 10, "bytes": 10}
    manifest = Manifest.model_validate(
        {"models": [], "hub": [model | {"used_by": ["toy"], "revision": COMMIT} | entry]}
    )
    return HubStore(folder, manifest, disk_free=lambda _: free)


def state(models: HubStore) -> str:
    return models.entries()[0].state


def test_a_model_is_fetched_at_its_commit_and_locked(hub: Hub, tmp_path: Path) -> None:
    models = store(tmp_path)
    assert state(models) == "missing"
    assert models.fetch(["m"]) == ["m"]
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["config.json", LOCK_FILE, "model.safetensors"]
    lock = read_lock(tmp_path / "m")
    assert lock is not None
    assert (lock.id, lock.revision) == (ID, COMMIT)
    assert lock.files["model.safetensors"].sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert lock.files["model.safetensors"].bytes == len(WEIGHTS)
    assert [path.name for path in tmp_path.iterdir()] == ["m"], "nothing else is left in the store"
    assert models.fetch(["m"]) == [], "what is there is not fetched again"
    assert hub.downloads("model.safetensors") == 1


def test_without_a_pinned_commit_the_first_fetch_pins_what_it_got(hub: Hub, tmp_path: Path) -> None:
    models = store(tmp_path, revision=None)
    models.fetch(["m"])
    assert models.entries()[0].revision == NEWEST


def test_progress_ends_at_the_size_of_the_files(hub: Hub, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    store(tmp_path).fetch(["m"], on_progress=lambda *what: told.append(what))
    total = len(WEIGHTS) + len(FILES["config.json"])
    assert told[0] == ("m", 0, total)
    assert told[-1] == ("m", total, total)


def test_a_cut_connection_goes_on_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    hub.files["model.safetensors"] = WEIGHTS * 24
    hub.cut_once = {"model.safetensors"}
    models = store(tmp_path)
    models.fetch(["m"])
    # The client keeps what it got in steps of 10 MiB; 12 MB came before the cut.
    assert [wanted for name, wanted in hub.asked if name == "model.safetensors"] == [None, f"bytes={10 << 20}-"]
    assert models.verify()[0].state == "present"


def test_an_interrupted_fetch_goes_on_with_the_files_that_are_missing(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"a.safetensors": WEIGHTS, "b.safetensors": WEIGHTS[::-1]}
    hub.gone = {"b.safetensors"}
    models = store(tmp_path)
    with pytest.raises(ModelUnavailable, match=r"b\.safetensors of org/model could not be fetched .*is kept"):
        models.fetch(["m"])
    assert state(models) == "partial"
    assert not (tmp_path / "m").exists(), "half a model is not in the model's place"
    hub.gone = set()
    assert models.fetch(["m"]) == ["m"]
    assert (hub.downloads("a.safetensors"), hub.downloads("b.safetensors")) == (1, 1)
    assert models.verify()[0].state == "present"


def test_two_processes_do_not_fetch_the_same_model(hub: Hub, tmp_path: Path) -> None:
    mark = tmp_path / ".partial-m.owner"
    mark.write_text(str(os.getppid()))
    with pytest.raises(ModelUnavailable, match=f"m is being fetched by process {os.getppid()}"):
        store(tmp_path).fetch(["m"])
    mark.write_text(str(2**22 + 7))  # one that is no more
    assert store(tmp_path).fetch(["m"]) == ["m"]
    assert not mark.exists()


def test_a_file_with_another_sum_than_the_hub_states_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.lies = {"model.safetensors": "0" * 64}
    models = store(tmp_path)
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors is refused: it has sha256 .* the hub states 0000"):
        models.fetch(["m"])
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_file_with_another_sum_than_the_manifest_pins_is_refused(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="the manifest pins 1111"):
        store(tmp_path, sums={"model.safetensors": "1" * 64}).fetch(["m"])


def test_damage_is_seen_and_only_the_damaged_file_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"a.safetensors": WEIGHTS, "b.safetensors": WEIGHTS[::-1]}
    models = store(tmp_path)
    models.fetch(["m"])
    (tmp_path / "m" / "b.safetensors").write_bytes(b"x" * len(WEIGHTS))
    assert state(models) == "present", "a quick look goes by sizes"
    assert (models.verify()[0].state, models.verify()[0].detail) == (
        "damaged",
        "b.safetensors has another sha256 than when it was fetched",
    )
    assert models.fetch(["m"]) == ["m"]
    assert (hub.downloads("a.safetensors"), hub.downloads("b.safetensors")) == (1, 2)
    assert models.verify()[0].state == "present"
    (tmp_path / "m" / "a.safetensors").write_bytes(b"short")
    assert state(models) == "damaged"


def test_a_damaged_lock_is_damage(hub: Hub, tmp_path: Path) -> None:
    models = store(tmp_path)
    models.fetch(["m"])
    (tmp_path / "m" / LOCK_FILE).write_text("{}")
    assert state(models) == "damaged"
    models.fetch(["m"])
    assert models.verify()[0].state == "present"


def test_the_disk_is_checked_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotEnoughDisk, match=r"m needs 0\.5 GB .* and 0\.1 GB are free: free some space"):
        store(tmp_path, free=100_000_000).fetch(["m"])
    assert hub.asked == []


def test_a_disk_that_fills_up_meanwhile_says_so_and_keeps_what_is_there(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = huggingface_hub.hf_hub_download

    def full(repo: str, file: str, **more: Any) -> str:
        if file == "model.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device")
        return str(real(repo, file, **more))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(NotEnoughDisk, match=r"the disk is full while fetching model\.safetensors"):
        store(tmp_path).fetch(["m"])
    monkeypatch.undo()
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    assert store(tmp_path).fetch(["m"]) == ["m"]


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelUnavailable, match=r"org/model could not be fetched .* check the network"):
        store(tmp_path).fetch(["m"])
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_repository_and_a_missing_file_say_so(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="other/model is not on the hub"):
        store(tmp_path, id="other/model").fetch(["m"])
    with pytest.raises(ModelUnavailable, match=r"has no file tokenizer\.json at 0123456789ab"):
        store(tmp_path, files=["*.safetensors", "tokenizer.json"]).fetch(["m"])


def test_a_repository_without_safetensors_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"pytorch_model.bin": b"a pickle", "config.json": b"{}"}
    with pytest.raises(ModelUnavailable, match="has no safetensors"):
        store(tmp_path).fetch(["m"])
    assert hub.asked == []


def test_a_pickle_among_the_wanted_files_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files |= {"weights/model.pt": b"a pickle"}
    with pytest.raises(ModelUnavailable, match=r"weights/model\.pt is refused: a pickle can run code"):
        store(tmp_path, files=["*.safetensors", "weights/*"]).fetch(["m"])


def test_a_pattern_for_pickles_is_refused_by_the_manifest(tmp_path: Path) -> None:
    for pattern in ("*.pt", "pytorch_model.bin", "*.ckpt"):
        with pytest.raises(ValueError, match="can run code when it is read"):
            store(tmp_path, files=[pattern])
    assert store(tmp_path, files=["model.bin"], data_files=["model.bin"])


def test_tensors_in_a_pickle_become_safetensors_while_they_are_fetched(hub: Hub, tmp_path: Path) -> None:
    torch.save({"weight": torch.arange(6.0).reshape(2, 3)}, tmp_path / "tensors")
    hub.files = {"pytorch_model.bin": (tmp_path / "tensors").read_bytes(), "config.json": b"{}"}
    models = store(tmp_path / "store", convert="pytorch_model.bin")
    models.fetch(["m"])
    folder = tmp_path / "store" / "m"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", LOCK_FILE, "model.safetensors"]
    assert load_file(folder / "model.safetensors")["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert models.verify()[0].state == "present"


def test_safetensors_are_taken_where_there_are_both(hub: Hub, tmp_path: Path) -> None:
    hub.files["pytorch_model.bin"] = b"a pickle"
    store(tmp_path, convert="pytorch_model.bin").fetch(["m"])
    assert hub.downloads("pytorch_model.bin") == 0


class Dangerous:
    """Unpickling this would call a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/reelscope-was-here"),))


def test_a_pickle_that_holds_more_than_tensors_is_refused_and_not_kept(hub: Hub, tmp_path: Path) -> None:
    torch.save({"weight": Dangerous()}, tmp_path / "tensors")
    hub.files = {"pytorch_model.bin": (tmp_path / "tensors").read_bytes()}
    with pytest.raises(ModelUnavailable, match="it holds more than tensors"):
        store(tmp_path / "store", convert="pytorch_model.bin").fetch(["m"])
    assert not Path("/tmp/reelscope-was-here").exists()
    assert not list((tmp_path / "store").rglob("*.bin"))


def test_a_folder_of_the_users_own_is_local_and_left_alone(hub: Hub, tmp_path: Path) -> None:
    own = tmp_path / "m"
    own.mkdir()
    (own / "model.safetensors").write_bytes(b"mine")
    models = store(tmp_path)
    assert models.entries()[0].state == "local"
    assert models.fetch(["m"]) == []
    assert (own / "model.safetensors").read_bytes() == b"mine"
    mark_random(own)
    assert models.entries()[0].detail == "random weights"


def test_what_was_fetched_says_its_commit_in_every_result(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = store(tmp_path, revision=None)
    models.fetch(["m"])
    monkeypatch.setattr("analyzers.models.hub.read_manifest", lambda: models.manifest)
    assert locate(tmp_path, "m", "toy").revision == NEWEST
    (tmp_path / "m" / "config.json").unlink()
    with pytest.raises(
        ModelUnavailable, match=r"toy: org/model .* config\.json is missing; run `reelscope models fetch m`"
    ):
        locate(tmp_path, "m", "toy")


def test_the_list_can_be_read_at_eighty_columns(hub: Hub, tmp_path: Path) -> None:
    models = store(tmp_path, commercial=False)
    models.fetch(["m"])
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(hub_table(models.entries(), {"m"}))
    text = console.export_text()
    assert max(len(line) for line in text.splitlines()) <= 80
    for said in ("* m", "present", "MIT, not for commercial use", "for toy", f"org/model at {COMMIT[:12]}"):
        assert said in text
