"""Analyzers and a fetcher that do what a test tells them, so that every moment of a job's life can be held."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.engine import Event, Progress
from pipeline.errors import MediaUnreadable
from pipeline.graph import Graph
from pipeline.results import AnalyzerResult, ErrorInfo, RunFigures, VideoFacts, VideoReport
from pipeline.settings import Settings
from pipeline.types import AUDIO, SCAN, AnalyzerSpec
from serve_app.jobs.interface import Submission
from serve_app.jobs.service import JobService
from serve_app.schemas import AnalyzerHealth, Job, JobEvent

SPECS = (
    AnalyzerSpec("brightness", "1", SCAN),
    AnalyzerSpec("sound", "1", AUDIO),
    AnalyzerSpec("needs", "1", None, after=("brightness",)),
)
NAMES = ["brightness", "needs", "sound"]
BAD = b"no video"


class ScriptedAnalysis:
    """Three analyzers that answer at once, unless a test holds one or has it fail.

    A file that begins with `BAD` cannot be probed; any other is a video of `duration_s`.
    """

    def __init__(self, *specs: AnalyzerSpec) -> None:
        self.graph = Graph(specs or SPECS)
        self.failing: set[str] = set()
        self.error: Exception | None = None
        self.duration_s = 10.0
        self.steps = 1
        self.probed: list[Path] = []
        self.runs: list[tuple[VideoFacts, Sequence[str] | None, dict[str, AnalyzerResult]]] = []
        self.running = 0
        self.most_running = 0
        self._held: dict[str, asyncio.Event] = {}
        self._reached: dict[str, asyncio.Event] = {}

    def hold(self, name: str) -> None:
        """This analyzer does not end until it is let go."""
        self._held[name] = asyncio.Event()
        self._reached[name] = asyncio.Event()

    def let_go(self, name: str) -> None:
        self._held.pop(name).set()

    async def reached(self, name: str) -> None:
        """Wait until a run has come to an analyzer that is held."""
        await asyncio.wait_for(self._reached[name].wait(), 60)

    async def probe(self, source: str | Path) -> VideoFacts:
        self.probed.append(Path(source))
        data = await asyncio.to_thread(Path(source).read_bytes)
        if data.startswith(BAD):
            raise MediaUnreadable(f"{Path(source).name} is no video")
        sha256 = hashlib.sha256(data).hexdigest()
        return VideoFacts(source=str(source), sha256=sha256, bytes=len(data), duration_s=self.duration_s)

    async def stream(
        self,
        source: str | Path | VideoFacts,
        analyzers: Sequence[str] | None = None,
        given: Mapping[str, AnalyzerResult] | None = None,
    ) -> AsyncGenerator[Event, None]:
        assert isinstance(source, VideoFacts)
        given = dict(given or {})
        self.runs.append((source, analyzers, given))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            results = dict(given)
            for name in self.graph.closure(analyzers).names:
                if name in given:
                    continue
                for step in range(1, self.steps + 1):
                    yield Progress(name, self.duration_s * step / self.steps, self.duration_s)
                if name in self._held:
                    self._reached[name].set()
                    await self._held[name].wait()
                if self.error is not None:
                    raise self.error
                results[name] = self.result(name, source.sha256)
                yield results[name]
            yield report_of(source, results)
        finally:
            self.running -= 1

    def result(self, name: str, sha256: str = "") -> AnalyzerResult:
        if name in self.failing:
            error = ErrorInfo(type="RuntimeError", message="told to")
            return AnalyzerResult(name=name, version="1", status="failed", reason="told to", error=error)
        return ok(name, sha256)

    async def health(self) -> dict[str, AnalyzerHealth]:
        return {name: AnalyzerHealth(state="ready") for name in self.graph.specs}


def ok(name: str, about: str = "", version: str = "1") -> AnalyzerResult:
    report = {"segments": [], "summary": {"about": about}}
    return AnalyzerResult(name=name, version=version, status="ok", report=report)


def about(result: AnalyzerResult) -> str:
    """The content that a result of `ok` is about."""
    assert result.report is not None
    return str(result.report["summary"]["about"])


def report_of(facts: VideoFacts, results: Mapping[str, AnalyzerResult]) -> VideoReport:
    figures: dict[str, Any] = dict.fromkeys(("wall_s", "rtf", "speed_x", "decode_s", "overlap"), 1.0)
    run = RunFigures(**figures, decode_passes=1, host={}, versions={})
    return VideoReport(
        created_at=datetime.now(UTC), profile="embedded", video=facts, analyzers=dict(sorted(results.items())), run=run
    )


@dataclass(frozen=True)
class Fetched:
    path: Path


class ScriptedFetcher:
    """Writes the URL into a file, in two steps; a test may hold it between them or have it fail."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.running = 0
        self.most_running = 0
        self.error: Exception | None = None
        self.half_way = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def fetch(
        self, url: str, folder: Path, on_progress: Callable[[int, int | None], None] | None = None
    ) -> Fetched:
        self.fetched.append(url)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            path = folder / "post.mp4"
            await asyncio.to_thread(path.write_text, url)
            if on_progress is not None:
                on_progress(len(url) // 2, len(url))
            self.half_way.set()
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            return Fetched(path)
        finally:
            self.running -= 1


def settings_of(folder: Path, **more: Any) -> Settings:
    """Settings of a service whose data, and media roots, lie below a folder."""
    media = folder / "media"
    media.mkdir(exist_ok=True)
    return Settings(**{"data_dir": folder / "data", "media_roots": [media], **more})


def upload(folder: Path, content: str = "a video", name: str = "clip.mp4", **more: Any) -> Submission:
    """A submission of a file that was uploaded."""
    folder.mkdir(exist_ok=True)
    path = folder / f"upload-{len(list(folder.iterdir()))}"
    path.write_text(content)
    return Submission(kind="upload", source=name, upload=path, **more)


def server_file(settings: Settings, content: str = "a video", name: str = "clip.mp4", **more: Any) -> Submission:
    """A submission of a file below the media root."""
    path = settings.media_roots[0].resolve() / name
    path.write_text(content)
    return Submission(kind="path", source=str(path), **more)


async def ended(service: JobService, job_id: str, owner: str = "") -> Job:
    return await asyncio.wait_for(service.wait(job_id, owner), 60)


async def state_reached(service: JobService, job_id: str, state: str, owner: str = "") -> Job:
    """The job once it is in that state."""
    async with asyncio.timeout(60):
        while (job := await service.get(job_id, owner)).state != state:  # noqa: ASYNC110 - as a caller would look
            await asyncio.sleep(0.01)
    return job


async def all_events(service: JobService, job_id: str, after: int = 0, owner: str = "") -> list[JobEvent]:
    async with asyncio.timeout(60):
        return [event async for event in service.events(job_id, owner, after)]


def kept(events: list[JobEvent]) -> list[JobEvent]:
    return [event for event in events if event.id is not None]


def told(events: list[JobEvent]) -> list[str]:
    """Kept events in short: the type, and the state or the analyzer's name."""
    return [f"{event.type} {event.data.get('state') or event.data.get('name')}" for event in kept(events)]
