"""What comes out of a job: its events while it runs, its report in every format, its video."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from pipeline.results import VideoReport
from serve_app.api.describe import REPORT, WITH_CALLER, answer, json_content, problems, stream_content, text_content
from serve_app.api.interface import ServiceLike
from serve_app.api.names import clean_name, disposition
from serve_app.api.problems import problem_response
from serve_app.api.routes_jobs import JobId, Known, wants_ndjson
from serve_app.api.stream import EVENT_STREAM, HEARTBEAT, NDJSON, LiveResponse, line, sse_frames
from serve_app.exports import EXPORTS, export
from serve_app.html_report import medium_of, playable
from serve_app.problems import Problem
from serve_app.schemas import Job

SANDBOX: Final = "sandbox; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'"
"""What comes from a video is never a page of this site."""
READ_BYTES: Final = 256 * 1024
EVENT_EXAMPLE: Final = 'retry: 2000\n\nid: 1\nevent: job\ndata: {"id":"01JD3K2V8XW6","state":"running"}\n\n'
LINES_EXAMPLE: Final = '{"name":"cut_analysis","version":"1","status":"skipped","reason":"the video has no picture"}\n'
_EVENT_ID: Final = re.compile(r"[0-9]{1,15}")
_ONE_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
router = APIRouter()


@router.get(
    "/v1/jobs/{job_id}/events",
    tags=["results"],
    response_class=Response,
    responses={
        200: answer(
            "events as they come, until `done`",
            stream_content(EVENT_STREAM, EVENT_EXAMPLE),
        ),
        **problems(*WITH_CALLER, "not_found", "invalid_request", "bad_header", "busy"),
    },
)
async def job_events(
    request: Request,
    job_id: JobId,
    known: Known,
    after: Annotated[int | None, Query(ge=0, lt=10**15, description="as Last-Event-ID")] = None,
    last_event_id: Annotated[
        str | None, Header(description="only later events", json_schema_extra={"pattern": "^[0-9]{1,15}$"})
    ] = None,
) -> Response:
    """Server-sent events: `job`, `progress`, `analyzer.completed`, `analyzer.failed`, `done`."""
    service: ServiceLike = request.app.state.service
    serve = request.app.state.settings.serve
    if last_event_id and not _EVENT_ID.fullmatch(last_event_id):
        raise Problem("bad_header", "Last-Event-ID is the id of an event: a whole number")
    await service.jobs.get(job_id, known.owner)
    if request.app.state.listeners >= serve.listeners_max:
        detail = f"{serve.listeners_max} event streams are open, no more are allowed (setting serve.listeners_max)"
        raise Problem("busy", detail, retry_after_s=serve.retry_after_s)
    state = request.app.state
    state.listeners += 1

    def ended() -> None:
        state.listeners -= 1

    events = service.jobs.events(job_id, known.owner, int(last_event_id or after or 0))
    return LiveResponse(
        sse_frames(events), EVENT_STREAM, heartbeat=HEARTBEAT, heartbeat_s=serve.heartbeat_s, on_end=ended
    )


@router.get(
    "/v1/jobs/{job_id}/result",
    tags=["results"],
    response_model=VideoReport,
    responses={
        200: answer(
            "the report; with `Accept: application/x-ndjson` and no format, one analyzer's result per line",
            {
                **json_content("VideoReport", REPORT),
                **stream_content(NDJSON, LINES_EXAMPLE),
                **text_content(*sorted({found.media_type for found in EXPORTS.values()} - {"application/json"})),
            },
        ),
        **problems(*WITH_CALLER, "not_found", "invalid_request", "job_not_done", "job_ended", "not_acceptable"),
    },
)
async def job_result(
    request: Request,
    job_id: JobId,
    known: Known,
    wanted: Annotated[str | None, Query(alias="format", json_schema_extra={"enum": list(EXPORTS)})] = None,
) -> Response:
    """The report, as JSON or in another format."""
    service: ServiceLike = request.app.state.service
    if wanted is not None and wanted not in EXPORTS:
        raise Problem("not_acceptable", f"there is no such format; there are {', '.join(EXPORTS)}")
    job = await service.jobs.get(job_id, known.owner)
    report = await service.jobs.report(job_id, known.owner)
    if wanted is None and wants_ndjson(request):
        return StreamingResponse(_lines(report), media_type=NDJSON)
    if wanted in (None, "json"):
        return Response(await asyncio.to_thread(report.model_dump_json), media_type="application/json")
    medium = await _medium(service, job_id, known.owner) if wanted == "html" else None
    file = await asyncio.to_thread(_exported, report, wanted, medium, _file_name(job))
    kind = EXPORTS[wanted]
    headers = {
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": disposition("attachment", Path(_file_name(job)).stem + kind.suffix),
        "Content-Security-Policy": SANDBOX,
    }
    return StreamingResponse(_pieces(file), headers=headers, media_type=kind.media_type)


@router.get(
    "/v1/jobs/{job_id}/media",
    tags=["results"],
    response_class=Response,
    responses={
        200: answer("the whole video", {"video/*": {}, "audio/*": {}, "application/octet-stream": {}}),
        206: answer("the range that was asked for", {"video/*": {}, "audio/*": {}, "application/octet-stream": {}}),
        **problems(*WITH_CALLER, "not_found", "invalid_request", "job_not_done", "media_gone", "range_not_satisfiable"),
    },
)
async def job_media(request: Request, job_id: JobId, known: Known) -> Response:
    """The job's video, as a whole or one range of bytes (RFC 9110 14), as long as it is kept."""
    service: ServiceLike = request.app.state.service
    job = await service.jobs.get(job_id, known.owner)
    path = await service.jobs.media(job_id, known.owner)
    stat = await asyncio.to_thread(path.stat)
    problem = _checked_range(request, stat.st_size)
    if problem is not None:
        return problem_response(problem, {"Content-Range": f"bytes */{stat.st_size}"})
    kind = playable(job.video)[1] if job.video else "application/octet-stream"
    headers = {
        "Content-Disposition": disposition("inline", _file_name(job)),
        "Content-Security-Policy": SANDBOX,
        "Cache-Control": "private, no-cache",
    }
    return FileResponse(path, headers=headers, media_type=kind, stat_result=stat)


