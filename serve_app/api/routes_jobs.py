"""Jobs: taken on, listed, looked at, cancelled, run again; and `POST /analyze`, which waits for the report."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from pipeline.results import VideoReport
from serve_app.api.access import Caller, caller
from serve_app.api.describe import (
    JOB,
    POST,
    REPORT,
    SOURCES,
    UPLOAD_CONTENT,
    VIDEO,
    WITH_CALLER,
    WITH_JSON_BODY,
    answer,
    body,
    json_body_content,
    json_content,
    problems,
    stream_content,
)
from serve_app.api.interface import ServiceLike
from serve_app.api.problems import problem_body, problem_response
from serve_app.api.stream import NDJSON, LiveResponse, in_any_case, left, ndjson_frames, put_away
from serve_app.api.submissions import Submissions
from serve_app.jobs.interface import Jobs
from serve_app.problems import CODES, Problem
from serve_app.schemas import ENDED, Job, JobList

CLIENT_LEFT: Final = 499
"""Nobody reads this status but the access log (nginx's code for it)."""
_JOB_ID: Final = r"^[A-Za-z0-9_-]{1,64}$"
_ADMISSION: Final = ("busy", "stopping", "too_many_jobs", "storage_full")
_SUBMITTED: Final = (*WITH_CALLER, *WITH_JSON_BODY, *_ADMISSION, "unknown_analyzer", "idempotency_conflict")
_SOURCE: Final = ("path_not_allowed", "url_not_allowed")
LINES_EXAMPLE: Final = (
    '{"type":"job","id":1,"data":{"id":"01JD3K2V8XW6","state":"running"}}\n'
    '{"type":"progress","id":null,"data":{"analyzers":{"cut_analysis":{"done_s":4.0,"total_s":12.5}}}}\n'
    '{"type":"report","data":{"schema_version":"1.0"}}\n'
)
_HEADER_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "the same key with the same body answers with the first job",
    "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
}
router = APIRouter()


async def known_id(job_id: Annotated[str, Path(pattern=_JOB_ID, description="of a job")]) -> str:
    """Dependency: a job's id that may be looked up."""
    return job_id


JobId = Annotated[str, Depends(known_id)]
Known = Annotated[Caller, Depends(caller)]


@router.post(
    "/v1/jobs",
    tags=["jobs"],
    status_code=202,
    responses={
        200: answer("the job that this Idempotency-Key made before", json_content("Job", JOB), location=True),
        202: answer("a new job", json_content("Job", JOB), location=True),
        **problems(*_SUBMITTED, *_SOURCE),
    },
    openapi_extra={
        "parameters": [_HEADER_KEY],
        **body(json_body_content("AnalyzeRequest", SOURCES), UPLOAD_CONTENT),
    },
)
async def submit_job(request: Request, response: Response, known: Known) -> Job:
    """Take a job on: a file of the server, a post, or an upload."""
    service: ServiceLike = request.app.state.service
    submissions: Submissions = request.app.state.submissions
    async with submissions.of_any(request, known) as submission:
        job, is_new = await service.jobs.submit(submission)
    response.status_code = 202 if is_new else 200
    response.headers["Location"] = job.links.self
    return job


@router.get(
    "/v1/jobs",
    tags=["jobs"],
    responses={
        200: answer("newest first", json_content("JobList", {"jobs": [JOB], "next": None})),
        **problems(*WITH_CALLER, "invalid_request"),
    },
)
async def list_jobs(
    request: Request,
    known: Known,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[str | None, Query(pattern=_JOB_ID, description="`next` of the page before")] = None,
) -> JobList:
    """The caller's jobs, newest first."""
    service: ServiceLike = request.app.state.service
    return await service.jobs.page(known.owner, limit, before)


@router.get(
    "/v1/jobs/{job_id}",
    tags=["jobs"],
    responses={200: answer("ok", json_content("Job", JOB)), **problems(*WITH_CALLER, "not_found", "invalid_request")},
)
async def get_job(request: Request, job_id: JobId, known: Known) -> Job:
    """Where a job is."""
    service: ServiceLike = request.app.state.service
    return await service.jobs.get(job_id, known.owner)


@router.delete(
    "/v1/jobs/{job_id}",
    tags=["jobs"],
    response_model=Job,
    responses={
        200: answer("it was running or waiting, and is cancelled; or `keep`, as it is", json_content("Job", JOB)),
        204: {"description": "it had ended, and is deleted with its report and video"},
        **problems(*WITH_CALLER, "not_found", "invalid_request"),
    },
)
async def delete_job(
    request: Request,
    job_id: JobId,
    known: Known,
    keep: Annotated[bool, Query(description="only cancel: a job that has ended stays as it is")] = False,
) -> Job | Response:
    """Cancel a job that has not ended; delete one that has, unless `keep`."""
    service: ServiceLike = request.app.state.service
    cancelled = await service.jobs.cancel(job_id, known.owner, keep=keep)
    return Response(status_code=204) if cancelled is None else cancelled


