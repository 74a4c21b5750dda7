"""The store, over SQLite and PostgreSQL: guarded changes, order, limits, what is shared and what is deleted."""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, text, update
from sqlalchemy.orm import Session

from pipeline.errors import PlanError
from pipeline.results import AnalyzerResult, VideoFacts
from pipeline.service_settings import ServeSettings
from serve_app.jobs.intake import Intake, Rerun
from serve_app.jobs.interface import Submission
from serve_app.jobs.rows import new_id
from serve_app.jobs.store import Ending, Store
from serve_app.jobs.tables import JobRow, SchemaRow, open_database
from serve_app.jobs.upkeep import Freed, Upkeep
from serve_app.problems import Problem
from tests.serve_app.jobs.scripted import ok, report_of

FACTS = VideoFacts(source="clip.mp4", sha256="ab" * 32, bytes=7, duration_s=10.0)


class Opened:
    """One database, and what works on it."""

    def __init__(self, url: str, folder: Path, **limits: Any) -> None:
        self.engine: Engine = open_database(url, folder)
        self.intake = Intake(self.engine, ServeSettings(**limits))
        self.store = Store(self.engine, 3)
        self.upkeep = Upkeep(self.engine)

    def add(self, owner: str = "", **more: Any) -> str:
        nbytes, rerun = more.pop("nbytes", 0), more.pop("rerun", None)
        asked = Submission(**{"kind": "upload", "source": "clip.mp4", "owner": owner, **more})
        return self.intake.add(new_id(), asked, nbytes, ".mp4", rerun)[0].row.id

    def claimed(self, owner: str = "", **more: Any) -> str:
        job_id = self.add(owner, **more)
        row = self.store.claim(True)
        assert row is not None and row.id == job_id
        return job_id

    def done(self, owner: str = "", key: str | None = "key", name: str | None = None) -> str:
        job_id = self.claimed(owner)
        report = report_of(FACTS, {"sound": ok("sound")})
        assert self.store.add_result(job_id, ok("sound"))
        assert self.store.end(job_id, Ending("done", None, report, name or f"{job_id}.gz", key))
        return job_id

    def state(self, job_id: str) -> str:
        found = self.store.get(job_id)
        assert found is not None
        return found.row.state


