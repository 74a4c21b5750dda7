"""What is deleted from the job store when, and which webhooks are still to be sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, delete, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session, sessionmaker

from serve_app.jobs.rows import OPEN
from serve_app.jobs.tables import DeliveryRow, JobRow, UsageRow
from serve_app.schemas import ENDED


@dataclass(frozen=True, slots=True)
class Freed:
    """Names of files that no job refers to any more."""

    media: str | None = None
    report: str | None = None


@dataclass(frozen=True, slots=True)
class References:
    """What jobs refer to.

    Args:
        media, reports: names of files.
        open_jobs: ids of jobs that have not ended.
        open_media: names of their media.
    """

    media: frozenset[str]
    reports: frozenset[str]
    open_jobs: frozenset[str]
    open_media: frozenset[str]


@dataclass(frozen=True, slots=True)
class Due:
    """A webhook that is to be sent now."""

    job_id: str
    url: str
    attempts: int


class Upkeep:
    """Methods block; each is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._session = sessionmaker(engine, expire_on_commit=False)

    # --- retention ---

    def with_old_media(self, before: datetime, limit: int) -> list[str]:
        """Jobs that ended before that time and still have media."""
        return self._ended(before, limit, JobRow.media_name.is_not(None))

    def too_old(self, before: datetime, limit: int) -> list[str]:
        """Jobs that ended before that time."""
        return self._ended(before, limit)

    def _ended(self, before: datetime, limit: int, *more: object) -> list[str]:
        with self._session() as session:
            old = select(JobRow.id).where(JobRow.state.in_(ENDED), JobRow.ended_at < before, *more)  # type: ignore[arg-type]
            return list(session.scalars(old.order_by(JobRow.ended_at).limit(limit)))

    def drop_media(self, job_id: str) -> Freed:
        """An ended job gives its media up."""
        with self._session.begin() as session:
            row = session.get(JobRow, job_id)
            if row is None or row.state not in ENDED:
                return Freed()
            name = row.media_name
            session.execute(update(JobRow).where(JobRow.id == job_id).values(media_name=None))
            return Freed(media=_unless_used(session, JobRow.media_name, name))

    def delete(self, job_id: str) -> Freed:
        """Delete an ended job and all that is stored of it."""
        with self._session.begin() as session:
            gone = delete(JobRow).where(JobRow.id == job_id, JobRow.state.in_(ENDED))
            names = session.execute(gone.returning(JobRow.media_name, JobRow.report_name)).one_or_none()
            if names is None:
                return Freed()
            media, report = names
            return Freed(
                media=_unless_used(session, JobRow.media_name, media),
                report=_unless_used(session, JobRow.report_name, report),
            )

    def references(self) -> References:
        """All names that are in use."""
        with self._session() as session:
            is_open = JobRow.state.in_(OPEN)
            names = select(JobRow.media_name).where(JobRow.media_name.is_not(None))
            reports = select(JobRow.report_name).where(JobRow.report_name.is_not(None))
            return References(
                media=frozenset(name for name in session.scalars(names) if name),
                reports=frozenset(name for name in session.scalars(reports) if name),
                open_jobs=frozenset(session.scalars(select(JobRow.id).where(is_open))),
                open_media=frozenset(name for name in session.scalars(names.where(is_open)) if name),
            )

    def is_used(self, name: str) -> bool:
        """Whether a job refers to a file of that name."""
        with self._session() as session:
            refers = or_(JobRow.media_name == name, JobRow.report_name == name)
            return session.scalar(select(JobRow.id).where(refers).limit(1)) is not None

    def media_in_use(self, name: str) -> bool:
        """Whether a job that has not ended works on that media."""
        with self._session() as session:
            works = select(JobRow.id).where(JobRow.media_name == name, JobRow.state.in_(OPEN)).limit(1)
            return session.scalar(works) is not None

    def forget_usage(self, before_day: str) -> None:
        """Delete what was counted on days before that one."""
        with self._session.begin() as session:
            session.execute(delete(UsageRow).where(UsageRow.day < before_day))

    # --- webhooks ---

    def due(self, at: datetime, limit: int) -> list[Due]:
        """Webhooks to be sent at that time, the longest due first."""
        with self._session() as session:
            query = select(DeliveryRow.job_id, JobRow.webhook_url, DeliveryRow.attempts).join(
                JobRow, JobRow.id == DeliveryRow.job_id
            )
            query = query.where(DeliveryRow.next_at <= at).order_by(DeliveryRow.next_at).limit(limit)
            return [Due(job_id, url or "", attempts) for job_id, url, attempts in session.execute(query)]

    def next_due(self) -> datetime | None:
        """When the next webhook is to be sent."""
        with self._session() as session:
            return session.scalar(select(func.min(DeliveryRow.next_at)))

    def settle(self, job_id: str) -> None:
        """A webhook is not to be sent any more."""
        with self._session.begin() as session:
            session.execute(delete(DeliveryRow).where(DeliveryRow.job_id == job_id))

    def postpone(self, job_id: str, until: datetime) -> None:
        """A webhook was not taken: it is sent again then."""
        with self._session.begin() as session:
            later = {"attempts": DeliveryRow.attempts + 1, "next_at": until}
            session.execute(update(DeliveryRow).where(DeliveryRow.job_id == job_id).values(**later))


def _unless_used(session: Session, column: InstrumentedAttribute[str | None], name: str | None) -> str | None:
    if name is None or session.scalar(select(JobRow.id).where(column == name).limit(1)) is not None:
        return None
    return name
