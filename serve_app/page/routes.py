"""Routes of the page: its two documents, its files, and what it draws of a finished job."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import PurePosixPath
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Path, Request, Response
from starlette.datastructures import Headers

from pipeline.results import AnalyzerResult, VideoReport
from serve_app.api.routes_jobs import JobId, Known
from serve_app.html_report import Medium, note_of, playable
from serve_app.jobs.interface import Jobs
from serve_app.page.assets import Asset, asset, document
from serve_app.problems import Problem
from serve_app.report_lanes import lane
from serve_app.report_view import page_data, shown
from serve_app.schemas import Job

EventId = Annotated[int, Path(ge=1, le=2**31 - 1)]
FOREVER: Final = "public, max-age=31536000, immutable"
NEVER: Final = "no-cache"
KEPT_S: Final = 2.0
"""An event that was sent is kept and comes at once; another would be waited for."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the documents. Only the one with plotly, which sets styles of its own, allows those."""


def page_routes() -> APIRouter:
    """`/`, `/jobs/{id}`, `/static/{name}` and `/v1/jobs/{id}/timeline`; none is part of the published interface."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def start(request: Request) -> Response:
        return _page(request, document("start.html"), styles="")

    @routes.get("/jobs/{job_id}")
    def job(request: Request, job_id: str) -> Response:
        return _page(request, document("job.html"), styles=" 'unsafe-inline'")

    @routes.get("/static/{name}")
    def static(request: Request, name: str) -> Response:
        try:
            found = asset(name)
        except KeyError:
            raise Problem("not_found", f"/static/ has no file {name!r}") from None
        named = request.query_params.get("v") == found.version
        return _sent(request, found, {"Cache-Control": FOREVER if named else NEVER})

    @routes.get("/v1/jobs/{job_id}/timeline")
    async def timeline(request: Request, job_id: JobId, who: Known) -> dict[str, Any]:
        jobs = request.app.state.service.jobs
        report = await jobs.report(job_id, who.owner)
        return timeline_data(report, await jobs.get(job_id, who.owner))

    @routes.get("/v1/jobs/{job_id}/lanes/{event_id}")
    async def one_lane(request: Request, job_id: JobId, event_id: EventId, who: Known) -> dict[str, Any]:
        return await lane_data(request.app.state.service.jobs, job_id, who.owner, event_id)

    return routes


async def lane_data(jobs: Jobs, job_id: str, owner: str, event_id: int) -> dict[str, Any]:
    """The lane of an analyzer that has ended while others run: of the result that came as the job's event of that id.

    Raises:
        Problem: not_found, also where that event is no result or has not come yet.
    """
    job = await jobs.get(job_id, owner)
    async with aclosing(jobs.events(job_id, owner, event_id - 1)) as events:
        try:
            event = await asyncio.wait_for(anext(events, None), KEPT_S)
        except TimeoutError:
            event = None
    if event is None or event.id != event_id or not event.type.startswith("analyzer."):
        raise Problem("not_found", f"event {event_id} of the job is no result")
    drawn = lane(shown(AnalyzerResult.model_validate(event.data)), job.duration_s or 0.001)
    return {**drawn, "bars": [bar[:5] for bar in drawn["bars"]]}


def timeline_data(report: VideoReport, job: Job) -> dict[str, Any]:
    """What the page draws of a finished job: `report_view.page_data`, the video's name and how to get at it."""
    video = report.video
    plays, mime = playable(video)
    note = note_of(video) if job.media_kept else "The video is not kept any more; what was found in it is."
    medium = Medium(
        kind="video" if video.has_video else "audio",
        mime=mime,
        plays=plays,
        embed=False,
        href=job.links.media if job.media_kept else None,
        note=note,
    )
    return {"name": name_of(job), "medium": medium.data(), **page_data(report)}


def name_of(job: Job) -> str:
    """What to call a job's video: the file's name, or the post's address without what does not tell posts apart."""
    if job.source_kind != "url":
        return PurePosixPath(job.source).name or job.source
    parts = urlsplit(job.source)
    return f"{(parts.hostname or '').removeprefix('www.')}{parts.path}" or job.source


def _page(request: Request, page: Asset, styles: str) -> Response:
    headers = {"Cache-Control": NEVER, "Content-Security-Policy": POLICY.format(styles=styles)}
    return _sent(request, page, headers)


def _sent(request: Request, file: Asset, headers: dict[str, str]) -> Response:
    """The file, compressed if the browser likes; 304 without it if it has that version (RFC 9110, If-None-Match)."""
    tag = f'"{file.version}"'
    headers = {
        **headers,
        "ETag": tag,
        "Vary": "Accept-Encoding",
    }
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    if _takes_gzip(request.headers):
        return Response(file.packed, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.content, media_type=file.media_type, headers=headers)


def _takes_gzip(headers: Headers) -> bool:
    return any(part.strip() == "gzip" for part in headers.get("Accept-Encoding", "").split(","))
