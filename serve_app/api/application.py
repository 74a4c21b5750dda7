"""Puts the HTTP interface together: one ASGI application with a lifespan, for uvicorn and for Ray Serve alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Lifespan

from pipeline.settings import Settings
from serve_app.api import routes_health, routes_jobs, routes_results
from serve_app.api.access import Access
from serve_app.api.headers import SecurityHeaders, SiteGuard
from serve_app.api.interface import ServiceLike
from serve_app.api.logs import RequestLog
from serve_app.api.openapi import describe
from serve_app.api.problems import Unexpected, install_handlers
from serve_app.api.submissions import Submissions
from serve_app.api.uploads import sweep_spool
from serve_app.page import page_routes

DESCRIPTION: Final = (
    "Watches short videos and writes down everything in them on one clock. Errors are application/problem+json "
    "(RFC 9457) with a stable `code`. Every answer carries X-Request-ID. Keys are needed where some are configured."
)
TAGS: Final = [
    {"name": "jobs", "description": "Videos that are to be analyzed, and how far they are."},
    {"name": "results", "description": "What came out: events, the report in every format, the video."},
    {"name": "service", "description": "Whether it lives, is ready, and what it is busy with."},
    {"name": "access", "description": "A browser's session."},
]
_CORS_HEADERS: Final = ["Authorization", "X-API-Key", "Idempotency-Key", "Last-Event-ID", "X-Request-ID"]
_CORS_EXPOSED: Final = ["Location", "Retry-After", "X-Request-ID", "Content-Disposition"]


def create_app(settings: Settings, service: ServiceLike, *, echo_request_id: bool = True) -> FastAPI:
    """The application. Its lifespan starts and closes the service.

    Args:
        settings: who may call, and the limits of what they send.
        service: what does the work.
        echo_request_id: off behind a proxy that sends X-Request-ID back itself, as Ray Serve's does.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        await asyncio.to_thread(sweep_spool, settings)
        await service.start()
        try:
            yield
        finally:
            await service.close()

    app = build_app(settings, echo_request_id=echo_request_id, lifespan=lifespan)
    app.state.settings = settings
    app.state.service = service
    app.state.access = Access(settings.access)
    app.state.submissions = Submissions(settings, service)
    app.state.listeners = 0
    return app


def build_app(
    settings: Settings, *, echo_request_id: bool = True, lifespan: Lifespan[FastAPI] | None = None
) -> FastAPI:
    """Routes and middleware without a service: what the OpenAPI document is made from."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.access.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=_CORS_HEADERS,
        expose_headers=_CORS_EXPOSED,
    )
    app = FastAPI(
        title="Reelscope",
        version=version("reelscope"),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,  # they load from a CDN
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        lifespan=lifespan,
        middleware=[  # the first is the outermost
            Middleware(RequestLog, echo=echo_request_id),
            Middleware(SecurityHeaders),
            Middleware(SiteGuard, settings=settings),
            *([cors] if settings.access.cors_origins else []),
            Middleware(Unexpected),
        ],
    )
    install_handlers(app)
    for routes in (routes_jobs.router, routes_results.router, routes_health.router, page_routes()):
        app.include_router(routes)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
