"""What listeners are told: all that is kept, once, in order, however slow or late they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.engine import Progress
from serve_app.jobs.events import Feed, Feeds
from serve_app.jobs.interface import Submission
from serve_app.problems import Problem
from serve_app.schemas import JobEvent
from tests.serve_app.jobs.conftest import Services
from tests.serve_app.jobs.scripted import (
    NAMES,
    ScriptedAnalysis,
    ScriptedFetcher,
    all_events,
    ended,
    kept,
    settings_of,
    told,
    upload,
)


async def test_a_listener_resumes_after_the_last_event_that_it_has(
    serving: Services, tmp_path: Path, database_url: str
) -> None:
    service = await serving(settings_of(tmp_path, store={"database_url": database_url}))
    job, _ = await service.submit(upload(tmp_path / "up"))
    await ended(service, job.id)
    events = kept(await all_events(service, job.id))
    for after in range(len(events)):
        assert kept(await all_events(service, job.id, after)) == events[after:]
    assert await all_events(service, job.id, len(events)) == []
    assert await all_events(service, job.id, 10**30) == []
    assert kept(await all_events(service, job.id, -(10**30))) == events


async def test_an_event_shows_the_state_that_the_job_came_into(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path))
    job, _ = await service.submit(upload(tmp_path / "up"))
    await ended(service, job.id)
    jobs = [event.data for event in await all_events(service, job.id) if event.type in ("job", "done")]
    assert [(data["state"], data["ended_at"] is None) for data in jobs] == [
        ("queued", True),
        ("running", True),
        ("running", True),
        ("done", False),
    ]


async def test_listeners_at_every_moment_are_told_the_same(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    """Some listen from the start, some join in the middle of it, some read slowly; none misses or repeats anything."""
    service = await serving(settings_of(tmp_path))
    for name in NAMES:
        analysis.hold(name)
    job, _ = await service.submit(upload(tmp_path / "up"))

    async def listen(pause_s: float) -> list[JobEvent]:
        events = []
        async for event in service.events(job.id, ""):
            events.append(event)
            await asyncio.sleep(pause_s)
        return events

    listeners = [asyncio.create_task(listen(pause_s)) for pause_s in (0, 0, 0.05)]
    for name in analysis.graph.closure().names:
        await analysis.reached(name)
        listeners += [asyncio.create_task(listen(pause_s)) for pause_s in (0, 0.02)]
        await asyncio.sleep(0)
        analysis.let_go(name)
        listeners.append(asyncio.create_task(listen(0)))
    heard = await asyncio.wait_for(asyncio.gather(*listeners), 60)
    expected = told(await all_events(service, job.id))
    assert [told(events) for events in heard] == [expected] * len(listeners)
    for events in heard:
        assert [event.id for event in kept(events)] == list(range(1, len(expected) + 1))
        assert events[-1].type == "done"


async def test_who_joins_late_is_told_the_present_progress(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    analysis.hold("sound")
    job, _ = await service.submit(upload(tmp_path / "up"))
    await analysis.reached("sound")
    stream = service.events(job.id, "", 3)
    events = [event async for event in _until(stream, "progress")]
    assert events[-1].id is None
    assert events[-1].data["analyzers"]["sound"] == {"done_s": 10.0, "total_s": 10.0}
    assert (await service.get(job.id, "")).analyzers["sound"].done_s == 10.0
    await stream.aclose()
    analysis.let_go("sound")
    await ended(service, job.id)


async def test_a_fetch_tells_its_bytes(serving: Services, tmp_path: Path, fetcher: ScriptedFetcher) -> None:
    service = await serving(settings_of(tmp_path))
    fetcher.go_on.clear()
    job, _ = await service.submit(Submission(kind="url", source="https://host/1"))
    stream = service.events(job.id, "")
    events = [event async for event in _until(stream, "progress")]
    assert events[-1].data == {"analyzers": {}, "fetched_bytes": 7, "fetch_bytes": 14}
    await stream.aclose()
    fetcher.go_on.set()
    await ended(service, job.id)


async def test_progress_is_told_a_few_times_a_second_and_only_what_moved() -> None:
    feed = Feed()
    woken, seen, step = 0, [], 0
    started_s = asyncio.get_running_loop().time()

    async def listen() -> None:
        nonlocal woken, step
        while not feed.closed:
            changed = feed.changed
            data, step = feed.moved(step)
            if data:
                woken += 1
                seen.append(data["analyzers"])
            await changed.wait()

    listening = asyncio.create_task(listen())
    for number in range(300):
        feed.progress(Progress("sound", number / 10, 30))
        if number == 100:
            feed.progress(Progress("brightness", 1, 30))
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.3)
    took_s = asyncio.get_running_loop().time() - started_s
    feed.close()
    await listening
    assert 2 <= woken <= took_s / 0.2 + 3
    assert sum("brightness" in analyzers for analyzers in seen) == 1
    assert seen[-1] == {"sound": {"done_s": 29.9, "total_s": 30}}


async def test_a_listener_that_reads_nothing_holds_nothing(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    """A thousand steps of progress later, it is told the newest of each analyzer."""
    service = await serving(settings_of(tmp_path))
    analysis.steps = 1000
    analysis.hold("sound")
    job, _ = await service.submit(upload(tmp_path / "up"))
    stream = service.events(job.id, "")
    first = await anext(stream)
    assert first.id == 1
    await analysis.reached("sound")
    analysis.let_go("sound")
    await ended(service, job.id)
    rest = [event async for event in stream]
    assert len([event for event in rest if event.id is None]) <= 3
    assert [event.id for event in kept(rest)] == list(range(2, 8))


async def test_idle_listeners_ask_nothing_and_leave_nothing(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await serving(settings_of(tmp_path))
    analysis.hold("sound")
    job, _ = await service.submit(upload(tmp_path / "up"))
    await analysis.reached("sound")
    tasks = len(asyncio.all_tasks())
    streams = [service.events(job.id, "", 999) for _ in range(64)]
    waiting = [asyncio.create_task(anext(stream, None)) for stream in streams]  # type: ignore[arg-type]
    await asyncio.gather(*waiting)  # the first answer of each is the present progress; after it nothing moves
    asked = 0
    call = service._backend.db

    async def counted(*args: object) -> object:
        nonlocal asked
        asked += 1
        return await call(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(service._backend, "db", counted)
    waiting = [asyncio.create_task(anext(stream, None)) for stream in streams]  # type: ignore[arg-type]
    await asyncio.sleep(0.5)
    assert asked == 0 and not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for stream in streams:
        await stream.aclose()
    assert len(asyncio.all_tasks()) == tasks
    analysis.let_go("sound")
    await ended(service, job.id)
    await service.drain(60)  # the job's own work after its end
    assert len(service._backend.feeds) == 0


async def test_listeners_of_a_deleted_job_are_sent_home(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    job, _ = await service.submit(upload(tmp_path / "up"))
    await ended(service, job.id)
    stream = service.events(job.id, "")
    await anext(stream)
    assert await service.cancel(job.id, "") is None
    rest = [event async for event in stream]
    assert "done" not in [event.type for event in rest]  # there is no job any more that it could show
    with pytest.raises(Problem) as gone:
        await all_events(service, job.id)
    assert gone.value.code == "not_found"


async def test_listeners_are_sent_home_when_the_service_ends(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    analysis.hold("sound")
    job, _ = await service.submit(upload(tmp_path / "up"))
    await analysis.reached("sound")
    listening = asyncio.create_task(all_events(service, job.id))
    waiting = asyncio.create_task(service.wait(job.id, ""))
    await asyncio.sleep(0.1)
    await service.drain(0)
    assert (await asyncio.wait_for(listening, 60))[-1].type != "done"
    with pytest.raises(Problem) as stopping:
        await waiting
    assert stopping.value.code == "stopping"


def test_feeds_are_there_as_long_as_somebody_holds_them() -> None:
    feeds = Feeds()
    with feeds.open("a") as one:
        with feeds.open("a") as two:
            assert one is two and feeds.get("a") is one
        assert feeds.get("a") is one
    assert feeds.get("a") is None and len(feeds) == 0


async def _until(stream: object, kind: str) -> object:
    async with asyncio.timeout(60):
        async for event in stream:  # type: ignore[attr-defined]
            yield event
            if event.type == kind:
                return
