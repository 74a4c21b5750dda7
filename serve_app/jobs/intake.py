"""Takes jobs on, as long as there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from pipeline.results import AnalyzerResult
from pipeline.service_settings import ServeSettings
from serve_app.jobs.interface import Submission
from serve_app.jobs.rows import OPEN, Found, add_result, clean, find, move, now
from serve_app.jobs.tables import JobRow
from serve_app.problems import Problem


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a rerun takes from the job that it is based on.

    Args:
        base: that job.
        given: those of its results that are taken over.
    """

    base: JobRow
    given: Sequence[AnalyzerResult]


class Intake:
    """The door of the job store. Methods block; each is one transaction.

    Args:
        engine: from `serve_app.jobs.tables.open_database`.
        limits: how much is taken on.
    """

    def __init__(self, engine: Engine, limits: ServeSettings) -> None:
        self._session = sessionmaker(engine, expire_on_commit=False)
        self._limits = limits

    def check_room(self, nbytes: int, owner: str, jobs_in_flight_max: int | None) -> None:
        """Raises `Problem` busy or too_many_jobs if a job with that much media would not be taken on."""
        with self._session() as session:
            self._check_room(session, nbytes, owner, jobs_in_flight_max)

    def add(self, job_id: str, asked: Submission, nbytes: int, suffix: str, rerun: Rerun | None) -> tuple[Found, bool]:
        """A new job, or the one that its Idempotency-Key has made before; the flag says whether it is new.

        Args:
            job_id: from `new_id`.
            asked: what is wanted.
            nbytes: of media that is there already.
            suffix: of the file in the spool folder.
            rerun: what it begins with.

        Raises:
            Problem: busy, too_many_jobs, idempotency_conflict; media_gone: the base has lost its video meanwhile.
        """
        for last in (False, True):
            try:
                with self._session.begin() as session:
                    if (known := self._known(session, asked)) is not None:
                        return find(session, [known])[0], False
                    self._check_room(session, nbytes, asked.owner, asked.jobs_in_flight_max)
                    row = self._add(session, job_id, asked, nbytes, suffix, rerun)
                    return find(session, [row])[0], True
            except IntegrityError:
                if last:
                    raise  # otherwise another process has used the Idempotency-Key in this moment
        raise AssertionError("unreachable")

    def _known(self, session: Session, asked: Submission) -> JobRow | None:
        if asked.idempotency_key is None:
            return None
        same_key = (JobRow.owner == asked.owner, JobRow.idempotency_key == asked.idempotency_key)
        known = session.scalar(select(JobRow).where(*same_key))
        if known is not None and known.body_sha256 != asked.body_sha256:
            raise Problem("idempotency_conflict", f"that key made job {known.id} from another request; use a new key")
        return known

    def _check_room(self, session: Session, nbytes: int, owner: str, jobs_in_flight_max: int | None) -> None:
        limits = self._limits
        is_open = JobRow.state.in_(OPEN)
        if jobs_in_flight_max is not None:
            own = session.scalar(select(func.count()).where(is_open, JobRow.owner == owner)) or 0
            if own >= jobs_in_flight_max:
                detail = f"{own} jobs of this key have not ended, the limit is {jobs_in_flight_max}"
                raise Problem("too_many_jobs", detail, retry_after_s=limits.retry_after_s)
        count, pending = session.execute(select(func.count(), func.sum(JobRow.media_bytes)).where(is_open)).one()
        room = limits.videos_in_flight + limits.waiting_max
        if count >= room:
            raise self._busy(f"{count} jobs have not ended, the limit is {room} (serve.videos_in_flight + waiting_max)")
        # One may exceed it alone, or it would never be taken on.
        if pending and int(pending) + nbytes > limits.pending_bytes_max:
            raise self._busy(
                f"{int(pending) + nbytes} bytes of media would wait, the limit is {limits.pending_bytes_max} "
                "(serve.pending_bytes_max)"
            )

    def _busy(self, detail: str) -> Problem:
        return Problem("busy", f"{detail}; try again later", retry_after_s=self._limits.retry_after_s)

    def _add(
        self, session: Session, job_id: str, asked: Submission, nbytes: int, suffix: str, rerun: Rerun | None
    ) -> JobRow:
        row = JobRow(
            id=job_id,
            owner=asked.owner,
            state="queued",
            source_kind=asked.kind,
            source=clean(asked.source),
            created_at=now(),
            request_id=asked.request_id,
            idempotency_key=asked.idempotency_key,
            body_sha256=asked.body_sha256,
            webhook_url=asked.webhook_url,
            based_on=asked.based_on,
            wanted=None if asked.analyzers is None else list(asked.analyzers),
            ready=asked.kind != "url" or rerun is not None,
            suffix=suffix,
            media_bytes=nbytes,
            seconds_per_day_max=asked.seconds_per_day_max,
            last_event=0,
        )
        if rerun is not None:
            self._take_over(session, row, rerun.base.id)
        session.add(row)
        session.flush()
        move(session, job_id, ("queued",), "job", "queued")
        for result in rerun.given if rerun is not None else ():
            add_result(session, job_id, ("queued",), result)
        session.refresh(row)
        return row

    def _take_over(self, session: Session, row: JobRow, base_id: str) -> None:
        """The base's video: read here again, since it may have been deleted a moment ago."""
        base = session.get(JobRow, base_id)
        if base is None or (base.media_name is None and base.source_kind != "path"):
            raise Problem("media_gone", f"the video of job {base_id} is not kept any more; submit it again")
        row.media_name, row.media_bytes, row.identity = base.media_name, base.media_bytes, base.identity
        row.video, row.source, row.source_kind = base.video, base.source, base.source_kind
        row.asked_key = base.asked_key
