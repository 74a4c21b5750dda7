"""Answers for everything that goes wrong: application/problem+json (RFC 9457), and nothing that would leak."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import ReelscopeError
from serve_app.api.logs import REQUEST_ID
from serve_app.problems import Problem, problem_of
from serve_app.schemas import ProblemBody

MEDIA_TYPE: Final = "application/problem+json"
ERRORS_MAX: Final = 20
"""Fields that one answer names; a body can have thousands of wrong ones."""
_BY_STATUS: Final = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}

logger = logging.getLogger(__name__)


class InvalidRequest(Problem):
    """A body, query or header that is not as described.

    Args:
        errors: ``{"field", "message", "type"}`` of what is wrong, without the values that were sent.
    """

    def __init__(self, detail: str, errors: Sequence[Mapping[str, str]]) -> None:
        super().__init__("invalid_request", detail)
        self.errors = [dict(error) for error in errors[:ERRORS_MAX]]


def invalid(found: Sequence[Any], within: str = "") -> InvalidRequest:
    """From pydantic's list of errors; `within` names what they are fields of, as ``body``."""
    errors = []
    for error in found:
        place = [within, *error["loc"]] if within else list(error["loc"])
        field = ".".join(str(part) for part in place)
        errors.append({"field": field[:200], "message": str(error["msg"])[:500], "type": str(error["type"])})
    detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors[:3])
    return InvalidRequest(detail, errors)


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells a problem, with Retry-After (RFC 9110 10.2.3) where it is known."""
    named = dict(headers or {})
    if problem.retry_after_s is not None:
        named["Retry-After"] = str(problem.retry_after_s)
    if problem.code == "unauthorized":
        named["WWW-Authenticate"] = 'Bearer realm="reelscope"'
    content = problem_body(problem).model_dump_json(exclude_none=True)
    return Response(content, status_code=problem.status, headers=named, media_type=MEDIA_TYPE)


def problem_body(problem: Problem) -> ProblemBody:
    """What is said about a problem of the present request."""
    return ProblemBody(
        type=f"urn:reelscope:problem:{problem.code}",
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        code=problem.code,
        request_id=REQUEST_ID.get(),
        errors=problem.errors if isinstance(problem, InvalidRequest) else None,
    )


def install_handlers(app: FastAPI) -> None:
    """Answer every error that FastAPI, Starlette and our own code raise with a problem."""
    app.add_exception_handler(ReelscopeError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_starlette)


async def _of_ours(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.code == "internal":
        logger.error("%s %s", request.method, request.scope["path"].encode("unicode_escape").decode(), exc_info=error)
    return problem_response(problem)


async def _of_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError | ValidationError)
    return problem_response(invalid(error.errors()))


async def _of_starlette(request: Request, error: Exception) -> Response:
    """404 and 405 of the router, with their headers (Allow)."""
    assert isinstance(error, HTTPException)
    code = _BY_STATUS.get(error.status_code, "invalid_request" if error.status_code < 500 else "internal")
    details = {
        "not_found": "nothing is at this address; GET /openapi.json lists what there is",
        "method_not_allowed": f"{request.method} does nothing here",
    }
    return problem_response(Problem(code, details.get(code, str(error.detail))), error.headers)


class Unexpected:
    """ASGI middleware: an exception that nobody foresaw is logged with its trace and answered without it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI 3.0)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception as error:
            path = scope["path"].encode("unicode_escape").decode()
            logger.exception("unexpected error in %s %s", scope["method"], path)
            if started:
                raise  # the server then cuts the connection, so that half an answer is not taken for a whole one
            await problem_response(problem_of(error))(scope, receive, send)
