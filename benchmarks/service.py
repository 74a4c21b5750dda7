"""What the service costs and how it holds up: `python -m benchmarks.service [--clips 8] [--row 50]`.

Starts `reelscope serve` on a free port with a data folder of its own, over the sample reel. Every figure is of that one
run. Exits 1 when a bar is missed. docs/performance.md explains each figure and keeps the last ones.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import av
import httpx
import psutil
import ray

from benchmarks.measure import Row, median, show
from tests.media.reel import sample_reel

CLIP_S: Final = 10.0
ROW_CLIP_S: Final = 2.0
LISTENERS: Final = 64
IDLE_S: Final = 10.0
HELD_BYTES: Final = 20e6
BOOKKEEPING_BYTES: Final = 200e3
"""Ray Data's own small objects."""
START_S_MAX: Final = 300.0
JOB_S_MAX: Final = 900.0
POST_HOST: Final = Path(__file__).resolve().parents[1] / "tests" / "serve_app" / "post_host"


class Server:
    """A running `reelscope serve`, and what the measurements ask of it."""

    def __init__(self, folder: Path, more: str, **serve: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {"port": self.port, "dashboard": False, **serve}
        config = folder / "serve.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        data_dir = json.dumps(str(folder / "data"))
        config.write_text(f"data_dir = {data_dir}\n{more}[serve]\n" + "\n".join(lines) + "\n")
        self.log = folder / "serve.log"
        command = [sys.executable, "-m", "serve_app.cli", "serve", "--config", str(config)]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self.http = httpx.Client(base_url=self.url, timeout=JOB_S_MAX, trust_env=False)

    def wait(self) -> None:
        """Until it is ready."""
        deadline_s = time.monotonic() + START_S_MAX
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"the service did not come up:\n{self.log.read_text()[-3000:]}")
            try:
                if self.http.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)

    def close(self) -> float:
        """Stop it as Ctrl-C does; returns how long that took in seconds."""
        self.http.close()
        start_s = time.perf_counter()
        self._process.send_signal(signal.SIGINT)
        self._process.wait(120)
        return time.perf_counter() - start_s

    def post(self, path: Path) -> httpx.Response:
        """An upload."""
        with path.open("rb") as file:
            return self.http.post("/v1/jobs", files={"file": (path.name, file, "video/mp4")})

    def job(self, path: Path) -> str:
        """A new job's id."""
        answer = self.post(path)
        answer.raise_for_status()
        return str(answer.json()["id"])

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job when it has ended, told by its event stream."""
        for kind, data in self.events(job_id):
            if kind == "done":
                return data
        raise RuntimeError(f"the events of {job_id} ended without `done`")

    def events(self, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Type and data of each event."""
        with self.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event:"):
                    kind = line[6:].strip()
                elif line.startswith("data:"):
                    yield kind, json.loads(line[5:])

    def replica(self) -> psutil.Process:
        """The process that holds the service."""
        for process in psutil.process_iter(["cmdline"]):
            if "ServeReplica:reelscope" in " ".join(process.info["cmdline"] or ()):
                return process
        raise RuntimeError("there is no replica")

    def processes(self) -> list[psutil.Process]:
        """The replica and Serve's proxy."""
        found = psutil.process_iter(["cmdline"])
        marks = ("ServeReplica:reelscope", "ProxyActor")
        return [one for one in found if any(mark in " ".join(one.info["cmdline"] or ()) for mark in marks)]


class SilentHost:
    """A post host that takes connections and says nothing, for a job that stands still."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"https://{self.host}/@bench/video/1"

    def settings(self) -> str:
        """The `[fetch]` table under which a service asks it."""
        return (
            f'[fetch]\nhosts = ["{self.host}"]\nextractors = ["PostHost"]\nnetworks_allowed = ["127.0.0.0/8"]\n'
            f"plugins = [{json.dumps(str(POST_HOST))}]\n"
        )

    def close(self) -> None:
        """Take no more."""
        self._socket.close()


def main(arguments: list[str]) -> int:
    """Measure and print. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=8, help="clients that post at once")
    parser.add_argument("--row", type=int, default=50, help="jobs one after another")
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="reelscope-bench-") as name:
        folder = Path(name)
        clips, silent = Clips(folder), SilentHost()
        started_s = time.perf_counter()
        with serving(folder / "one", silent.settings(), waiting_max=given.clips - 4) as server:
            rows.append(Row("start: until the first job may run", time.perf_counter() - started_s, "s"))
            server.ended(server.job(clips.next(CLIP_S)))  # fills caches
            for part in (
                lambda: first_event(server, clips),
                lambda: health(server, clips),
                lambda: listeners(server, silent),
                lambda: together(server, clips, given.clips),
                lambda: cancelled(server, clips),
                lambda: in_a_row(server, clips, given.row),
            ):
                rows += part()
                sys.stderr.write(f"{rows[-1].what}: {rows[-1].value:.3g} {rows[-1].unit}\n")
        silent.close()
    show(f"the service on {psutil.cpu_count()} cores, clips of {CLIP_S:g} s in 1080x1920", rows)
    return 0 if all(row.reached for row in rows) else 1


