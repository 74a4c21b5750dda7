"""A job from its submission to its end, in every way that there is to end."""

from __future__ import annotations

import asyncio
import errno
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from pipeline.errors import MediaLimit
from serve_app.jobs.interface import Submission
from serve_app.problems import Problem
from tests.serve_app.jobs.conftest import Services
from tests.serve_app.jobs.scripted import (
    BAD,
    NAMES,
    ScriptedAnalysis,
    ScriptedFetcher,
    all_events,
    ended,
    kept,
    server_file,
    settings_of,
    state_reached,
    told,
    upload,
)

URL = "https://www.tiktok.com/@someone/video/7"


async def test_an_upload_is_probed_analyzed_and_reported(
    serving: Services, tmp_path: Path, database_url: str, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path, store={"database_url": database_url}))
    submitted = upload(tmp_path / "up", request_id="r-1")
    job, new = await service.submit(submitted)
    assert new
    assert (job.state, job.source, job.request_id, job.attempts) == ("queued", "clip.mp4", "r-1", 0)
    assert submitted.upload is not None and not submitted.upload.exists()
    assert job.links.result == f"/v1/jobs/{job.id}/result"

    done = await ended(service, job.id)
    assert (done.state, done.attempts, done.duration_s, done.from_store) == ("done", 1, 10.0, False)
    assert {name: state.status for name, state in done.analyzers.items()} == dict.fromkeys(NAMES, "ok")
    assert done.started_at is not None and done.ended_at is not None and done.created_at <= done.started_at
    assert done.created_at.tzinfo is not None

    report = await service.report(job.id, "")
    assert report.video.source == "clip.mp4"
    assert sorted(report.analyzers) == NAMES
    media = await service.media(job.id, "")
    assert media.read_text() == "a video" and media.suffix == ".mp4"
    assert Path(analysis.runs[0][0].source) == media
    assert not list((tmp_path / "data" / "spool").iterdir())

    events = await all_events(service, job.id)
    assert [event.id for event in kept(events)] == list(range(1, len(kept(events)) + 1))
    assert told(events) == [
        "job queued",
        "job running",
        "job running",
        *(f"analyzer.completed {name}" for name in analysis.graph.closure().names),
        "done done",
    ]
    assert events[-1].data["analyzers"]["sound"] == {"done_s": 10.0, "status": "ok"}
    completed = [event.data for event in events if event.type == "analyzer.completed"]
    assert completed == [report.analyzers[str(data["name"])].model_dump(mode="json") for data in completed]


async def test_a_post_is_fetched_while_another_video_is_analyzed(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis, fetcher: ScriptedFetcher
) -> None:
    service = await serving(settings_of(tmp_path, serve={"videos_in_flight": 1}))
    analysis.hold("sound")
    first, _ = await service.submit(upload(tmp_path / "up"))
    await analysis.reached("sound")
    fetcher.go_on.clear()
    post, _ = await service.submit(Submission(kind="url", source=URL))
    await asyncio.wait_for(fetcher.half_way.wait(), 60)
    fetching = await service.get(post.id, "")
    assert (fetching.state, fetching.fetched_bytes, fetching.fetch_bytes) == ("fetching", len(URL) // 2, len(URL))
    fetcher.go_on.set()
    waiting = await state_reached(service, post.id, "queued")
    assert waiting.fetched_bytes == waiting.fetch_bytes == len(URL)
    assert (await service.get(first.id, "")).state == "running"
    analysis.let_go("sound")
    done = await ended(service, post.id)
    assert (done.state, done.source, done.attempts) == ("done", URL, 1)
    assert (await service.report(post.id, "")).video.source == URL
    assert told(await all_events(service, post.id))[:4] == [
        "job queued",
        "job fetching",
        "job queued",
        "job running",
    ]


async def test_a_server_side_file_stays_where_it_is(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    settings = settings_of(tmp_path)
    service = await serving(settings)
    asked = server_file(settings)
    job, _ = await service.submit(asked)
    done = await ended(service, job.id)
    assert (done.state, done.source) == ("done", "clip.mp4")
    assert await service.media(job.id, "") == Path(asked.source) == Path(analysis.runs[0][0].source)
    assert (await service.report(job.id, "")).video.source == asked.source
    assert not [path for path in (tmp_path / "data" / "files" / "media").rglob("*") if path.is_file()]


async def test_what_is_no_video_fails_under_the_name_that_its_owner_knows(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path))
    job, _ = await service.submit(upload(tmp_path / "up", BAD.decode(), name="holiday.mp4"))
    failed = await ended(service, job.id)
    assert failed.error is not None
    assert (failed.state, failed.error.code) == ("failed", "media_unreadable")
    assert failed.error.detail == "holiday.mp4 is no video"
    assert told(await all_events(service, job.id))[-1] == "done failed"
    assert not list((tmp_path / "data" / "spool").iterdir())
    with pytest.raises(Problem) as none:
        await service.report(job.id, "")
    assert none.value.code == "job_ended"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MediaLimit("frames", 9, 8, "limits.frames_max"), "media_limit"),
        (Problem("extractor_broken", "odd"), "extractor_broken"),
    ],
)
async def test_an_error_of_the_analysis_is_the_jobs_and_nobody_elses(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis, error: Exception, code: str
) -> None:
    service = await serving(settings_of(tmp_path))
    analysis.hold("needs")
    bad, _ = await service.submit(upload(tmp_path / "up", "one"))
    await analysis.reached("needs")
    analysis.error = error
    analysis.let_go("needs")
    failed = await ended(service, bad.id)
    assert failed.error is not None and failed.error.code == code
    assert failed.analyzers["brightness"].status == "ok"  # what was there is still told
    partial = [event for event in await all_events(service, bad.id) if event.type == "analyzer.completed"]
    assert partial[0].data["report"]["summary"]["about"]
    analysis.error = None
    good, _ = await service.submit(upload(tmp_path / "up", "two"))
    assert (await ended(service, good.id)).state == "done"


