"""The bodies of the HTTP interface, shared by the service, its page's tests and the Python client.

The document itself is `pipeline.results.VideoReport`; here is what stands around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from pipeline.results import Status, VideoFacts

JobState = Literal["queued", "fetching", "running", "done", "failed", "cancelled"]
ENDED: Final = frozenset({"done", "failed", "cancelled"})
SourceKind = Literal["path", "url", "upload"]
NAME: Final = r"^[a-z][a-z0-9_]{0,63}$"

AnalyzerName = Annotated[str, StringConstraints(pattern=NAME)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Body(BaseModel):
    """Base of what is sent and answered: no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Wanted(Body):
    """What to run.

    Args:
        analyzers: names; None is all. What they depend on runs too.
        webhook_url: is told when the job has ended; only hosts of setting access.webhook_hosts.
    """

    analyzers: list[AnalyzerName] | None = Field(default=None, min_length=1, max_length=64)
    webhook_url: Text | None = None


class AnalyzeRequest(Wanted):
    """Body of `POST /analyze` and `POST /v1/jobs`: one source, and what to run.

    Args:
        video_path: a file on the server, below a media root.
        tiktok_url: an https URL of a post: TikTok, Instagram, YouTube Shorts, as configured.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [given], "properties": {given: {"type": "string"}, other: {"type": "null"}}}
                for given, other in (("video_path", "tiktok_url"), ("tiktok_url", "video_path"))
            ]
        }
    )

    video_path: Text | None = None
    tiktok_url: Text | None = None

    @model_validator(mode="after")
    def _one_source(self) -> AnalyzeRequest:
        if (self.video_path is None) == (self.tiktok_url is None):
            raise ValueError("give exactly one of video_path and tiktok_url")
        return self


class RerunRequest(Body):
    """Body of `POST /v1/jobs/{id}/rerun`: these analyzers anew, all others taken from the job's report."""

    analyzers: list[AnalyzerName] = Field(min_length=1, max_length=64)


class SessionRequest(Body):
    """Body of `POST /v1/session`: an API key, for a cookie that a browser sends by itself."""

    key: Text


class ProblemBody(BaseModel):
    """An error, as application/problem+json (RFC 9457). `code` stays the same over releases; see docs/http.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(description="urn:reelscope:problem:CODE")
    title: str = Field(description="what the code means")
    status: int
    detail: str = Field(description="what was wrong here, and what to do")
    code: str
    request_id: str | None = None
    errors: list[dict[str, Any]] | None = Field(default=None, description="field by field, of an invalid body")


class JobError(Body):
    """Why a job failed."""

    code: str
    detail: str


class AnalyzerState(Body):
    """Where one analyzer of a job is: seconds of the video that it has done, and how it ended."""

    done_s: float = 0.0
    status: Status | None = Field(default=None, description="None while it works or waits")


class JobLinks(Body):
    """Where to go from a job, relative to the server."""

    self: str
    events: str
    result: str
    media: str
    page: str


class Job(Body):
    """One video's way through the service.

    Args:
        source: what to call it: the file's name, or the post's URL.
        position: how many jobs stand before it, while it is queued.
        fetched_bytes, fetch_bytes: of the post, while it is fetched; the second is None where the host does not say.
        duration_s: of the video, once it is probed.
        analyzers: by name, all that run, those that the wanted ones depend on too; empty before it runs.
        from_store: the same content was analyzed before in the same way, and this is that answer.
        based_on: the job whose report a rerun began with.
        attempts: how often it was begun; more than one after the service was stopped meanwhile.
    """

    id: str
    state: JobState
    source_kind: SourceKind
    source: str
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    position: int | None = None
    fetched_bytes: int | None = None
    fetch_bytes: int | None = None
    duration_s: float | None = None
    video: VideoFacts | None = None
    wanted: list[str] | None = None
    analyzers: dict[str, AnalyzerState] = Field(default_factory=dict)
    error: JobError | None = None
    from_store: bool = False
    based_on: str | None = None
    media_kept: bool = False
    attempts: int = 0
    request_id: str | None = None
    links: JobLinks


class JobList(Body):
    """Newest first.

    Args:
        next: `before` of the next page; None on the last.
    """

    jobs: list[Job]
    next: str | None = None


class GpuState(Body):
    """One GPU: 0..1 of its time and its memory."""

    name: str
    utilization: float | None = None
    used_gb: float | None = None


class AnalyzerHealth(Body):
    """Whether an analyzer can answer.

    Args:
        state: ``loading``, ``ready``, ``skipped`` (nothing to answer with in this profile, or switched off) or
            ``failed`` (it did not load).
        reason: of the last two.
        model: id of what answers.
    """

    state: Literal["loading", "ready", "skipped", "failed"]
    reason: str | None = None
    model: str | None = None


class Health(Body):
    """Body of `GET /health`. `status` is ``starting`` while analyzers load, ``stopping`` while draining."""

    status: Literal["ok", "starting", "degraded", "stopping"]
    version: str
    profile: str
    analyzers: dict[str, AnalyzerHealth]
    gpus: list[GpuState]
    jobs: dict[str, int] = Field(description="queued, fetching and running jobs by state")
    limits: dict[str, float] = Field(description="what a request may ask for, by setting")


class Live(Body):
    """Body of `GET /livez` and `GET /readyz`."""

    status: Literal["ok", "starting", "stopping"]


EventType = Literal["job", "progress", "analyzer.completed", "analyzer.failed", "done"]


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job.

    Args:
        type: ``job`` (its state has changed, or it is known what runs: data is the `Job`), ``progress`` (data:
            ``{"analyzers": {name: {"done_s", "total_s"}}}``, those that moved; while a post is fetched also
            ``fetched_bytes`` and ``fetch_bytes``, as in the `Job`), ``analyzer.completed`` (ok or skipped: data is the
            `AnalyzerResult`), ``analyzer.failed`` (the same), ``done`` (the job has ended in whatever way: data is the
            `Job`); nothing follows it.
        data: JSON values.
        id: counts up from 1 within the job; None for progress, which is not kept and not sent again.
    """

    type: EventType
    data: Mapping[str, Any]
    id: int | None = None