@router.post(
    "/v1/jobs/{job_id}/rerun",
    tags=["jobs"],
    status_code=202,
    responses={
        200: answer("the job that this Idempotency-Key made before", json_content("Job", JOB), location=True),
        202: answer("a new job", json_content("Job", JOB), location=True),
        **problems(*_SUBMITTED, "not_found", "job_not_done", "job_ended", "media_gone"),
    },
    openapi_extra={
        "parameters": [_HEADER_KEY],
        **body(json_body_content("RerunRequest", {"one": {"value": {"analyzers": ["color_analysis"]}}})),
    },
)
async def rerun_job(request: Request, response: Response, job_id: JobId, known: Known) -> Job:
    """Run some analyzers of a job anew, as a new job; the others' results are taken over."""
    service: ServiceLike = request.app.state.service
    submissions: Submissions = request.app.state.submissions
    job, is_new = await service.jobs.submit(await submissions.of_rerun(request, known, job_id))
    response.status_code = 202 if is_new else 200
    response.headers["Location"] = job.links.self
    return job


@router.post(
    "/analyze",
    tags=["jobs"],
    response_model=VideoReport,
    responses={
        200: answer(
            "the report; with `Accept: application/x-ndjson` a line for each event and one for the report, or for the "
            "problem that there was instead",
            {**json_content("VideoReport", REPORT), **stream_content(NDJSON, LINES_EXAMPLE)},
            location=True,
        ),
        **problems(*_SUBMITTED, *_SOURCE, *VIDEO, *POST, "quota_exceeded", "job_ended", "timed_out"),
    },
    openapi_extra={"parameters": [_HEADER_KEY], **body(json_body_content("AnalyzeRequest", SOURCES))},
)
async def analyze(request: Request, known: Known) -> Response:
    """Analyze a short video and wait for the report. Who leaves before it is there cancels the job."""
    service: ServiceLike = request.app.state.service
    submissions: Submissions = request.app.state.submissions
    jobs, timeout_s = service.jobs, request.app.state.settings.serve.analyze_s_max
    submission = await submissions.of_json(request, known)
    job, is_new = await jobs.submit(submission)
    location = {"Location": job.links.self}

    async def abandon() -> None:
        if is_new:
            await _stop(jobs, job.id, known.owner)

    if wants_ndjson(request):

        async def ending() -> tuple[str, Any]:
            try:
                return "report", await _report_of(jobs, await jobs.get(job.id, known.owner), known.owner)
            except Problem as problem:
                return "problem", problem_body(problem)

        frames = ndjson_frames(jobs.events(job.id, known.owner), ending, timeout_s)
        return LiveResponse(frames, NDJSON, headers=location, on_left=abandon)

    waiting = asyncio.ensure_future(jobs.wait(job.id, known.owner))
    leaving = asyncio.ensure_future(left(request.receive))
    abandoned = True

    async def leave() -> None:
        await put_away(waiting, leaving)
        if abandoned:
            await abandon()

    try:
        await asyncio.wait({waiting, leaving}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done() and not waiting.done():
            return Response(status_code=CLIENT_LEFT)
        abandoned = False
        ended = waiting.result() if waiting.done() else await jobs.get(job.id, known.owner)
        report = await _report_of(jobs, ended, known.owner)
        content = await asyncio.to_thread(report.model_dump_json)
        return Response(content, headers=location, media_type="application/json")
    except Problem as problem:
        return problem_response(problem, location)
    finally:
        await in_any_case(leave())


def wants_ndjson(request: Request) -> bool:
    """Whether Accept names NDJSON."""
    return any(part.partition(";")[0].strip().lower() == NDJSON for part in _accepted(request))


def _accepted(request: Request) -> list[str]:
    return re.split(r"\s*,\s*", request.headers.get("accept", ""))


async def _report_of(jobs: Jobs, job: Job, owner: str) -> VideoReport:
    """The report of a job that was waited for.

    Raises:
        Problem: stopping, timed_out (it goes on), what it failed with, job_ended (it was cancelled).
    """
    if job.state not in ENDED and jobs.stopping:
        raise Problem("stopping", f"the service is being stopped; job {job.id} goes on when it is started again")
    if job.state not in ENDED:
        raise Problem("timed_out", f"job {job.id} is {job.state} and goes on; ask {job.links.self} for it")
    if job.error is not None:
        raise Problem(job.error.code if job.error.code in CODES else "internal", job.error.detail)
    return await jobs.report(job.id, owner)


async def _stop(jobs: Jobs, job_id: str, owner: str) -> None:
    """Cancel a job that nobody waits for any more. One that has ended meanwhile is kept."""
    try:
        await jobs.cancel(job_id, owner, keep=True)
    except Problem:  # somebody has deleted it
        return
