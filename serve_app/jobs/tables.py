"""The tables of the job store, and how a database with them is opened: SQLite or PostgreSQL.

Times are UTC. Nothing here or in `serve_app.jobs.store` is said in a dialect's own SQL but SQLite's pragmas.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Engine,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    create_engine,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import TypeDecorator

from pipeline.errors import PlanError
from serve_app.schemas import EventType

SCHEMA_VERSION: Final = 1
BUSY_TIMEOUT_S: Final = 30
"""How long SQLite waits for another process (a backup, an old service that ends) to let go of the database."""


class UtcTime(TypeDecorator[datetime]):
    """A time with its zone, in UTC; SQLite stores none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """As stored."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """As read."""
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {datetime: UtcTime, dict[str, Any]: JSON, list[str]: JSON, int: BigInteger}  # noqa: RUF012


class SchemaRow(Base):
    """One row: which version of these tables the database has."""

    __tablename__ = "schema_version"

    version: Mapped[int] = mapped_column(primary_key=True)


class JobRow(Base):
    """A job.

    Attributes:
        source: the path, the URL, or the upload's name.
        ready: whether there is a file to analyze (not so before a post is fetched).
        suffix: of the file in the spool folder, until it is probed.
        media_bytes: what its media takes up; 0 for a path.
        media_name: of the file in the media store; None when there is none, or not any more.
        identity: size, time of change and inode of a path's file when it was probed.
        names: all analyzers that run, once they do.
        asked_key: hash of content and config (see `serve_app.jobs.answers`), once it is probed.
        answer_key: the same, if the report is an answer to whoever asks it again.
        crashes: how often the service ended under it without notice.
        drained: the service ended under it in good order.
        seconds_per_day_max: the owner's, as it was when the job was submitted.
        charged_s: seconds of video that count against the owner's day.
        last_event: id of the newest event.
    """

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    state: Mapped[str]
    source_kind: Mapped[str]
    source: Mapped[str]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None] = mapped_column(default=None)
    ended_at: Mapped[datetime | None] = mapped_column(default=None)
    request_id: Mapped[str | None] = mapped_column(default=None)
    idempotency_key: Mapped[str | None] = mapped_column(default=None)
    body_sha256: Mapped[str | None] = mapped_column(default=None)
    webhook_url: Mapped[str | None] = mapped_column(default=None)
    based_on: Mapped[str | None] = mapped_column(default=None)
    wanted: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True), default=None)
    names: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True), default=None)
    ready: Mapped[bool] = mapped_column(default=False)
    suffix: Mapped[str] = mapped_column(default="")
    media_bytes: Mapped[int] = mapped_column(default=0)
    media_name: Mapped[str | None] = mapped_column(default=None, index=True)
    identity: Mapped[str | None] = mapped_column(default=None)
    video: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    asked_key: Mapped[str | None] = mapped_column(default=None)
    answer_key: Mapped[str | None] = mapped_column(default=None, index=True)
    report_name: Mapped[str | None] = mapped_column(default=None, index=True)
    from_store: Mapped[bool] = mapped_column(default=False)
    error_code: Mapped[str | None] = mapped_column(default=None)
    error_detail: Mapped[str | None] = mapped_column(default=None)
    attempts: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    drained: Mapped[bool] = mapped_column(default=False)
    seconds_per_day_max: Mapped[float | None] = mapped_column(default=None)
    charged_s: Mapped[float | None] = mapped_column(default=None)
    last_event: Mapped[int] = mapped_column(default=0)

    __table_args__ = (
        Index("jobs_by_state", "state", "ready", "id"),
        Index("jobs_by_owner", "owner", "id"),
        Index("jobs_by_end", "ended_at"),
        Index("jobs_by_idempotency_key", "owner", "idempotency_key", unique=True),
    )


class ResultRow(Base):
    """What became of one analyzer of a job.

    Attributes:
        data: the `AnalyzerResult` as JSON, compressed by gzip; None once it is in the job's report.
    """

    __tablename__ = "results"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str]
    status: Mapped[str]
    data: Mapped[bytes | None] = mapped_column(LargeBinary, default=None)


class EventRow(Base):
    """Something that happened to a job; its data is made anew from the job and its results.

    Attributes:
        what: the analyzer's name, or the state that the job came into.
    """

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[EventType] = mapped_column(String)
    what: Mapped[str]


class UsageRow(Base):
    """Seconds of video that were analyzed for an owner on one day (UTC)."""

    __tablename__ = "usage"

    owner: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)
    seconds: Mapped[float]


class DeliveryRow(Base):
    """A webhook that is still to be sent."""

    __tablename__ = "deliveries"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime]


def open_database(url: str | None, data_dir: Path) -> Engine:
    """The database with its tables, made if they are not there.

    Args:
        url: SQLAlchemy's, `sqlite` or `postgresql+psycopg`; None is jobs.sqlite in the data folder.

    Raises:
        PlanError: it cannot be reached, or a newer Reelscope has made its tables.
    """
    try:
        parsed = make_url(url) if url is not None else URL.create("sqlite", database=str(data_dir / "jobs.sqlite"))
    except ArgumentError:
        raise PlanError(f"setting store.database_url is no SQLAlchemy URL: {url}") from None
    shown = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise PlanError(f"jobs are kept in SQLite or PostgreSQL, not in {shown} (setting store.database_url)")
    try:
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = _engine(parsed)
        _check_version(engine, shown)
    except (SQLAlchemyError, OSError, ImportError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise PlanError(f"the database {shown} cannot be used (setting store.database_url): {reason}") from error
    return engine


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy says when a transaction begins, below, and not the driver
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # a read that turns into a write would fail, not wait

    return engine


def _check_version(engine: Engine, shown: str) -> None:
    """Make the tables in an empty database; refuse those of another version before they are touched."""
    if not inspect(engine).has_table(SchemaRow.__tablename__):
        with engine.begin() as connection:
            Base.metadata.create_all(connection)
            connection.execute(insert(SchemaRow).values(version=SCHEMA_VERSION))
        return
    with Session(engine) as session:
        found = session.scalar(select(SchemaRow.version))
    if found != SCHEMA_VERSION:
        engine.dispose()
        raise PlanError(
            f"the database {shown} has tables of version {found}, this Reelscope knows version {SCHEMA_VERSION}; use "
            "the Reelscope that made it, or another database (setting store.database_url)"
        )
