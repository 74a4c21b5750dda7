"""Stopping and deleting jobs, in every state and at every moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from serve_app.jobs.interface import Submission
from serve_app.problems import Problem
from tests.serve_app.jobs.conftest import Services
from tests.serve_app.jobs.scripted import (
    ScriptedAnalysis,
    ScriptedFetcher,
    all_events,
    ended,
    settings_of,
    told,
    upload,
)

POST = Submission(kind="url", source="https://host/1")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_queued_job_is_cancelled(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path), begin=False)
    job, _ = await service.submit(upload(tmp_path / "up"))
    cancelled = await service.cancel(job.id, "")
    assert cancelled is not None and cancelled.state == "cancelled" and cancelled.ended_at is not None
    assert not files_below(tmp_path / "data" / "spool")
    assert told(await all_events(service, job.id)) == ["job queued", "done cancelled"]


async def test_a_fetch_is_cancelled_and_its_file_is_gone(
    serving: Services, tmp_path: Path, fetcher: ScriptedFetcher
) -> None:
    service = await serving(settings_of(tmp_path))
    fetcher.go_on.clear()
    job, _ = await service.submit(POST)
    await fetcher.half_way.wait()
    assert files_below(tmp_path / "data" / "spool")
    cancelled = await service.cancel(job.id, "")
    assert cancelled is not None and cancelled.state == "cancelled"
    assert fetcher.running == 0 and not files_below(tmp_path / "data" / "spool")


async def test_a_running_job_is_cancelled_and_what_it_held_is_free_at_once(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path, serve={"videos_in_flight": 1}))
    analysis.hold("sound")
    job, _ = await service.submit(upload(tmp_path / "up", "one"))
    waiting, _ = await service.submit(upload(tmp_path / "up", "two"))
    await analysis.reached("sound")
    listening = asyncio.create_task(all_events(service, job.id))
    cancelled = await service.cancel(job.id, "")
    assert cancelled is not None and (cancelled.state, cancelled.media_kept) == ("cancelled", False)
    assert told(await asyncio.wait_for(listening, 60))[-1] == "done cancelled"
    analysis.let_go("sound")
    assert (await ended(service, waiting.id)).state == "done"
    assert [path.read_text() for path in files_below(tmp_path / "data" / "files" / "media")] == ["two"]
    with pytest.raises(Problem) as none:
        await service.report(job.id, "")
    assert none.value.code == "job_ended"


async def test_a_mere_cancel_does_not_delete_what_has_ended(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path))
    job, _ = await service.submit(upload(tmp_path / "up"))
    await ended(service, job.id)
    kept = await service.cancel(job.id, "", keep=True)
    assert kept is not None and kept.state == "done"
    assert (await service.report(job.id, "")).analyzers


async def test_a_job_that_has_ended_is_deleted_with_all_that_is_its_own(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path))
    job, _ = await service.submit(upload(tmp_path / "up"))
    await ended(service, job.id)
    assert len(files_below(tmp_path / "data" / "files")) == 2
    assert await service.cancel(job.id, "") is None
    assert not files_below(tmp_path / "data" / "files")
    with pytest.raises(Problem) as gone:
        await service.cancel(job.id, "")
    assert gone.value.code == "not_found"


async def test_what_another_job_refers_to_stays(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path))
    first, _ = await service.submit(upload(tmp_path / "up", name="one.mp4"))
    await ended(service, first.id)
    second, _ = await service.submit(upload(tmp_path / "up", name="two.mp4"))
    assert (await ended(service, second.id)).from_store
    assert await service.media(first.id, "") == await service.media(second.id, "")
    await service.cancel(first.id, "")
    assert (await service.report(second.id, "")).video.source == "two.mp4"
    assert (await service.media(second.id, "")).read_text() == "a video"
    await service.cancel(second.id, "")
    assert not files_below(tmp_path / "data" / "files")


async def test_cancelled_twice_at_once_it_is_cancelled_once(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    analysis.hold("sound")
    job, _ = await service.submit(upload(tmp_path / "up"))
    await analysis.reached("sound")
    answers = await asyncio.gather(*(service.cancel(job.id, "") for _ in range(5)))
    assert [answer.state for answer in answers if answer is not None] == ["cancelled"] * 5
    assert told(await all_events(service, job.id)).count("done cancelled") == 1
    assert analysis.running == 0


async def test_cancelled_at_any_moment_a_job_ends_once_and_nothing_is_left(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    states = set()
    for moment in range(25):
        job, _ = await service.submit(upload(tmp_path / "up", f"{moment}"))
        await asyncio.sleep(moment * 0.002)
        answer = await service.cancel(job.id, "")
        if answer is None:
            states.add("deleted")
            continue
        states.add(answer.state)
        events = told(await all_events(service, job.id))
        assert [event for event in events if event.startswith("done")] == [f"done {answer.state}"]
        await service.cancel(job.id, "")
    assert "cancelled" in states
    assert analysis.running == 0 and not service._tasks
    assert not files_below(tmp_path / "data" / "files") and not files_below(tmp_path / "data" / "spool")


async def test_a_cancel_goes_on_when_whoever_asked_has_gone(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    analysis.hold("sound")
    job, _ = await service.submit(upload(tmp_path / "up"))
    await analysis.reached("sound")
    asking = asyncio.create_task(service.cancel(job.id, ""))
    await asyncio.sleep(0)
    asking.cancel()
    assert (await ended(service, job.id)).state == "cancelled"
    async with asyncio.timeout(60):
        while analysis.running:  # noqa: ASYNC110 - the run itself is looked at
            await asyncio.sleep(0.01)
