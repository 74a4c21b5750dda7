"""A service that ends, in good order or not, and the next one over the same data."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings import Settings
from pipeline.types import AUDIO, SCAN, AnalyzerSpec
from serve_app.jobs.interface import Submission
from serve_app.jobs.service import JobService
from serve_app.problems import Problem
from tests.serve_app.jobs.conftest import Services
from tests.serve_app.jobs.scripted import (
    NAMES,
    ScriptedAnalysis,
    ScriptedFetcher,
    about,
    all_events,
    ended,
    kept,
    server_file,
    settings_of,
    told,
    upload,
)

ROOT = Path(__file__).resolve().parents[3]


async def crash(service: JobService) -> None:
    """End without a word to the store, as a process that is killed does."""
    service._backend.store.interrupt = lambda: None  # type: ignore[method-assign]
    await service.close()


async def interrupted_at(serving: Services, settings: Settings, asked: Submission, name: str) -> str:
    """A job that an earlier service has left when it had come to an analyzer."""
    analysis = ScriptedAnalysis()
    analysis.hold(name)
    service = await serving(settings, analysis=analysis)
    job, _ = await service.submit(asked)
    await analysis.reached(name)
    await crash(service)
    assert analysis.running == 0
    return job.id


async def test_an_interrupted_job_goes_on_from_the_results_that_it_has(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis, database_url: str
) -> None:
    settings = settings_of(tmp_path, store={"database_url": database_url})
    last = analysis.graph.closure().names[-1]
    job_id = await interrupted_at(serving, settings, upload(tmp_path / "up"), last)
    service = await serving(settings)
    done = await ended(service, job_id)
    assert (done.state, done.attempts) == ("done", 2)
    ((facts, _, given),) = analysis.runs
    assert sorted(given) == sorted(set(NAMES) - {last})
    assert {about(result) for result in given.values()} == {facts.sha256}
    assert not analysis.probed  # that is known too
    assert sorted((await service.report(job_id, "")).analyzers) == NAMES
    events = await all_events(service, job_id)
    assert [event.id for event in kept(events)] == list(range(1, len(kept(events)) + 1))
    assert sorted(event for event in told(events) if "analyzer" in event) == [f"analyzer.completed {n}" for n in NAMES]


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.serve_app.jobs.scripted import ScriptedAnalysis, ScriptedFetcher, settings_of, upload
from serve_app.jobs.service import JobService

async def main():
    folder, analysis = Path(sys.argv[1]), ScriptedAnalysis()
    last = analysis.graph.closure().names[-1]
    analysis.hold(last)
    service = JobService(settings_of(folder), analysis, ScriptedFetcher())
    await service.start()
    service.begin()
    job, _ = await service.submit(upload(folder / "up"))
    await analysis.reached(last)
    print(job.id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_a_killed_process_has_done_is_not_lost(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    run = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = await asyncio.to_thread(subprocess.run, run, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    service = await serving(settings_of(tmp_path))
    done = await ended(service, killed.stdout.strip())
    assert (done.state, done.attempts) == ("done", 2)
    assert len(analysis.runs[0][2]) == 2 and not analysis.probed


async def test_results_of_another_version_are_computed_again(serving: Services, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    job_id = await interrupted_at(serving, settings, upload(tmp_path / "up"), "sound")
    newer = ScriptedAnalysis(AnalyzerSpec("brightness", "2", SCAN), AnalyzerSpec("sound", "1", AUDIO))
    service = await serving(settings, analysis=newer)
    assert (await ended(service, job_id)).state == "done"
    assert newer.runs[0][2] == {}


async def test_results_under_other_settings_are_never_mixed_in(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    job_id = await interrupted_at(serving, settings_of(tmp_path), upload(tmp_path / "up"), "needs")
    changed = settings_of(tmp_path, analyzers={"brightness": {"level": 2}})
    second = ScriptedAnalysis()
    second.hold(second.graph.closure().names[0])  # interrupted again, before it has any result of its own
    service = await serving(changed, analysis=second)
    await second.reached(second.graph.closure().names[0])
    await crash(service)
    service = await serving(changed)
    assert (await ended(service, job_id)).state == "done"
    assert second.runs[0][2] == {} and analysis.runs[0][2] == {}


async def test_a_fetch_that_was_interrupted_begins_again(
    serving: Services, tmp_path: Path, fetcher: ScriptedFetcher
) -> None:
    settings = settings_of(tmp_path)
    fetcher.go_on.clear()
    first = await serving(settings)
    job, _ = await first.submit(Submission(kind="url", source="https://host/1"))
    await fetcher.half_way.wait()
    await crash(first)
    fetcher.go_on.set()
    service = await serving(settings)
    done = await ended(service, job.id)
    assert (done.state, done.attempts) == ("done", 2) and fetcher.fetched == ["https://host/1"] * 2


async def test_a_queued_job_waits_for_the_next_service(serving: Services, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    first = await serving(settings, begin=False)
    job, _ = await first.submit(upload(tmp_path / "up"))
    await first.close()
    done = await ended(await serving(settings), job.id)
    assert (done.state, done.attempts) == ("done", 1)


async def test_a_job_that_the_service_does_not_survive_is_given_up(serving: Services, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, serve={"attempts_max": 2})
    asked: Submission | None = upload(tmp_path / "up")
    job_id = await interrupted_at(serving, settings, upload(tmp_path / "up", "poison"), "brightness")
    analysis = ScriptedAnalysis()
    analysis.hold("brightness")
    second = await serving(settings, analysis=analysis)
    await analysis.reached("brightness")
    await crash(second)
    service = await serving(settings)
    failed = await ended(service, job_id)
    assert failed.error is not None
    assert (failed.state, failed.error.code, failed.attempts) == ("failed", "internal", 2)
    assert "ended 2 times" in failed.error.detail and "serve.attempts_max" in failed.error.detail
    assert asked is not None
    good, _ = await service.submit(asked)
    assert (await ended(service, good.id)).state == "done"


async def test_restarts_in_good_order_do_not_count_against_a_job(serving: Services, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, serve={"attempts_max": 1})
    analysis = ScriptedAnalysis()
    analysis.hold("brightness")
    first = await serving(settings, analysis=analysis)
    job, _ = await first.submit(upload(tmp_path / "up"))
    await analysis.reached("brightness")
    await first.drain(0.1)
    await first.close()
    assert analysis.running == 0
    done = await ended(await serving(settings), job.id)
    assert (done.state, done.attempts) == ("done", 2)


async def test_draining_lets_running_jobs_end_and_takes_nothing_on(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    settings = settings_of(tmp_path, serve={"videos_in_flight": 1})
    service = await serving(settings)
    analysis.hold("sound")
    running, _ = await service.submit(upload(tmp_path / "up", "one"))
    queued, _ = await service.submit(upload(tmp_path / "up", "two"))
    await analysis.reached("sound")
    draining = asyncio.create_task(service.drain(60))
    await asyncio.sleep(0.05)
    assert service.stopping and not draining.done()
    for refused in (service.submit(upload(tmp_path / "up")), service.check_room(0, "", None)):
        with pytest.raises(Problem) as stopping:
            await refused
        assert stopping.value.code == "stopping" and stopping.value.retry_after_s
    analysis.let_go("sound")
    await asyncio.wait_for(draining, 60)
    assert (await service.get(running.id, "")).state == "done"
    assert (await service.get(queued.id, "")).state == "queued"
    await service.close()
    assert (await ended(await serving(settings), queued.id)).state == "done"


async def test_a_file_that_changed_meanwhile_is_probed_again_and_nothing_is_mixed(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    settings = settings_of(tmp_path)
    asked = server_file(settings, "before")
    job_id = await interrupted_at(serving, settings, asked, "sound")
    server_file(settings, "after it")
    service = await serving(settings)
    assert (await ended(service, job_id)).state == "done"
    assert len(analysis.probed) == 1 and analysis.runs[0][2] == {}
    report = await service.report(job_id, "")
    assert {about(result) for result in report.analyzers.values()} == {report.video.sha256}


async def test_a_service_that_was_never_started_can_be_closed(
    tmp_path: Path, analysis: ScriptedAnalysis, fetcher: ScriptedFetcher
) -> None:
    service = JobService(settings_of(tmp_path), analysis, fetcher)
    await service.close()
    await service.close()