@contextmanager
def serving(folder: Path, more: str, **serve: Any) -> Iterator[Server]:
    """A server that is ready."""
    folder.mkdir(parents=True)
    server = Server(folder, more, **serve)
    try:
        server.wait()
        yield server
    finally:
        server.close()


class Clips:
    """Clips whose pictures and sound are alike and whose bytes differ, so that none is answered from the store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._cut: dict[float, bytes] = {}

    def next(self, length_s: float) -> Path:
        """A new one."""
        if length_s not in self._cut:
            self._cut[length_s] = cut(sample_reel().path, self._folder / f"{length_s:g}.mp4", length_s).read_bytes()
        self._count += 1
        path = self._folder / f"clip-{self._count}.mp4"
        # ISO 14496-12: a `free` box after the others is ignored.
        path.write_bytes(self._cut[length_s] + struct.pack(">I4sQ", 16, b"free", self._count))
        return path


def cut(source: Path, target: Path, length_s: float) -> Path:
    """The first seconds of a file, its packets as they are."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        streams = {stream.index: writer.add_stream_from_template(stream) for stream in reader.streams}
        for packet in reader.demux():
            if packet.dts is not None and packet.pts * packet.time_base < length_s:
                packet.stream = streams[packet.stream.index]
                writer.mux(packet)
    return target


def first_event(server: Server, clips: Clips) -> list[Row]:
    """From a job's start (its ``job`` event with the state running) to the first word of an analyzer."""
    waits, posts = [], []
    for _ in range(3):
        posted_s = time.perf_counter()
        job_id, running_s = server.job(clips.next(CLIP_S)), 0.0
        for kind, data in server.events(job_id):
            now_s = time.perf_counter()
            if kind == "job" and data["state"] == "running" and not running_s:
                running_s = now_s
                posts.append(now_s - posted_s)
            elif kind in ("progress", "analyzer.completed") and len(waits) < len(posts):
                waits.append(now_s - running_s)
    return [
        Row("from the POST to the job's start", median(posts), "s"),
        Row("from the job's start to its first analyzer's event", median(waits), "s", 1.0),
    ]


