"""Where videos and reports lie: local and remote stores, shared media, files on the server, links that lead away."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import PlanError
from pipeline.settings import Settings
from serve_app.jobs import housekeeping
from serve_app.jobs.files import Files, suffix_of
from serve_app.jobs.rows import now
from serve_app.problems import Problem
from tests.serve_app.jobs.conftest import Services
from tests.serve_app.jobs.scripted import (
    ScriptedAnalysis,
    all_events,
    ended,
    server_file,
    settings_of,
    upload,
)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def swap(path: Path, target: Path) -> None:
    """Put a link in the place of a file."""
    path.unlink()
    path.symlink_to(target)


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """fsspec's store in memory, which stands for any that is not on this machine."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


@pytest.fixture(params=["file", "memory"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings with a store of that kind."""
    url = "memory://kept"
    if request.param == "file":
        url = (tmp_path / "a b" / "kept").as_uri().replace("%20", " ")
    else:
        request.getfixturevalue("memory")
    return settings_of(tmp_path, store={"files_url": url})


async def test_a_jobs_files_come_and_go_in_any_store(
    serving: Services, tmp_path: Path, stored: Settings, analysis: ScriptedAnalysis
) -> None:
    url = str(stored.store.files_url)
    fs, root = fsspec.core.url_to_fs(url)
    service = await serving(stored)
    job, _ = await service.submit(upload(tmp_path / "up"))
    await ended(service, job.id)
    names = sorted(path.rpartition("/")[2] for path in fs.find(root))
    assert names == sorted([f"{job.id}.json.gz", f"{analysis.runs[0][0].sha256}.mp4"])
    again, _ = await service.submit(upload(tmp_path / "up", name="other.mp4"))
    assert (await ended(service, again.id)).from_store
    assert (await service.report(again.id, "")).video.source == "other.mp4"
    assert [event.type for event in await all_events(service, again.id)].count("analyzer.completed") == 3
    for one in (job, again):
        assert (await service.media(one.id, "")).read_text() == "a video"
        assert fs.find(root)
        assert await service.cancel(one.id, "") is None
    assert fs.find(root) == []
    assert not files_below(tmp_path / "data" / "copies") and not files_below(tmp_path / "data" / "spool")


async def test_a_remote_video_is_here_only_while_it_is_needed(
    serving: Services, tmp_path: Path, memory: fsspec.AbstractFileSystem, analysis: ScriptedAnalysis
) -> None:
    settings = settings_of(tmp_path, store={"files_url": "memory://kept"})
    copies = tmp_path / "data" / "copies"
    service = await serving(settings)
    analysis.hold("sound")
    job, _ = await service.submit(upload(tmp_path / "up"))
    await analysis.reached("sound")
    assert len(files_below(copies)) == 1
    await service.close()
    shutil.rmtree(copies)  # another machine
    analysis.let_go("sound")
    service = await serving(settings)
    assert (await ended(service, job.id)).state == "done"
    async with asyncio.timeout(60):
        while files_below(copies):  # noqa: ASYNC110 - the folder itself is looked at
            await asyncio.sleep(0.01)
    media = await service.media(job.id, "")
    assert files_below(copies) == [media] and media.read_text() == "a video"
    files = service._backend.files
    files.sweep_copies(())
    assert media.exists()
    os.utime(media, (1, 1))
    files.sweep_copies({str(media.relative_to(copies))})
    assert media.exists()  # it is worked on
    files.sweep_copies(())
    assert not media.exists()


def test_an_upload_is_renamed_and_not_copied(tmp_path: Path) -> None:
    files = Files(settings_of(tmp_path))
    source = tmp_path / "upload"
    source.write_text("a video")
    inode = source.stat().st_ino
    files.take(source, "job", ".mp4")
    kept = files.keep(files.spooled("job", ".mp4"), "ab/abc.mp4")
    assert kept.stat().st_ino == inode and not source.exists()
    files.drop_spool("job")
    files.drop("media", "ab/abc.mp4")
    files.drop("media", "ab/abc.mp4")  # nothing happens
    with pytest.raises(FileNotFoundError):
        files.local_media("ab/abc.mp4")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("Clip.MP4", ".mp4"),
        ("clip", ""),
        ("../../etc/passwd", ""),
        ("x.mp4/../../y", ""),
        ("a.mp4\x00.s h", ""),
        ("a." + "b" * 300, ""),
        ("a.m p", ""),
    ],
)
def test_of_a_strangers_name_only_a_plain_suffix_is_used(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


def test_a_store_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"files cannot be kept at nosuch://x \(setting store.files_url\)"):
        Files(settings_of(tmp_path, store={"files_url": "nosuch://x"}))


# --- files on the server ---


async def test_a_file_is_only_given_out_while_it_is_the_same(serving: Services, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    service = await serving(settings)
    asked = server_file(settings)
    path, secret = Path(asked.source), tmp_path / "secret.mp4"
    secret.write_text("a video")
    job, _ = await service.submit(asked)
    assert (await ended(service, job.id)).media_kept
    os.utime(path)
    await _is_gone(service, job.id)

    job, _ = await service.submit(server_file(settings, name="two.mp4"))
    await ended(service, job.id)
    link = path.with_name("two.mp4")
    link.unlink()
    await _is_gone(service, job.id)
    link.symlink_to(secret)
    await _is_gone(service, job.id)

    inner = path.parent / "inner"
    inner.mkdir()
    job, _ = await service.submit(server_file(settings, name="inner/three.mp4"))
    await ended(service, job.id)
    inner.rename(tmp_path / "moved")
    inner.symlink_to(tmp_path / "moved")  # the folder is swapped, the file has the same inode
    await _is_gone(service, job.id)


async def _is_gone(service: object, job_id: str) -> None:
    with pytest.raises(Problem) as gone:
        await service.media(job_id, "")  # type: ignore[attr-defined]
    assert gone.value.code == "media_gone"


async def test_a_path_that_became_a_link_before_its_turn_is_not_read(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    settings = settings_of(tmp_path)
    service = await serving(settings, begin=False)
    asked = server_file(settings)
    job, _ = await service.submit(asked)
    secret = tmp_path / "secret.mp4"
    secret.write_text("secret")
    swap(Path(asked.source), secret)
    service.begin()
    failed = await ended(service, job.id)
    assert failed.error is not None and failed.error.code == "path_not_allowed"
    assert not analysis.probed and str(tmp_path) not in failed.error.detail


async def test_a_file_that_is_swapped_during_the_run_gives_no_report(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    settings = settings_of(tmp_path)
    service = await serving(settings)
    analysis.hold("sound")
    job, _ = await service.submit(server_file(settings, "before"))
    await analysis.reached("sound")
    server_file(settings, "another")
    analysis.let_go("sound")
    failed = await ended(service, job.id)
    assert failed.error is not None and failed.error.code == "media_gone"


async def test_a_video_is_not_there_before_it_was_probed(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    settings = settings_of(tmp_path)
    service = await serving(settings, begin=False)
    for asked in (upload(tmp_path / "up"), server_file(settings)):
        job, _ = await service.submit(asked)
        with pytest.raises(Problem) as not_yet:
            await service.media(job.id, "")
        assert not_yet.value.code == "job_not_done"


# --- retention ---


async def test_old_media_go_before_old_jobs(serving: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = await serving(settings_of(tmp_path, store={"media_kept_days": 2, "reports_kept_days": 5}))
    job, _ = await service.submit(upload(tmp_path / "up"))
    await ended(service, job.id)
    running, _ = await service.submit(upload(tmp_path / "up", "another"))
    await ended(service, running.id)

    async def after(days: float) -> None:
        monkeypatch.setattr(housekeeping, "now", lambda: now() + timedelta(days=days))
        await housekeeping.sweep(service._backend)

    await after(1.9)
    assert (await service.media(job.id, "")).exists()
    await after(2.1)
    await _is_gone(service, job.id)
    assert not (await service.get(job.id, "")).media_kept
    assert (await service.report(job.id, "")).analyzers
    assert not files_below(tmp_path / "data" / "files" / "media")
    await after(5.1)
    assert not (await service.page("", 10, None)).jobs
    assert not files_below(tmp_path / "data" / "files")


async def test_what_a_crash_has_left_is_swept_when_it_is_old(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    done, _ = await service.submit(upload(tmp_path / "up"))
    await ended(service, done.id)
    waiting = await serving(settings_of(tmp_path, data_dir=tmp_path / "other"), begin=False)
    queued, _ = await waiting.submit(upload(tmp_path / "up"))
    data = tmp_path / "data"
    left = [
        data / "files" / "media" / "ab" / "abc.mp4",
        data / "files" / "reports" / "12" / "x.json.gz.part",
        data / "spool" / "job" / "job.mp4",
        data / "spool" / "file",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left")
    await housekeeping.sweep(service._backend)
    assert all(path.exists() for path in left)  # somebody may be about to say that it is his
    old = time.time() - 2 * 3600
    for path in (*files_below(data / "files"), *(data / "spool").iterdir(), *(tmp_path / "other" / "spool").iterdir()):
        os.utime(path, (old, old))
    await housekeeping.sweep(service._backend)
    await housekeeping.sweep(waiting._backend)
    assert not any(path.exists() for path in left)
    assert (await service.media(done.id, "")).exists() and (await service.report(done.id, "")).analyzers
    waiting.begin()
    assert (await ended(waiting, queued.id)).state == "done"
