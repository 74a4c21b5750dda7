"""Whether the service lives, is ready, and what it is busy with; and the browser's session."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from serve_app.api.access import Access, Caller, caller, client_of, visitor
from serve_app.api.bodies import read_json
from serve_app.api.describe import (
    HEALTH,
    LIVE,
    WITH_CALLER,
    WITH_JSON_BODY,
    answer,
    body,
    json_body_content,
    json_content,
    problems,
    text_content,
)
from serve_app.api.interface import ServiceLike
from serve_app.api.sessions import COOKIE, SESSION_S
from serve_app.problems import Problem
from serve_app.schemas import Health, Live, SessionRequest

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
router = APIRouter()


@router.get(
    "/health",
    tags=["service"],
    responses={200: answer("ok", json_content("Health", HEALTH)), **problems(*WITH_CALLER)},
    openapi_extra={"security": [{}]},
)
async def health(request: Request, known: Annotated[Caller | None, Depends(visitor)]) -> Health:
    """Status, analyzers, GPUs, jobs and limits. Where keys are configured, callers without one get the status only."""
    service: ServiceLike = request.app.state.service
    found = await service.health()
    if known is not None:
        return found
    return Health(
        status=found.status, version=found.version, profile=found.profile, analyzers={}, gpus=[], jobs={}, limits={}
    )


@router.get("/livez", tags=["service"], responses={200: answer("it lives", json_content("Live", LIVE)), **problems()})
async def livez(request: Request) -> Live:
    """The process answers."""
    return Live(status=request.app.state.service.state)


@router.get(
    "/readyz",
    tags=["service"],
    responses={200: answer("it is ready", json_content("Live", LIVE)), **problems("starting", "stopping")},
)
async def readyz(request: Request) -> Live:
    """The analyzers are loaded, and jobs are taken on."""
    service: ServiceLike = request.app.state.service
    if service.state == "ok":
        return Live(status="ok")
    detail = "the analyzers are still loading" if service.state == "starting" else "the service is being stopped"
    raise Problem(service.state, detail, retry_after_s=request.app.state.settings.serve.retry_after_s)


@router.get(
    "/metrics",
    tags=["service"],
    dependencies=[Depends(caller)],
    response_class=Response,
    responses={200: answer("ok", text_content("text/plain")), **problems(*WITH_CALLER)},
)
async def metrics(request: Request) -> Response:
    """In Prometheus's text format."""
    service: ServiceLike = request.app.state.service
    return Response(await service.metrics(), headers={"Content-Type": METRICS_TYPE})


@router.post(
    "/v1/session",
    tags=["access"],
    status_code=204,
    response_class=Response,
    responses={204: {"description": "signed in; the cookie is set"}, **problems(*WITH_CALLER, *WITH_JSON_BODY)},
    openapi_extra=body(json_body_content("SessionRequest", {"key": {"value": {"key": "rs_..."}}})),
)
async def sign_in(request: Request) -> Response:
    """Exchange an API key for a cookie (HttpOnly, SameSite=Strict), as EventSource and video elements need one."""
    access: Access = request.app.state.access
    asked = await read_json(request, SessionRequest, request.app.state.settings)
    response = Response(status_code=204)
    if not access.is_open:
        owner = access.owner_of_key(asked.key, client_of(request))
        response.set_cookie(
            COOKIE,
            access.sessions.token(owner),
            max_age=SESSION_S,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
    return response


@router.delete(
    "/v1/session",
    tags=["access"],
    status_code=204,
    response_class=Response,
    responses={204: {"description": "signed out; the cookie is gone"}, **problems()},
)
async def sign_out(request: Request) -> Response:
    """Forget the browser's session."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, secure=request.url.scheme == "https", httponly=True, samesite="strict")
    return response
