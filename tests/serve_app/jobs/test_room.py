"""How much is taken on, for whom, and in which order."""

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
    ended,
    settings_of,
    state_reached,
    upload,
)


async def test_eight_at_once_are_all_done_and_the_ninth_is_told_to_come_again(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path, serve={"videos_in_flight": 4, "waiting_max": 4, "retry_after_s": 3}))
    analysis.hold("sound")
    asked = [upload(tmp_path / "up", f"{number}") for number in range(9)]
    answers = await asyncio.gather(*(service.submit(one) for one in asked), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    jobs = [answer[0] for answer in answers if not isinstance(answer, BaseException)]
    assert len(jobs) == 8 and len(refused) == 1
    assert isinstance(refused[0], Problem) and (refused[0].code, refused[0].retry_after_s) == ("busy", 3)
    with pytest.raises(Problem):
        await service.check_room(1, "", None)
    await analysis.reached("sound")
    async with asyncio.timeout(60):
        while analysis.running < 4:  # noqa: ASYNC110 - the runs themselves are counted
            await asyncio.sleep(0.01)
    assert (await service.counts()) == {"queued": 4, "fetching": 0, "running": 4}
    analysis.let_go("sound")
    done = await asyncio.gather(*(ended(service, job.id) for job in jobs))
    assert {job.state for job in done} == {"done"} and analysis.most_running == 4
    left = asked[[isinstance(answer, BaseException) for answer in answers].index(True)].upload
    assert left is not None and not left.exists()
    await service.submit(upload(tmp_path / "up", "again"))


async def test_who_has_little_in_flight_comes_before_who_has_much(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis
) -> None:
    service = await serving(settings_of(tmp_path, serve={"videos_in_flight": 2}))
    analysis.hold("sound")
    greedy = [(await service.submit(upload(tmp_path / "up", f"g{n}", owner="greedy")))[0] for n in range(4)]
    modest, _ = await service.submit(upload(tmp_path / "up", "m", owner="modest"))
    for job in greedy[:2]:
        await state_reached(service, job.id, "running", "greedy")
    assert (await service.get(modest.id, "modest")).position == 2
    await service.cancel(greedy[0].id, "greedy")
    await state_reached(service, modest.id, "running", "modest")
    assert (await service.get(greedy[2].id, "greedy")).state == "queued"
    analysis.let_go("sound")
    assert (await ended(service, greedy[3].id, "greedy")).state == "done"


async def test_fetches_have_places_of_their_own(
    serving: Services, tmp_path: Path, analysis: ScriptedAnalysis, fetcher: ScriptedFetcher
) -> None:
    service = await serving(settings_of(tmp_path, serve={"videos_in_flight": 1, "fetches_in_flight": 2}))
    fetcher.go_on.clear()
    posts = [(await service.submit(Submission("url", f"https://host/{n}")))[0] for n in range(5)]
    async with asyncio.timeout(60):
        while fetcher.running < 2:  # noqa: ASYNC110 - the fetches themselves are counted
            await asyncio.sleep(0.01)
    here, _ = await service.submit(upload(tmp_path / "up"))
    assert (await ended(service, here.id)).state == "done"  # a slow host does not hold the analyzers
    fetcher.go_on.set()
    done = await asyncio.gather(*(ended(service, post.id) for post in posts))
    assert {job.state for job in done} == {"done"}
    assert fetcher.most_running == 2 and analysis.most_running == 1


async def test_an_idempotency_key_answers_the_first_job(serving: Services, tmp_path: Path) -> None:
    service = await serving(settings_of(tmp_path))
    key = {"idempotency_key": "k", "body_sha256": "1", "owner": "ann"}
    first = upload(tmp_path / "up", **key)
    again = [upload(tmp_path / "up", **key) for _ in range(3)]
    answers = await asyncio.gather(*(service.submit(asked) for asked in (first, *again)))
    assert len({job.id for job, _ in answers}) == 1
    assert sorted(new for _, new in answers) == [False, False, False, True]
    assert not list((tmp_path / "up").iterdir())  # what was uploaded again is gone
    job = await ended(service, answers[0][0].id, "ann")
    answered, new = await service.submit(upload(tmp_path / "up", **key))
    assert (answered.id, answered.state, new) == (job.id, "done", False)
    with pytest.raises(Problem) as conflict:
        await service.submit(upload(tmp_path / "up", **(key | {"body_sha256": "2"})))
    assert conflict.value.code == "idempotency_conflict"
    assert (await service.submit(upload(tmp_path / "up", **(key | {"owner": "bob"}))))[1]
    await ended(service, (await service.page("bob", 1, None)).jobs[0].id, "bob")
    assert not list((tmp_path / "data" / "spool").iterdir())


async def test_a_key_has_its_own_bound_of_jobs(serving: Services, tmp_path: Path, analysis: ScriptedAnalysis) -> None:
    service = await serving(settings_of(tmp_path))
    analysis.hold("sound")
    first, _ = await service.submit(upload(tmp_path / "up", owner="ann", jobs_in_flight_max=1))
    for call in (
        service.submit(upload(tmp_path / "up", owner="ann", jobs_in_flight_max=1)),
        service.check_room(0, "ann", 1),
    ):
        with pytest.raises(Problem) as many:
            await call
        assert many.value.code == "too_many_jobs"
    await service.check_room(0, "bob", 1)
    await analysis.reached("sound")
    analysis.let_go("sound")
    await ended(service, first.id, "ann")
    await service.check_room(0, "ann", 1)


async def test_a_video_over_the_days_seconds_fails_and_answers_from_the_store_cost_nothing(
    serving: Services, tmp_path: Path
) -> None:
    service = await serving(settings_of(tmp_path))
    day = {"owner": "ann", "seconds_per_day_max": 25.0}
    states = []
    for content in ("one", "one", "two", "three", "two"):
        job, _ = await service.submit(upload(tmp_path / "up", content, **day))
        done = await ended(service, job.id, "ann")
        states.append("from store" if done.from_store else done.error.code if done.error else done.state)
    assert states == ["done", "from store", "done", "quota_exceeded", "from store"]