def _checked_range(request: Request, size: int) -> Problem | None:
    """Take Range out of the request unless it is one good range: RFC 9110 14.2 lets a server ignore others."""
    sent = request.headers.get("range")
    match = _ONE_RANGE.fullmatch(sent.strip()) if sent is not None else None
    first, last, suffix = match.groups() if match else (None, None, None)
    if (first and int(first) >= size) or (suffix and (int(suffix) == 0 or size == 0)):
        return Problem("range_not_satisfiable", f"the video has {size} bytes")
    if match is None or (first and last and int(last) < int(first)):
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
    return None


def _file_name(job: Job) -> str:
    return clean_name(job.source) if job.source_kind != "url" else f"{job.id}.mp4"


async def _medium(service: ServiceLike, job_id: str, owner: str) -> Path | None:
    try:
        return await service.jobs.media(job_id, owner)
    except Problem as problem:
        if problem.code != "media_gone":
            raise
        return None


def _exported(report: VideoReport, name: str, medium: Path | None, medium_name: str) -> BinaryIO:
    """The open file of an export. It has no name any more, so that nothing is left of it however the answer ends."""
    with tempfile.TemporaryDirectory(prefix="reelscope-export-") as folder:
        target = Path(folder) / f"report{EXPORTS[name].suffix}"
        if medium is not None and not medium_of(report.video, medium, target).embed:
            medium = _stand_in(medium, Path(folder) / medium_name)
        export(report, name, target, medium)
        return target.open("rb")


def _stand_in(medium: Path, beside: Path) -> Path:
    """An empty file as large as the video, for a page that links it: whoever downloads both has them in one folder,
    and the page names none of the server's.
    """
    with beside.open("wb") as file:
        file.truncate(medium.stat().st_size)
    return beside


async def _pieces(file: BinaryIO) -> AsyncGenerator[bytes, None]:
    with file:
        while piece := await asyncio.to_thread(file.read, READ_BYTES):
            yield piece


def _lines(report: VideoReport) -> Iterator[bytes]:
    for result in report.analyzers.values():
        yield line(result)
