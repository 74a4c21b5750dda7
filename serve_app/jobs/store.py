"""What is remembered of jobs, and the only place where their state changes.

Every change names the states that it may start from and is one statement, so that of two that race (a cancel and an
end) exactly one wins. All methods block and are called from one thread; each is one transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, case, delete, func, select, update
from sqlalchemy.orm import Session, sessionmaker

from pipeline.results import AnalyzerResult, VideoReport
from serve_app.jobs.rows import BEGUN, OPEN, Found, add_result, clean, dump, event_of, find, move, now, unpack
from serve_app.jobs.tables import DeliveryRow, EventRow, JobRow, ResultRow, UsageRow
from serve_app.problems import Problem
from serve_app.schemas import ENDED, JobState


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ends.

    Args:
        state: one of `serve_app.schemas.ENDED`.
        error: why it failed.
        report: of a job that is done.
        report_name: where that report was written.
        answer_key: if the report answers whoever asks the same again.
    """

    state: JobState
    error: Problem | None = None
    report: VideoReport | None = None
    report_name: str | None = None
    answer_key: str | None = None


class Store:
    """Jobs after they were taken on.

    Args:
        engine: from `serve_app.jobs.tables.open_database`.
        attempts_max: how often a job is begun that the service does not survive.
    """

    def __init__(self, engine: Engine, attempts_max: int) -> None:
        self._session = sessionmaker(engine, expire_on_commit=False)
        self._attempts_max = attempts_max

    # --- reading ---

    def get(self, job_id: str, owner: str | None = None) -> Found | None:
        """A job, if it is the owner's (None: anybody's)."""
        mine = () if owner is None else (JobRow.owner == owner,)
        with self._session() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == job_id, *mine))
            return None if row is None else find(session, [row])[0]

    def page(self, owner: str, limit: int, before: str | None) -> list[Found]:
        """The owner's jobs, newest first, at most `limit` of those older than the job `before`."""
        older = () if before is None else (JobRow.id < before,)
        with self._session() as session:
            query = select(JobRow).where(JobRow.owner == owner, *older).order_by(JobRow.id.desc()).limit(limit)
            return find(session, session.scalars(query).all())

    def counts(self) -> dict[str, int]:
        """Jobs that have not ended, by state."""
        with self._session() as session:
            query = (
                select(JobRow.state, func.count().label("jobs")).where(JobRow.state.in_(OPEN)).group_by(JobRow.state)
            )
            found = {row.state: row.jobs for row in session.execute(query)}
        return {state: found.get(state, 0) for state in OPEN}

    def events(self, job_id: str, after: int, limit: int) -> tuple[list[EventRow], bool]:
        """Events with an id above `after`, and whether no more can come after all that there are."""
        with self._session() as session:
            state = session.scalar(select(JobRow.state).where(JobRow.id == job_id))
            query = select(EventRow).where(EventRow.job_id == job_id, EventRow.id > after)
            return list(session.scalars(query.order_by(EventRow.id).limit(limit))), state is None or state in ENDED

    def result(self, job_id: str, name: str) -> AnalyzerResult | None:
        """A stored result; None when it is in the report, or nowhere any more."""
        with self._session() as session:
            data = session.scalar(select(ResultRow.data).where(ResultRow.job_id == job_id, ResultRow.name == name))
        return None if data is None else unpack(data)

    def ok_results(self, job_id: str) -> list[AnalyzerResult]:
        """All stored results of status ok."""
        with self._session() as session:
            query = select(ResultRow.data).where(ResultRow.job_id == job_id, ResultRow.status == "ok")
            found = [data for data in session.scalars(query) if data is not None]
        return [unpack(data) for data in found]

    def forget_results(self, job_id: str) -> None:
        """Delete all stored results of a job."""
        with self._session.begin() as session:
            session.execute(delete(ResultRow).where(ResultRow.job_id == job_id))

    # --- the way of a job ---

    def claim(self, ready: bool) -> JobRow | None:
        """Begin the next queued job: of the owner with the fewest in flight, then the oldest.

        Args:
            ready: one that can be analyzed; otherwise one that must be fetched first.
        """
        with self._session.begin() as session:
            begun = (
                select(JobRow.owner, func.count().label("jobs"))
                .where(JobRow.state.in_(BEGUN))
                .group_by(JobRow.owner)
                .subquery()
            )
            job_id = session.scalar(
                select(JobRow.id)
                .outerjoin(begun, begun.c.owner == JobRow.owner)
                .where(JobRow.state == "queued", JobRow.ready == ready)
                .order_by(func.coalesce(begun.c.jobs, 0), JobRow.id)
                .limit(1)
            )
            if job_id is None:
                return None
            state = "running" if ready else "fetching"
            first = {"attempts": case((JobRow.attempts == 0, 1), else_=JobRow.attempts)}
            started = {"started_at": func.coalesce(JobRow.started_at, now())}
            if not move(session, job_id, ("queued",), "job", state, state=state, **first, **started):
                return None
            return session.get(JobRow, job_id)

    def fetched(self, job_id: str, suffix: str, nbytes: int) -> bool:
        """A post's video is there: the job waits for the analyzers. False: it is not being fetched any more."""
        with self._session.begin() as session:
            values: dict[str, Any] = {"state": "queued", "ready": True, "suffix": suffix, "media_bytes": nbytes}
            return move(session, job_id, ("fetching",), "job", "queued", **values)

    def update(self, job_id: str, **values: Any) -> bool:
        """Remember more about a running job. False: it does not run any more."""
        with self._session.begin() as session:
            running = update(JobRow).where(JobRow.id == job_id, JobRow.state == "running")
            return session.scalar(running.values(**values).returning(JobRow.id)) is not None

    def begin_run(self, job_id: str, names: Collection[str]) -> bool:
        """The analyzers that run are known: listeners are told. False: the job does not run any more."""
        with self._session.begin() as session:
            return move(session, job_id, ("running",), "job", "running", names=sorted(names))

    def charge(self, job_id: str, seconds: float) -> None:
        """Count a job's video against its owner's day, once. Raises `Problem` quota_exceeded."""
        with self._session.begin() as session:
            job = session.get_one(JobRow, job_id)
            if job.charged_s is not None:
                return
            day = now().date().isoformat()
            usage = session.get(UsageRow, (job.owner, day), with_for_update=True)
            used, limit = usage.seconds if usage is not None else 0.0, job.seconds_per_day_max
            if limit is not None and used + seconds > limit:
                raise Problem(
                    "quota_exceeded",
                    f"the video is {seconds:.1f} s long, {max(0.0, limit - used):.1f} s of the key's {limit:.1f} s are "
                    "left today (UTC)",
                )
            if usage is None:
                session.add(usage := UsageRow(owner=job.owner, day=day, seconds=0.0))
            usage.seconds += seconds
            job.charged_s = seconds

    def add_result(self, job_id: str, result: AnalyzerResult) -> bool:
        """Keep a result of a running job and tell of it. False: the job does not run any more."""
        with self._session.begin() as session:
            return add_result(session, job_id, ("running",), result)

    def answer(self, key: str) -> JobRow | None:
        """The newest job whose report answers that."""
        with self._session() as session:
            same = (JobRow.answer_key == key, JobRow.state == "done", JobRow.report_name.is_not(None))
            return session.scalar(select(JobRow).where(*same).order_by(JobRow.id.desc()).limit(1))

    def end_from(self, job_id: str, answered: JobRow, report: VideoReport) -> bool:
        """End a running job with the report of another. False: it does not run any more, or the other is deleted."""
        ending = Ending("done", None, report, answered.report_name, answered.answer_key)
        with self._session.begin() as session:
            if session.scalar(select(JobRow.id).where(JobRow.id == answered.id)) is None:
                return False
            for name, result in report.analyzers.items():
                if not move(session, job_id, ("running",), event_of(result.status), name):
                    return False
                session.merge(ResultRow(job_id=job_id, name=name, version=result.version, status=result.status))
            return self._end(session, job_id, ending, ("running",), from_store=True)

    def end(self, job_id: str, ending: Ending, states: Collection[str] = OPEN) -> bool:
        """End a job. False: it has ended already, or is not in one of the states."""
        with self._session.begin() as session:
            return self._end(session, job_id, ending, states)

    def _end(
        self, session: Session, job_id: str, ending: Ending, states: Collection[str], **values: ColumnElement[Any] | Any
    ) -> bool:
        at = now()
        values |= {"state": ending.state, "ended_at": at}
        if ending.error is not None:
            values |= {"error_code": ending.error.code, "error_detail": clean(ending.error.detail)}
        if ending.report is not None:
            values |= {"report_name": ending.report_name, "answer_key": ending.answer_key}
            values |= {"names": sorted(ending.report.analyzers), "video": dump(ending.report.video)}
        if not move(session, job_id, states, "done", ending.state, **values):
            return False
        if ending.report is not None:
            session.execute(update(ResultRow).where(ResultRow.job_id == job_id).values(data=None))
        if session.scalar(select(JobRow.webhook_url).where(JobRow.id == job_id)) is not None:
            session.add(DeliveryRow(job_id=job_id, attempts=0, next_at=at))
        return True

    # --- restarts ---

    def resume(self) -> int:
        """Queue again what the service left when it ended; what it did not survive too often fails. How many go on."""
        resumed = 0
        with self._session.begin() as session:
            for job in session.scalars(select(JobRow).where(JobRow.state.in_(BEGUN)).order_by(JobRow.id)).all():
                crashes = job.crashes + (not job.drained)
                if crashes >= self._attempts_max:
                    detail = f"the service ended {crashes} times while it worked on this job (serve.attempts_max)"
                    self._end(session, job.id, Ending("failed", Problem("internal", detail)), BEGUN, crashes=crashes)
                    continue
                values = {"state": "queued", "attempts": job.attempts + 1, "crashes": crashes, "drained": False}
                resumed += move(session, job.id, BEGUN, "job", "queued", **values)
        return resumed

    def interrupt(self) -> None:
        """The service ends in good order: that does not count against the jobs that it works on."""
        with self._session.begin() as session:
            session.execute(update(JobRow).where(JobRow.state.in_(BEGUN)).values(drained=True))
