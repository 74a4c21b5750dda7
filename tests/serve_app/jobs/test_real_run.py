"""Jobs over the real engine with toy analyzers; and what many jobs leave behind: nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine import Engine, Event, Given
from pipeline.graph import Graph
from pipeline.registry import specs_of
from pipeline.results import AnalyzerResult, VideoFacts
from pipeline.settings import Settings
from pipeline.source import FrameSource
from serve_app.jobs.interface import Submission
from serve_app.schemas import AnalyzerHealth
from tests.serve_app.jobs.conftest import Services
from tests.serve_app.jobs.scripted import ScriptedAnalysis, all_events, ended, settings_of, told, upload
from tests.support import content, running
from tests.toys import Brightness, FailsOnChunk, Needs, Slow, Sound

TOYS = (Brightness, Needs, Sound, Slow)


class EngineAnalysis:
    """What a `Session` does, over an engine of `tests.support.running`."""

    def __init__(self, engine: Engine, source: FrameSource, *classes: Any) -> None:
        self._engine, self._source = engine, source
        self._classes = {one.spec.name: one for one in classes}
        self.graph = Graph(specs_of(self._classes, Settings()).values())

    async def probe(self, source: str | Path) -> VideoFacts:
        return await self._source.probe(str(source))

    async def stream(
        self,
        source: str | Path | VideoFacts,
        analyzers: Sequence[str] | None = None,
        given: Mapping[str, AnalyzerResult] | None = None,
    ) -> AsyncGenerator[Event, None]:
        assert isinstance(source, VideoFacts)
        models = {name: one.report_model for name, one in self._classes.items()}
        known = [Given(one, models[one.name].model_validate(one.report)) for one in (given or {}).values()]
        async for event in self._engine.run(source, None if analyzers is None else list(analyzers), dict, known):
            yield event

    async def health(self) -> dict[str, AnalyzerHealth]:
        return {name: AnalyzerHealth(state="ready") for name in self.graph.specs}


def copied(clip: Path, folder: Path) -> Submission:
    folder.mkdir(exist_ok=True)
    path = folder / "upload"
    shutil.copy(clip, path)
    return Submission(kind="upload", source="clip.mp4", upload=path)


async def test_a_clip_goes_through_the_engine_and_a_rerun_gives_the_same(
    serving: Services, tmp_path: Path, clip: Path
) -> None:
    async with running(*TOYS) as (engine, source, _):
        service = await serving(settings_of(tmp_path), analysis=EngineAnalysis(engine, source, *TOYS))
        job, _ = await service.submit(copied(clip, tmp_path / "up"))
        events = await all_events(service, job.id)
        assert events[-1].data["state"] == "done"
        assert any(event.type == "progress" for event in events)
        report = await service.report(job.id, "")
        assert {result.status for result in report.analyzers.values()} == {"ok"}
        assert (report.video.source, report.video.frames) == ("clip.mp4", 90)
        again, _ = await service.submit(Submission("upload", "", based_on=job.id, analyzers=("brightness",)))
        assert (await ended(service, again.id)).state == "done"
        assert content(await service.report(again.id, "")) == content(report)
        await service.close()


async def test_a_clip_that_was_interrupted_ends_with_the_same_report(
    serving: Services, tmp_path: Path, clip: Path
) -> None:
    async with running(*TOYS) as (engine, source, _):
        analysis = EngineAnalysis(engine, source, *TOYS)
        first = await serving(settings_of(tmp_path), analysis=analysis)
        job, _ = await first.submit(copied(clip, tmp_path / "up"))
        stream = first.events(job.id, "")
        async for event in stream:
            if event.type == "analyzer.completed":
                break
        await stream.aclose()
        await first.close()
        service = await serving(settings_of(tmp_path), analysis=analysis)
        assert (await ended(service, job.id)).attempts == 2
        whole = await serving(settings_of(tmp_path, data_dir=tmp_path / "other"), analysis=analysis)
        other, _ = await whole.submit(copied(clip, tmp_path / "up"))
        await ended(whole, other.id)
        reports = [content(await one.report(job_id, "")) for one, job_id in ((service, job.id), (whole, other.id))]
        assert reports[0]["analyzers"] == reports[1]["analyzers"] and reports[0]["coverage"] == reports[1]["coverage"]
        for one in (service, whole):
            await one.close()


async def test_an_analyzer_that_fails_is_told_and_its_job_is_done(
    serving: Services, tmp_path: Path, clip: Path
) -> None:
    classes = (FailsOnChunk, Needs, Sound)
    async with running(*classes) as (engine, source, _):
        service = await serving(settings_of(tmp_path), analysis=EngineAnalysis(engine, source, *classes))
        job, _ = await service.submit(copied(clip, tmp_path / "up"))
        events = told(await all_events(service, job.id))
        assert {"analyzer.failed brightness", "analyzer.completed needs", "analyzer.completed sound"} <= set(events)
        done = await service.get(job.id, "")
        assert {name: state.status for name, state in done.analyzers.items()} == {
            "brightness": "failed",
            "needs": "skipped",
            "sound": "ok",
        }
        await service.close()


async def test_a_run_is_cancelled_in_the_middle_of_decoding(serving: Services, tmp_path: Path, clip: Path) -> None:
    async with running(Slow) as (engine, source, _):
        service = await serving(settings_of(tmp_path), analysis=EngineAnalysis(engine, source, Slow))
        job, _ = await service.submit(copied(clip, tmp_path / "up"))
        stream = service.events(job.id, "")
        async for event in stream:
            if event.type == "progress":
                break
        await stream.aclose()
        async with asyncio.timeout(10):
            cancelled = await service.cancel(job.id, "")
        assert cancelled is not None and cancelled.state == "cancelled"
        assert engine._budget.used == 0
        await service.close()


async def test_many_jobs_leave_tasks_files_and_memory_where_they_were(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))

    async def jobs(count: int, name: str) -> None:
        for number in range(count):
            job, _ = await service.submit(upload(tmp_path / "up", f"{name} {number}"))
            await all_events(service, job.id)
            if number % 5 == 4:
                await service.cancel(job.id, "")
        analysis.runs.clear()
        analysis.probed.clear()
        async with asyncio.timeout(60):
            while service._tasks:  # noqa: ASYNC110 - what a job does after its end
                await asyncio.sleep(0.01)
        gc.collect()

    await jobs(10, "first")  # what is made once
    tasks, handles = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
    before = len(gc.get_objects())
    await jobs(50, "second")
    more = len(gc.get_objects()) - before
    assert len(asyncio.all_tasks()) == tasks
    assert len(os.listdir("/proc/self/fd")) <= handles
    assert more < 250, f"{more} objects more after 50 jobs"
    assert len(service._backend.feeds) == 0 and not service._tasks and not service._calls
    assert not list((tmp_path / "data" / "spool").iterdir())


@pytest.mark.parametrize("how_many", [8])
async def test_submissions_from_all_sides_are_all_done(serving: Services, tmp_path: Path, how_many: int) -> None:
    service = await serving(settings_of(tmp_path))
    asked = [upload(tmp_path / "up", f"{number}", owner=f"{number % 3}") for number in range(how_many)]
    jobs = [job for job, _ in await asyncio.gather(*(service.submit(one) for one in asked))]
    done = await asyncio.gather(*(ended(service, job.id, one.owner) for job, one in zip(jobs, asked, strict=True)))
    assert {job.state for job in done} == {"done"}
