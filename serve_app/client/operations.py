"""What the client asks of a server. A test holds it to docs/openapi.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

from pipeline.results import VideoReport
from serve_app.schemas import Health, Job, JobList

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing to ask for; the answer is bytes.

    Args:
        method, path: as in the document; what stands in braces is filled in.
        statuses: that mean yes.
        repeatable: doing it twice is doing it once, so it is asked again when the connection breaks.
    """

    method: str = field(kw_only=False)
    path: str = field(kw_only=False)
    statuses: tuple[int, ...] = (200,)
    repeatable: bool = True


@dataclass(frozen=True, kw_only=True)
class Typed(Operation, Generic[ModelT]):
    """The same with JSON as the answer (or nothing, where the status is 204)."""

    model: type[ModelT]


HEALTH: Final = Typed("GET", "/health", model=Health)
# An Idempotency-Key always goes with this one and with RERUN.
SUBMIT: Final = Typed("POST", "/v1/jobs", statuses=(202, 200), model=Job)
JOBS: Final = Typed("GET", "/v1/jobs", model=JobList)
JOB: Final = Typed("GET", "/v1/jobs/{job_id}", model=Job)
# A second one would delete what the first has cancelled.
END: Final = Typed("DELETE", "/v1/jobs/{job_id}", statuses=(200, 204), repeatable=False, model=Job)
EVENTS: Final = Operation("GET", "/v1/jobs/{job_id}/events")
REPORT: Final = Typed("GET", "/v1/jobs/{job_id}/result", model=VideoReport)
EXPORT: Final = Operation("GET", "/v1/jobs/{job_id}/result")
MEDIA: Final = Operation("GET", "/v1/jobs/{job_id}/media")
RERUN: Final = Typed("POST", "/v1/jobs/{job_id}/rerun", statuses=(202, 200), model=Job)
