"""What was analyzed before is not analyzed again, and one analyzer can be run again alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.types import AUDIO, SCAN, AnalyzerSpec
from serve_app.jobs.answers import dependants, key_of
from serve_app.jobs.interface import Submission
from serve_app.jobs.service import JobService
from serve_app.problems import Problem
from serve_app.schemas import Job
from tests.serve_app.jobs.conftest import Services
from tests.serve_app.jobs.scripted import (
    NAMES,
    SPECS,
    ScriptedAnalysis,
    all_events,
    ended,
    kept,
    ok,
    server_file,
    settings_of,
    told,
    upload,
)


async def run(service: JobService, asked: Submission) -> Job:
    job, new = await service.submit(asked)
    assert new
    return await ended(service, job.id, asked.owner)


async def test_the_same_content_is_answered_from_the_store_whoever_asks(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    settings = settings_of(tmp_path)
    service = await serving(settings)
    first = await run(service, upload(tmp_path / "up", name="one.mp4", owner="ann"))
    second = await run(service, server_file(settings, owner="bob", seconds_per_day_max=1.0))
    assert not first.from_store and second.from_store and len(analysis.runs) == 1
    assert second.state == "done" and sorted(second.analyzers) == NAMES
    report = await service.report(second.id, "bob")
    assert report.video.source == str(settings.media_roots[0].resolve() / "clip.mp4")
    assert (await service.report(first.id, "ann")).analyzers == report.analyzers
    assert told(await all_events(service, second.id, owner="bob")) == [
        "job queued",
        "job running",
        *(f"analyzer.completed {name}" for name in NAMES),
        "done done",
    ]


async def test_other_content_or_another_question_is_analyzed(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    for asked in (
        upload(tmp_path / "up"),
        upload(tmp_path / "up", "another video"),
        upload(tmp_path / "up", analyzers=("sound",)),
    ):
        assert not (await run(service, asked)).from_store
    # What `needs` builds on runs too, so that these are the same question.
    assert not (await run(service, upload(tmp_path / "up", analyzers=("needs",)))).from_store
    assert (await run(service, upload(tmp_path / "up", analyzers=("brightness", "needs")))).from_store
    assert (await run(service, upload(tmp_path / "up", analyzers=tuple(NAMES)))).from_store


@pytest.mark.parametrize(
    "changed",
    [{"profile": "full"}, {"analyzers": {"sound": {"level": 2}}}, {"disabled": ["sound"]}],
    ids=["profile", "options", "disabled"],
)
def test_the_key_is_of_everything_that_shows_in_a_report(tmp_path: Path, changed: dict[str, Any]) -> None:
    graph = ScriptedAnalysis().graph
    before, after = settings_of(tmp_path), settings_of(tmp_path, **changed)
    assert key_of("ab", NAMES, graph, before) != key_of("ab", NAMES, graph, after)
    assert key_of("ab", ["brightness"], graph, before) != key_of("ac", ["brightness"], graph, before)
    if "profile" not in changed:  # brightness knows nothing of sound's settings
        assert key_of("ab", ["brightness"], graph, before) == key_of("ab", ["brightness"], graph, after)
    newer = ScriptedAnalysis(AnalyzerSpec("brightness", "2", SCAN)).graph
    assert key_of("ab", ["brightness"], graph, before) != key_of("ab", ["brightness"], newer, before)


async def test_a_report_with_a_failed_analyzer_is_no_answer(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    analysis.failing = {"sound"}
    first = await run(service, upload(tmp_path / "up"))
    assert first.state == "done" and first.analyzers["sound"].status == "failed"
    assert "analyzer.failed sound" in told(await all_events(service, first.id))
    analysis.failing = set()
    assert not (await run(service, upload(tmp_path / "up"))).from_store
    assert (await run(service, upload(tmp_path / "up"))).from_store


async def test_a_report_that_cannot_be_read_is_no_answer(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path))
    first = await run(service, upload(tmp_path / "up"))
    (stored,) = (tmp_path / "data" / "files" / "reports").rglob("*.gz")
    for damage in (lambda: stored.write_bytes(stored.read_bytes()[:20]), stored.unlink):
        damage()
        assert not (await run(service, upload(tmp_path / "up"))).from_store
        for job in (await service.page("", 10, None)).jobs:
            if job.id != first.id:
                await service.cancel(job.id, "")
    with pytest.raises(Problem) as lost:
        await service.report(first.id, "")
    assert lost.value.code == "not_found"


async def test_one_analyzer_is_run_again_with_what_builds_on_it(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    base = await run(service, upload(tmp_path / "up"))
    before = await service.report(base.id, "")
    again = await run(service, Submission("upload", "", based_on=base.id, analyzers=("brightness",)))
    assert (again.state, again.based_on, again.from_store) == ("done", base.id, False)
    assert (again.source, again.source_kind, again.wanted) == ("clip.mp4", "upload", None)
    assert list(analysis.runs[1][2]) == ["sound"] and len(analysis.probed) == 1
    after = await service.report(again.id, "")
    assert sorted(after.analyzers) == NAMES
    assert after.analyzers["sound"] == before.analyzers["sound"]
    assert after.video.source == "clip.mp4"
    assert told(await all_events(service, again.id)) == [
        "job queued",
        "analyzer.completed sound",
        "job running",
        "job running",
        "analyzer.completed brightness",
        "analyzer.completed needs",
        "done done",
    ]
    assert (await service.media(again.id, "")).read_text() == "a video"
    await service.cancel(base.id, "")
    assert (await service.media(again.id, "")).read_text() == "a video"


async def test_a_rerun_mends_a_report_and_adds_what_was_not_asked_before(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path))
    analysis.failing = {"brightness"}
    base = await run(service, upload(tmp_path / "up", analyzers=("brightness",)))
    analysis.failing = set()
    mended = await run(service, Submission("upload", "", based_on=base.id, analyzers=("brightness",)))
    assert mended.analyzers["brightness"].status == "ok"
    # It is now what anybody would be answered who asks that.
    assert (await run(service, upload(tmp_path / "up", analyzers=("brightness",)))).from_store
    more = await run(service, Submission("upload", "", based_on=mended.id, analyzers=("sound",)))
    assert more.wanted == ["brightness", "sound"] and list(analysis.runs[-1][2]) == ["brightness"]


async def test_a_rerun_under_other_options_is_nobody_elses_answer(serving: Services, tmp_path: Path) -> None:
    first = await serving(settings_of(tmp_path))
    base = await run(first, upload(tmp_path / "up"))
    await first.close()
    other = settings_of(tmp_path, analyzers={"brightness": {"level": 2}})
    service = await serving(other)
    await run(service, Submission("upload", "", based_on=base.id, analyzers=("brightness",)))
    assert not (await run(service, upload(tmp_path / "up"))).from_store


async def test_a_rerun_needs_a_base_with_report_and_video(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    settings = settings_of(tmp_path)
    service = await serving(settings)

    async def refused(base_id: str, owner: str = "", names: tuple[str, ...] = ("sound",)) -> str:
        with pytest.raises(Problem) as problem:
            await service.submit(Submission("upload", "", based_on=base_id, analyzers=names, owner=owner))
        return problem.value.code

    done = await run(service, server_file(settings, "on the server"))
    assert await refused("nobody") == "not_found"
    assert await refused(done.id, owner="bob") == "not_found"
    assert await refused(done.id, names=("sond",)) == "unknown_analyzer"
    server_file(settings, "another one")
    assert await refused(done.id) == "media_gone"
    analysis.hold("sound")
    running, _ = await service.submit(upload(tmp_path / "up", "two"))
    await analysis.reached("sound")
    assert await refused(running.id) == "job_not_done"
    await service.cancel(running.id, "")
    assert await refused(running.id) == "job_ended"


async def test_an_interrupted_rerun_goes_on_with_what_it_took_over(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    settings = settings_of(tmp_path)
    first = await serving(settings)
    base = await run(first, upload(tmp_path / "up"))
    analysis.hold("needs")
    again, _ = await first.submit(Submission("upload", "", based_on=base.id, analyzers=("brightness",)))
    await analysis.reached("needs")
    await first.close()
    analysis.let_go("needs")
    service = await serving(settings)
    assert (await ended(service, again.id)).state == "done"
    assert sorted(analysis.runs[-1][2]) == ["brightness", "sound"]
    events = kept(await all_events(service, again.id))
    assert [event.data["name"] for event in events if event.type == "analyzer.completed"] == [
        "sound",
        "brightness",
        "needs",
    ]


def test_who_builds_on_an_analyzer_is_known_through_others() -> None:
    graph = ScriptedAnalysis(*SPECS, AnalyzerSpec("far", "1", None, after_if_ok=("needs",))).graph
    assert dependants(["brightness"], graph) == {"brightness", "needs", "far"}
    assert dependants(["sound"], graph) == {"sound"}


async def test_results_of_another_version_are_not_taken_over(serving: Services, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    first = await serving(settings)
    base = await run(first, upload(tmp_path / "up"))
    await first.close()
    newer = ScriptedAnalysis(AnalyzerSpec("brightness", "1", SCAN), AnalyzerSpec("sound", "2", AUDIO))
    service = await serving(settings, analysis=newer)
    await run(service, Submission("upload", "", based_on=base.id, analyzers=("brightness",)))
    assert newer.runs[0][2] == {}
    assert ok("sound").version != newer.graph.specs["sound"].version
