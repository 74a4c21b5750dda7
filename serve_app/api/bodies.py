"""Reads request bodies under limits of bytes and time, whatever the headers claim."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from pipeline.service_settings import ServeSettings
from pipeline.settings import Settings
from serve_app.api.problems import invalid
from serve_app.problems import Problem

ModelT = TypeVar("ModelT", bound=BaseModel)


def media_type(request: Request) -> str:
    """The body's type without its parameters, in lower case.

    Raises:
        Problem: unsupported_media_type, for a compressed body.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported_media_type", "send the body as it is, without Content-Encoding")
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def declared_bytes(request: Request) -> int | None:
    """Content-Length; None where the body comes in chunks.

    Raises:
        Problem: bad_header.
    """
    declared = request.headers.get("content-length")
    if declared is None:
        return None
    if not (declared.isascii() and declared.isdigit()):
        raise Problem("bad_header", "Content-Length is no whole number")
    return int(declared)


def too_large(value: str, limit: int, setting: str) -> Problem:
    """The problem that says by how much."""
    return Problem("too_large", f"the body has {value} bytes, the limit is {limit} (setting {setting})")


async def chunks(request: Request, bytes_max: int, setting: str, serve: ServeSettings) -> AsyncGenerator[bytes, None]:
    """The body as it comes.

    Args:
        request: whose body nobody has read.
        bytes_max: more are refused: at once if they are declared, otherwise when they come.
        setting: name of the setting that holds `bytes_max`.
        serve: how long the whole and a pause may take.

    Raises:
        Problem: bad_header, too_large, too_slow, invalid_request (the caller left).
    """
    declared = declared_bytes(request)
    if declared is not None and declared > bytes_max:
        raise too_large(str(declared), bytes_max, setting)
    loop = asyncio.get_running_loop()
    ends_s, received, more = loop.time() + serve.upload_s_max, 0, True
    while more:
        left_s = ends_s - loop.time()
        if left_s <= 0:
            raise _too_slow(serve, stalled=False)
        try:
            async with asyncio.timeout(min(serve.upload_stall_s_max, left_s)):
                message = await request.receive()
        except TimeoutError:
            raise _too_slow(serve, stalled=left_s > serve.upload_stall_s_max) from None
        if message["type"] == "http.disconnect":
            raise Problem("invalid_request", "the connection was closed before the body's end")
        data: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        received += len(data)
        if received > bytes_max:
            raise too_large(f"more than {bytes_max}", bytes_max, setting)
        yield data


def _too_slow(serve: ServeSettings, stalled: bool) -> Problem:
    if stalled:
        limit = f"{serve.upload_stall_s_max:g} s (setting serve.upload_stall_s_max)"
        return Problem("too_slow", f"nothing came for {limit}")
    return Problem("too_slow", f"the body took longer than {serve.upload_s_max:g} s (setting serve.upload_s_max)")


async def read_json(request: Request, model: type[ModelT], settings: Settings) -> ModelT:
    """The body as a model.

    Raises:
        Problem: unsupported_media_type, too_large, too_slow, invalid_request.
    """
    if media_type(request) != "application/json":
        raise Problem("unsupported_media_type", "send a JSON body with Content-Type: application/json")
    serve = settings.serve
    body = bytearray()
    async for data in chunks(request, serve.body_bytes_max, "serve.body_bytes_max", serve):
        body += data
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False, include_input=False), "body") from None
