"""What the parts of the job store share: finding a job, changing its state, noting a result."""

from __future__ import annotations

import gzip
import secrets
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from pipeline.results import AnalyzerResult, VideoFacts
from serve_app.jobs.tables import EventRow, JobRow, ResultRow
from serve_app.schemas import EventType

BEGUN: Final = ("fetching", "running")
OPEN: Final = ("queued", *BEGUN)
_GZIP_LEVEL: Final = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A job as it is stored.

    Args:
        row: read-only, as of when it was read.
        statuses: of the analyzers that have ended, by name.
        position: how many queued jobs are older, if it is queued.
    """

    row: JobRow
    statuses: dict[str, str]
    position: int | None = None


def find(session: Session, rows: Sequence[JobRow]) -> list[Found]:
    """The rows with what belongs to them."""
    statuses: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    query = select(ResultRow.job_id, ResultRow.name, ResultRow.status).where(ResultRow.job_id.in_(statuses))
    for job_id, name, status in session.execute(query):
        statuses[job_id][name] = status
    queue: dict[str, int] = {}
    if any(row.state == "queued" for row in rows):
        ids = session.scalars(select(JobRow.id).where(JobRow.state == "queued").order_by(JobRow.id))
        queue = {job_id: position for position, job_id in enumerate(ids)}
    return [Found(row, statuses[row.id], queue.get(row.id)) for row in rows]


def move(
    session: Session,
    job_id: str,
    states: Collection[str],
    kind: EventType,
    what: str,
    **values: ColumnElement[Any] | Any,
) -> bool:
    """Change a job that is in one of the states, and note the event. False: it is in none of them."""
    changed = update(JobRow).where(JobRow.id == job_id, JobRow.state.in_(states))
    changed = changed.values(last_event=JobRow.last_event + 1, **values).execution_options(synchronize_session=False)
    number = session.scalar(changed.returning(JobRow.last_event))
    if number is None:
        return False
    session.add(EventRow(job_id=job_id, id=number, type=kind, what=what))
    return True


def add_result(session: Session, job_id: str, states: Collection[str], result: AnalyzerResult) -> bool:
    """Keep a result of a job that is in one of the states, and note the event. False: it is in none of them."""
    if not move(session, job_id, states, event_of(result.status), result.name):
        return False
    data = gzip.compress(result.model_dump_json().encode(), _GZIP_LEVEL, mtime=0)
    row = {"job_id": job_id, "name": result.name, "version": result.version, "status": result.status}
    session.merge(ResultRow(**row, data=data))  # it is there already if an earlier attempt has failed at it
    return True


def unpack(data: bytes) -> AnalyzerResult:
    """A kept result."""
    return AnalyzerResult.model_validate_json(gzip.decompress(data))


def event_of(status: str) -> EventType:
    """The type of event that a result of that status is."""
    return "analyzer.failed" if status == "failed" else "analyzer.completed"


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): 74 bits nobody can guess but for the first 12, which order within 1/4 us."""
    time_ns = time.time_ns()
    ms, rest_ns = divmod(time_ns, 1_000_000)
    number = ms << 80 | 7 << 76 | (rest_ns * 4096 // 1_000_000) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=number))


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def dump(facts: VideoFacts) -> dict[str, Any]:
    """Facts as they are stored."""
    return facts.model_dump(mode="json")


def clean(text: str) -> str:
    """Text that every database takes: without NUL and without halves of characters (from names of files)."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")
