"""The service as `reelscope serve` runs it: Ray, Serve, real analyzers, a stop in the middle and a start after it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from pipeline.registry import discover
from serve_app.service import lock_folder
from tests.media.encode import write_clip
from tests.media.patterns import moving_pattern, tone

ROOT = Path(__file__).resolve().parents[2]
WANTED = ("cut_analysis", "color_analysis", "audio_analysis")
START_S_MAX = 240
MARK = "MARK_OF_THIS_TEST"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Serving:
    """A running `reelscope serve` with three analyzers."""

    def __init__(self, folder: Path, roots: Path) -> None:
        self.port = free_port()
        disabled = [name for name in discover() if name not in WANTED]
        self.config = folder / "reelscope.toml"
        self.config.write_text(
            f"data_dir = {json.dumps(str(folder / 'data'))}\n"
            f"media_roots = [{json.dumps(str(roots))}]\n"
            f"disabled = {json.dumps(disabled)}\n"
            f"[serve]\nport = {self.port}\ndashboard = false\ndrain_s = 1\n"
            "[ray]\nobject_store_bytes = 200000000\n[engine]\nbytes_in_flight = 100000000\n"
        )
        self.log = folder / "serve.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("REELSCOPE_")}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serve_app.cli", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=inherited | {MARK: str(folder)},
                cwd=ROOT,
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120, trust_env=False)

    def wait(self) -> None:
        deadline = time.monotonic() + START_S_MAX
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            try:
                if self.http.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)

    def stop(self, kind: signal.Signals) -> int:
        self.http.close()
        self.process.send_signal(kind)
        return self.process.wait(90)

    def events(self, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        with self.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event:"):
                    kind = line[6:].strip()
                elif line.startswith("data:"):
                    yield kind, json.loads(line[5:])


@contextmanager
def serving(folder: Path, roots: Path) -> Iterator[Serving]:
    server = Serving(folder, roots)
    try:
        server.wait()
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGTERM)


@pytest.mark.timeout(600)
def test_the_service_from_start_to_stop_and_again(clip: Path, tmp_path: Path) -> None:
    roots = tmp_path / "media"
    roots.mkdir()
    sample = roots / "sample.mp4"
    sample.write_bytes(clip.read_bytes())
    long = write_clip(tmp_path / "long.mp4", moving_pattern(640, 360, 3000), sound=tone(440.0, 100.0))
    with serving(tmp_path, roots) as server:
        health = server.http.get("/health").json()
        assert health["status"] == "ok"
        states = {name: found["state"] for name, found in health["analyzers"].items()}
        assert {states[name] for name in WANTED} == {"ready"}
        assert states["text_overlay"] == "skipped"
        _original_bodies(server, sample)
        done = _upload(server, clip)
        assert "reelscope" in server.http.get("/metrics").text or "ray_" in server.http.get("/metrics").text
        with long.open("rb") as file:
            running = server.http.post("/v1/jobs", files={"file": ("long.mp4", file)}).json()["id"]
        for kind, data in server.events(running):
            if kind == "job" and data["state"] == "running":
                break
        assert server.stop(signal.SIGTERM) == 0, server.log.read_text()
    assert not _left_of(tmp_path), "nothing is left"
    with serving(tmp_path, roots) as server:
        assert server.http.get(f"/v1/jobs/{done}/result").json()["analyzers"]["cut_analysis"]["status"] == "ok"
        assert [data["state"] for kind, data in server.events(running) if kind == "done"] == ["done"]
        job = server.http.get(f"/v1/jobs/{running}").json()
        assert job["attempts"] == 2, "it went on where it was interrupted"
        assert server.stop(signal.SIGINT) == 0, server.log.read_text()


def _original_bodies(server: Serving, sample: Path) -> None:
    answer = server.http.post("/analyze", json={"video_path": str(sample), "analyzers": ["cut_analysis"]})
    assert answer.status_code == 200, answer.text
    assert list(answer.json()["analyzers"]) == ["cut_analysis"]
    assert answer.json()["analyzers"]["cut_analysis"]["report"]["segments"][-1]["end"] == 3
    assert answer.json()["video"]["source"] == str(sample)
    refused = server.http.post("/analyze", json={"tiktok_url": "https://example.com/video/1"})
    assert (refused.status_code, refused.json()["code"]) == (422, "url_not_allowed")


def _upload(server: Serving, clip: Path) -> str:
    with clip.open("rb") as file:
        answer = server.http.post("/v1/jobs", files={"file": ("clip.mp4", file)}, data={"analyzers": ",".join(WANTED)})
    assert answer.status_code == 202, answer.text
    events = list(server.events(answer.json()["id"]))
    assert {data["name"] for kind, data in events if kind == "analyzer.completed"} == set(WANTED)
    assert events[-1][0] == "done"
    return str(answer.json()["id"])


def _left_of(folder: Path) -> list[psutil.Process]:
    """Processes of the service that was started with this folder's settings."""
    found = psutil.process_iter(["environ"])
    return [process for process in found if str(folder) in str((process.info["environ"] or {}).get(MARK, ""))]


def test_an_address_beyond_loopback_needs_a_key(tmp_path: Path) -> None:
    done = _serve("--host", "0.0.0.0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "key" in done.stderr


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = _serve("--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "choose another with --port" in done.stderr


def _serve(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serve_app.cli", "serve", "--data-dir", str(cwd), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


def test_a_data_folder_belongs_to_one_service(tmp_path: Path) -> None:
    held = lock_folder(tmp_path, 0.0)
    done = _serve("--port", str(free_port()), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "another service has the data folder" in done.stderr
    held.close()
    lock_folder(tmp_path, 0.0).close()