async def test_an_unexpected_error_is_logged_with_the_request_and_told_without_its_text(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis, caplog: pytest.LogCaptureFixture
) -> None:
    service = await serving(settings_of(tmp_path))
    analysis.error = KeyError("secret")
    job, _ = await service.submit(upload(tmp_path / "up", request_id="r-9"))
    failed = await ended(service, job.id)
    assert failed.error is not None and failed.error.code == "internal" and "secret" not in failed.error.detail
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 1 and logged[0].request_id == "r-9" and logged[0].job_id == job.id  # type: ignore[attr-defined]
    assert "r-9" in logged[0].getMessage()
    caplog.clear()


async def test_a_fetch_that_fails_ends_its_job(
    serving: Services, tmp_path: Path, fetcher: ScriptedFetcher, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    fetcher.error = Problem("post_private", "the post is private")
    job, _ = await service.submit(Submission(kind="url", source=URL))
    failed = await ended(service, job.id)
    assert failed.error is not None and failed.error.code == "post_private"
    assert not analysis.probed
    assert not list((tmp_path / "data" / "spool").iterdir())


async def test_a_full_disk_fails_the_job_and_not_the_service(
    serving: Services, tmp_path: Path, fetcher: ScriptedFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await serving(settings_of(tmp_path))
    fetcher.error = OSError(errno.ENOSPC, "No space left on device")
    job, _ = await service.submit(Submission(kind="url", source=URL))
    failed = await ended(service, job.id)
    assert failed.error is not None and failed.error.code == "storage_full" and "room" in failed.error.detail

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:  # the report cannot be written
        patch.setattr("pathlib.Path.write_bytes", full)
        job, _ = await service.submit(upload(tmp_path / "up"))
        failed = await ended(service, job.id)
    assert failed.error is not None and failed.error.code == "storage_full"

    submitted = upload(tmp_path / "up")
    with monkeypatch.context() as patch:  # the upload cannot be taken over
        patch.setattr("shutil.move", full)
        with pytest.raises(Problem) as refused:
            await service.submit(submitted)
    assert refused.value.code == "storage_full"
    assert submitted.upload is not None and not submitted.upload.exists()
    assert not list((tmp_path / "data" / "spool").iterdir())
    job, _ = await service.submit(upload(tmp_path / "up"))
    assert (await ended(service, job.id)).state == "done"


async def test_an_end_is_written_when_the_database_is_back(
    serving: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.jobs.runner.RETRY_S", 0.05)
    service = await serving(settings_of(tmp_path))
    store, refusals = service._backend.store, iter(range(3))
    end = store.end

    def away(*how: Any) -> bool:
        if next(refusals, None) is not None:
            raise OperationalError("UPDATE", {}, Exception("the connection is lost"))
        return end(*how)

    monkeypatch.setattr(store, "end", away)
    job, _ = await service.submit(upload(tmp_path / "up"))
    assert (await ended(service, job.id)).state == "done"
    assert next(refusals, None) is None


async def test_a_database_without_room_is_told_as_such(
    serving: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await serving(settings_of(tmp_path))

    def full(*_: Any) -> None:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(service._backend.intake, "add", full)
        with pytest.raises(Problem) as refused:
            await service.submit(upload(tmp_path / "up"))
        assert refused.value.code == "storage_full"
    monkeypatch.setattr(service._backend.store, "add_result", full)
    job, _ = await service.submit(upload(tmp_path / "up"))
    failed = await ended(service, job.id)
    assert failed.error is not None and failed.error.code == "storage_full"


async def test_a_closed_service_says_so(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path))
    await service.close()
    with pytest.raises(Problem) as closed:
        await service.get("job", "")
    assert closed.value.code == "stopping"


async def test_only_wanted_analyzers_run_with_what_they_need(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    job, _ = await service.submit(upload(tmp_path / "up", analyzers=("needs",)))
    done = await ended(service, job.id)
    assert done.wanted == ["needs"] and sorted(done.analyzers) == ["brightness", "needs"]
    with pytest.raises(Problem) as unknown:
        await service.submit(upload(tmp_path / "up", analyzers=("nedes",)))
    assert unknown.value.code == "unknown_analyzer" and "needs" in unknown.value.detail


async def test_jobs_of_others_do_not_exist(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path))
    job, _ = await service.submit(upload(tmp_path / "up", owner="ann"))
    await ended(service, job.id, "ann")
    calls = [service.get, service.report, service.media, service.cancel, service.wait]
    for call in calls:
        with pytest.raises(Problem) as hidden:
            await call(job.id, "bob")
        assert hidden.value.code == "not_found"
    with pytest.raises(Problem):
        await all_events(service, job.id, owner="bob")
    assert not (await service.page("bob", 10, None)).jobs


async def test_jobs_are_listed_newest_first_by_the_page(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path), begin=False)
    ids = [(await service.submit(upload(tmp_path / "up", f"{number}")))[0].id for number in range(5)]
    assert ids == sorted(ids)
    first = await service.page("", 2, None)
    assert [job.id for job in first.jobs] == ids[:2:-1] and first.next == ids[3]
    assert [job.position for job in first.jobs] == [4, 3]
    second = await service.page("", 2, first.next)
    third = await service.page("", 2, second.next)
    assert [job.id for job in (*second.jobs, *third.jobs)] == [ids[2], ids[1], ids[0]] and third.next is None
    assert await service.counts() == {"queued": 5, "fetching": 0, "running": 0}