def health(server: Server, clips: Clips) -> list[Row]:
    """How long `/health` and `/livez` take, idle and while four videos run."""

    def asked(path: str, enough: Callable[[int], bool]) -> list[float]:
        taken = []
        while not enough(len(taken)):
            start_s = time.perf_counter()
            assert server.http.get(path).status_code == 200
            taken.append(time.perf_counter() - start_s)
            time.sleep(0.05)
        return taken

    idle = asked("/health", lambda count: count >= 200)
    jobs = [server.job(clips.next(CLIP_S)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(server.ended, job_id) for job_id in jobs]
        busy = asked("/health", lambda _: all(one.done() for one in waiting))
        assert all(one.result()["state"] == "done" for one in waiting)
    return [
        Row("/health, idle, median", 1e3 * median(idle), "ms"),
        Row("/health, idle, p95", 1e3 * quantile(idle, 0.95), "ms"),
        Row(f"/health while four videos run, median of {len(busy)}", 1e3 * median(busy), "ms"),
        Row("/health while four videos run, p95", 1e3 * quantile(busy, 0.95), "ms", 30.0),
        Row("/health while four videos run, worst", 1e3 * max(busy), "ms"),
    ]


def listeners(server: Server, silent: SilentHost) -> list[Row]:
    """CPU time and memory of the replica and the proxy, with and without listeners of a job where nothing happens."""
    processes = server.processes()

    def cost() -> tuple[float, float]:
        before_s = sum(sum(one.cpu_times()[:2]) for one in processes)
        time.sleep(IDLE_S)
        taken_s = sum(sum(one.cpu_times()[:2]) for one in processes) - before_s
        return taken_s / IDLE_S, sum(one.memory_info().rss for one in processes) / 1e6

    without, without_mb = cost()
    job_id = server.http.post("/v1/jobs", json={"tiktok_url": silent.url}).json()["id"]
    opened, stop = threading.Semaphore(0), threading.Event()

    def listen() -> None:
        with httpx.Client(base_url=server.url, timeout=JOB_S_MAX, trust_env=False) as client:  # noqa: SIM117
            with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
                for _ in answer.iter_lines():
                    opened.release()
                    if stop.is_set():
                        return

    threads = [threading.Thread(target=listen, daemon=True) for _ in range(LISTENERS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert opened.acquire(timeout=60)
    time.sleep(2)
    with_them, with_mb = cost()
    state = server.http.get(f"/v1/jobs/{job_id}").json()["state"]
    assert state == "fetching", f"the job that was to stand still is {state}"
    stop.set()
    server.http.delete(f"/v1/jobs/{job_id}")
    return [
        Row("cores taken by the service, idle", without, ""),
        Row(f"the same with {LISTENERS} idle listeners", with_them, ""),
        Row("difference", with_them - without, "", 0.02),
        Row(f"memory of {LISTENERS} listeners", with_mb - without_mb, "MB"),
    ]


def together(server: Server, clips: Clips, count: int) -> list[Row]:
    """Clients that post a clip each at the same moment, against one alone; and one too many."""
    alone = []
    for _ in range(3):
        path, start_s = clips.next(CLIP_S), time.perf_counter()
        assert server.ended(server.job(path))["state"] == "done"
        alone.append(time.perf_counter() - start_s)
    paths = [clips.next(CLIP_S) for _ in range(count)]
    start_s = time.perf_counter()
    ids = [server.job(path) for path in paths]
    refused = server.post(clips.next(CLIP_S))
    assert refused.status_code == 503, f"one too many was answered {refused.status_code}"
    assert refused.headers["Retry-After"]
    assert refused.json()["code"] == "busy"
    with ThreadPoolExecutor(count) as pool:
        jobs = list(pool.map(server.ended, ids))
    taken_s = time.perf_counter() - start_s
    assert [job["state"] for job in jobs] == ["done"] * count, [job["state"] for job in jobs]
    for job in jobs:
        report = server.http.get(job["links"]["result"]).json()
        failed = [name for name, result in report["analyzers"].items() if result["status"] == "failed"]
        assert not failed, failed
    begun = [job["started_at"] for job in jobs]
    return [
        Row("one clip alone", median(alone), "s"),
        Row(f"{count} clients at once, all done", taken_s, "s"),
        Row("the same over one alone", taken_s / median(alone), "", float(count)),
        Row("started out of turn", float(sum(a > b for a, b in itertools.pairwise(begun))), "", 0),
    ]


def cancelled(server: Server, clips: Clips) -> list[Row]:
    """From DELETE to the moment when the object store holds what it held before the job."""
    ray.init(address="auto", logging_level="ERROR", namespace="bench")
    try:
        waits, held = [], []
        for _ in range(3):
            before = settled(stored_bytes)
            job_id = server.job(clips.next(CLIP_S))
            while stored_bytes() < before + HELD_BYTES:
                time.sleep(0.02)
            held.append((stored_bytes() - before) / 1e6)
            start_s = time.perf_counter()
            answer = server.http.delete(f"/v1/jobs/{job_id}")
            assert answer.json()["state"] == "cancelled", answer.text
            while stored_bytes() > before + BOOKKEEPING_BYTES:
                time.sleep(0.02)
            waits.append(time.perf_counter() - start_s)
    finally:
        ray.shutdown()
    return [
        Row("object store held by a job that is cancelled", median(held), "MB"),
        Row("from DELETE to a free store, worst of 3", max(waits), "s", 2.0),
    ]


def in_a_row(server: Server, clips: Clips, count: int) -> list[Row]:
    """Memory, file handles and the store after many jobs against after the first few of them."""
    replica = server.replica()

    def run(jobs: int) -> None:
        for _ in range(jobs):
            path = clips.next(ROW_CLIP_S)
            assert server.ended(server.job(path))["state"] == "done"
            path.unlink()

    run(max(3, count // 10))
    memory, handles = replica.memory_info().rss, replica.num_fds()
    threads, stored = replica.num_threads(), store_used(server)
    run(count)
    time.sleep(2)
    return [
        Row(
            f"memory of the replica after {count} more jobs", (replica.memory_info().rss - memory) / 1e6, "MB more", 30
        ),
        Row("its file handles", float(replica.num_fds() - handles), "more", 8),
        Row("its threads", float(replica.num_threads() - threads), "more", 8),
        Row("the object store", (store_used(server) - stored) / 1e6, "MB more", 1),
    ]


def store_used(server: Server) -> float:
    """Bytes in the object store, of a driver that comes and goes."""
    ray.init(address="auto", logging_level="ERROR", namespace="bench")
    try:
        return settled(stored_bytes)
    finally:
        ray.shutdown()


def stored_bytes() -> float:
    """Bytes in the object store as Ray knows them now."""
    key = "object_store_memory"
    return float(ray.cluster_resources().get(key, 0.0) - ray.available_resources().get(key, 0.0))


def settled(measure: Callable[[], float]) -> float:
    """A figure once it stands still."""
    last = measure()
    while True:
        time.sleep(0.5)
        now = measure()
        if now == last:
            return now
        last = now


def quantile(values: list[float], share: float) -> float:
    """The value below which that share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