@pytest.fixture
def opened(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    made: list[Opened] = []

    def make(**limits: Any) -> Opened:
        made.append(Opened(database_url, tmp_path, **limits))
        return made[-1]

    yield make
    for one in made:
        one.engine.dispose()


Open = Callable[..., Opened]


def test_ids_are_uuids_of_version_7_in_the_order_of_time() -> None:
    ids = [new_id() for _ in range(200)]
    assert ids == sorted(ids) and len(set(ids)) == 200
    assert {uuid.UUID(text).version for text in ids} == {7}
    assert {uuid.UUID(text).variant for text in ids} == {uuid.RFC_4122}
    assert len({text[-15:] for text in ids}) == 200


def test_of_an_end_and_a_cancel_exactly_one_wins(opened: Open) -> None:
    one, other = opened(), opened()
    for _ in range(20):
        job_id = one.claimed()
        barrier = Barrier(2)

        def end(store: Store, ending: Ending, job_id: str = job_id, barrier: Barrier = barrier) -> bool:
            barrier.wait()
            return store.end(job_id, ending)

        with ThreadPoolExecutor(2) as threads:
            done = threads.submit(end, one.store, Ending("done", None, report_of(FACTS, {}), "name", None))
            cancelled = threads.submit(end, other.store, Ending("cancelled"))
        assert done.result() != cancelled.result()
        assert one.state(job_id) == ("done" if done.result() else "cancelled")
        events, ended = one.store.events(job_id, 0, 10)
        assert [event.type for event in events] == ["job", "job", "done"] and ended


def test_nothing_is_added_to_a_job_that_has_ended(opened: Open) -> None:
    one = opened()
    job_id = one.claimed()
    assert one.store.end(job_id, Ending("cancelled"))
    assert not one.store.add_result(job_id, ok("sound"))
    assert not one.store.update(job_id, identity="x")
    assert not one.store.begin_run(job_id, ["sound"])
    assert not one.store.fetched(job_id, ".mp4", 1)
    assert not one.store.end(job_id, Ending("failed", Problem("internal", "late")))
    found = one.store.get(job_id)
    assert found is not None and (found.row.state, found.row.error_code, found.statuses) == ("cancelled", None, {})


def test_the_next_is_of_the_owner_with_the_fewest_in_flight_then_the_oldest(opened: Open) -> None:
    one = opened()
    greedy = [one.add("greedy") for _ in range(4)]
    modest = [one.add("modest") for _ in range(2)]
    late = one.add("late")
    taken = [row.id for _ in range(7) if (row := one.store.claim(True)) is not None]
    assert taken == [greedy[0], modest[0], late, greedy[1], modest[1], greedy[2], greedy[3]]
    assert one.store.claim(True) is None
    one.store.end(greedy[0], Ending("cancelled"))
    assert one.store.counts() == {"queued": 0, "fetching": 0, "running": 6}


def test_a_job_is_claimed_once_however_many_ask(opened: Open) -> None:
    both = opened(), opened()
    ids = {both[0].add() for _ in range(10)}
    with ThreadPoolExecutor(2) as threads:
        taken = [list(threads.map(lambda _, one=one: one.store.claim(True), range(10))) for one in both]
    claimed = [row.id for rows in taken for row in rows if row is not None]
    assert len(claimed) == len(set(claimed)) and set(claimed) <= ids


def test_posts_are_fetched_before_they_are_analyzed(opened: Open) -> None:
    one = opened()
    post = one.add(kind="url", source="https://host/1")
    assert one.store.claim(True) is None
    row = one.store.claim(False)
    assert row is not None and (row.id, row.state, row.attempts) == (post, "fetching", 1)
    assert one.store.fetched(post, ".webm", 99)
    row = one.store.claim(True)
    assert row is not None and (row.state, row.attempts, row.suffix, row.media_bytes) == ("running", 1, ".webm", 99)


@pytest.mark.parametrize("same", [True, False])
def test_a_key_that_is_used_twice_at_once_makes_one_job(opened: Open, same: bool) -> None:
    both = opened(), opened()
    barrier = Barrier(2)

    def submit(which: int) -> str:
        barrier.wait()
        try:
            return both[which].add("ann", idempotency_key="k", body_sha256="1" if same else str(which))
        except Problem as problem:
            return problem.code

    with ThreadPoolExecutor(2) as threads:
        answers = set(threads.map(submit, range(2)))
    page = both[0].store.page("ann", 10, None)
    assert len(page) == 1
    assert answers == ({page[0].row.id} if same else {page[0].row.id, "idempotency_conflict"})


def test_keys_are_the_owners_own(opened: Open) -> None:
    one = opened()
    assert len({one.add(owner, idempotency_key="k", body_sha256=owner) for owner in ("ann", "bob")}) == 2
    assert one.add() != one.add()  # no key is not a key


def test_a_full_house_is_told_when_to_come_again(opened: Open) -> None:
    one = opened(videos_in_flight=1, waiting_max=1, retry_after_s=7)
    one.add()
    one.intake.check_room(0, "", None)
    one.add()
    for ask in (one.add, lambda: one.intake.check_room(0, "", None)):
        with pytest.raises(Problem, match=r"2 jobs.*limit is 2.*waiting_max") as full:
            ask()
        assert full.value.code == "busy" and full.value.retry_after_s == 7


def test_media_that_wait_are_bounded_but_one_alone_may_exceed(opened: Open) -> None:
    one = opened(pending_bytes_max=100)
    first = one.add(nbytes=150)
    with pytest.raises(Problem, match=r"151 bytes.*limit is 100.*pending_bytes_max") as full:
        one.add(nbytes=1)
    assert full.value.code == "busy"
    one.store.end(first, Ending("cancelled"))
    one.add(nbytes=60)
    one.add(nbytes=40)


def test_a_keys_jobs_in_flight_are_bounded(opened: Open) -> None:
    one = opened()
    one.add("ann", jobs_in_flight_max=1)
    with pytest.raises(Problem, match="1 jobs of this key") as many:
        one.add("ann", jobs_in_flight_max=1)
    assert many.value.code == "too_many_jobs"
    one.add("bob", jobs_in_flight_max=1)


def test_seconds_of_video_are_counted_once_a_job_and_by_day(opened: Open) -> None:
    one = opened()
    first = one.claimed("ann", seconds_per_day_max=25.0)
    for _ in range(3):
        one.store.charge(first, 10.0)
    second = one.claimed("ann", seconds_per_day_max=25.0)
    one.store.charge(second, 10.0)
    third = one.claimed("ann", seconds_per_day_max=25.0)
    with pytest.raises(Problem, match=r"10\.0 s long, 5\.0 s of the key's 25\.0 s are left") as used_up:
        one.store.charge(third, 10.0)
    assert used_up.value.code == "quota_exceeded"
    other = one.claimed("bob", seconds_per_day_max=25.0)
    one.store.charge(other, 10.0)
    one.store.end(first, Ending("cancelled"))
    one.upkeep.delete(first)  # deleting a job gives nothing back
    with pytest.raises(Problem):
        one.store.charge(third, 10.0)
    one.upkeep.forget_usage((datetime.now(UTC) + timedelta(days=1)).date().isoformat())
    one.store.charge(third, 10.0)


def test_results_are_kept_until_the_report_has_them(opened: Open) -> None:
    one = opened()
    job_id = one.claimed()
    failed = AnalyzerResult(name="needs", version="1", status="failed", reason="it did")
    for result in (ok("sound"), failed):
        assert one.store.add_result(job_id, result)
    assert one.store.result(job_id, "sound") == ok("sound")
    assert one.store.ok_results(job_id) == [ok("sound")]
    assert one.store.add_result(job_id, ok("needs"))  # another attempt
    found = one.store.get(job_id)
    assert found is not None and found.statuses == {"sound": "ok", "needs": "ok"}
    report = report_of(FACTS, {"sound": ok("sound"), "needs": ok("needs")})
    assert one.store.end(job_id, Ending("done", None, report, "name", None))
    assert one.store.result(job_id, "sound") is None and one.store.ok_results(job_id) == []
    events, _ = one.store.events(job_id, 2, 10)
    assert [(event.id, event.type, event.what) for event in events] == [
        (3, "analyzer.completed", "sound"),
        (4, "analyzer.failed", "needs"),
        (5, "analyzer.completed", "needs"),
        (6, "done", "done"),
    ]
    assert [event.id for event in one.store.events(job_id, 4, 1)[0]] == [5]


def test_interrupted_jobs_are_queued_again_until_it_was_too_often(opened: Open) -> None:
    one = opened()
    job_id = one.claimed()
    for attempt in (2, 3):
        assert one.store.resume() == 1
        row = one.store.claim(True)
        assert row is not None and (row.id, row.attempts) == (job_id, attempt)
    one.store.interrupt()  # in good order: does not count
    assert one.store.resume() == 1
    row = one.store.claim(True)
    assert row is not None and row.attempts == 4
    assert one.store.resume() == 0
    found = one.store.get(job_id)
    assert found is not None and (found.row.state, found.row.error_code) == ("failed", "internal")
    assert found.row.error_detail is not None and "3 times" in found.row.error_detail
    assert one.store.resume() == 0


def test_a_report_is_found_by_what_it_answers_and_shared(opened: Open) -> None:
    one = opened()
    first = one.done(key="key")
    one.done(key=None)
    assert one.store.answer("other") is None
    answer = one.store.answer("key")
    assert answer is not None and answer.id == first
    second = one.claimed("bob")
    report = report_of(FACTS, {"sound": ok("sound")})
    assert one.store.end_from(second, answer, report)
    found = one.store.get(second)
    assert found is not None and found.row.from_store and found.row.report_name == answer.report_name
    assert [event.what for event in one.store.events(second, 2, 9)[0]] == ["sound", "done"]
    assert one.upkeep.delete(first) == Freed(media=None, report=None)  # the second has it still
    assert one.upkeep.delete(second) == Freed(media=None, report=answer.report_name)
    third = one.claimed()
    assert not one.store.end_from(third, answer, report)  # it is gone
    assert one.state(third) == "running"


def test_media_are_given_up_when_the_last_job_lets_go(opened: Open) -> None:
    one = opened()
    jobs = [one.claimed() for _ in range(2)]
    for job_id in jobs:
        assert one.store.update(job_id, media_name="ab/abc.mp4")
    assert one.upkeep.drop_media(jobs[0]) == Freed()  # it runs
    assert one.upkeep.media_in_use("ab/abc.mp4")
    for job_id in jobs:
        one.store.end(job_id, Ending("cancelled"))
    assert not one.upkeep.media_in_use("ab/abc.mp4")
    assert one.upkeep.references().media == {"ab/abc.mp4"}
    assert one.upkeep.drop_media(jobs[0]) == Freed()
    assert one.upkeep.delete(jobs[1]) == Freed(media="ab/abc.mp4")
    assert one.upkeep.references().media == frozenset()
    assert one.store.get(jobs[1]) is None and one.store.events(jobs[1], 0, 9) == ([], True)


def test_a_rerun_begins_with_what_it_takes_over(opened: Open) -> None:
    one = opened()
    base_id = one.done()
    with Session(one.engine) as session, session.begin():
        session.execute(update(JobRow).where(JobRow.id == base_id).values(media_name="ab/abc.mp4", asked_key="key"))
    base = one.store.get(base_id)
    assert base is not None
    rerun = Rerun(base.row, [ok("sound")])
    job_id = one.add(based_on=base_id, rerun=rerun)
    found = one.store.get(job_id)
    assert found is not None and found.statuses == {"sound": "ok"}
    assert (found.row.media_name, found.row.asked_key, found.row.video) == ("ab/abc.mp4", "key", base.row.video)
    assert [event.what for event in one.store.events(job_id, 0, 9)[0]] == ["queued", "sound"]
    assert one.upkeep.drop_media(base_id) == Freed()  # the rerun has it
    with pytest.raises(Problem) as gone:
        one.add(based_on=base_id, rerun=rerun)
    assert gone.value.code == "media_gone"


def test_only_ended_jobs_are_deleted_and_only_old_ones_by_age(opened: Open) -> None:
    one = opened()
    running, done = one.claimed(), one.done()
    assert one.upkeep.delete(running) == Freed() and one.state(running) == "running"
    soon = datetime.now(UTC) + timedelta(seconds=5)
    assert one.upkeep.too_old(soon, 10) == [done]
    assert one.upkeep.too_old(datetime.now(UTC) - timedelta(hours=1), 10) == []


def test_webhooks_wait_in_the_store_until_they_are_settled(opened: Open) -> None:
    one = opened()
    job_id = one.claimed(webhook_url="https://host/hook")
    one.store.end(one.claimed(), Ending("cancelled"))
    now = datetime.now(UTC)
    assert one.upkeep.next_due() is None
    one.store.end(job_id, Ending("cancelled"))
    later = now + timedelta(minutes=1)
    (due,) = one.upkeep.due(later, 10)
    assert (due.job_id, due.url, due.attempts) == (job_id, "https://host/hook", 0)
    one.upkeep.postpone(job_id, later + timedelta(hours=1))
    assert one.upkeep.due(later, 10) == [] and one.upkeep.next_due() == later + timedelta(hours=1)
    assert one.upkeep.due(later + timedelta(hours=2), 10)[0].attempts == 1
    one.upkeep.settle(job_id)
    assert one.upkeep.next_due() is None


def test_names_that_no_database_takes_are_made_harmless(opened: Open) -> None:
    one = opened()
    found = one.store.get(one.add(source="a\x00b\udc80.mp4"))
    assert found is not None and found.row.source == "ab?.mp4"


def test_tables_of_a_newer_version_are_refused_untouched(opened: Open, database_url: str, tmp_path: Path) -> None:
    one = opened()
    with Session(one.engine) as session, session.begin():
        session.execute(update(SchemaRow).values(version=7))
    with pytest.raises(PlanError, match=r"version 7, this Reelscope knows version 1.*store.database_url"):
        open_database(database_url, tmp_path)
    with one.engine.connect() as connection:
        assert connection.scalar(text("SELECT version FROM schema_version")) == 7


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://someone:secret@host/jobs", r"mysql://someone:\*\*\*@host/jobs"),
        ("no url", "no SQLAlchemy URL"),
        ("postgresql+psycopg://someone:secret@127.0.0.1:1/jobs", r"\*\*\*@127.0.0.1:1/jobs cannot be used.*refused"),
        ("sqlite:////proc/none/jobs.sqlite", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refused:
        open_database(url, tmp_path)
    assert re.search(message, str(refused.value)) and "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_default_database_lies_in_the_data_folder(tmp_path: Path) -> None:
    engine = open_database(None, tmp_path / "data")
    engine.dispose()
    connection = sqlite3.connect(tmp_path / "data" / "jobs.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
