"""From a request to a `Submission`: everything that can be refused is refused before a job exists."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from fastapi import Request

from pipeline.settings import Settings
from serve_app.api.access import Caller
from serve_app.api.bodies import declared_bytes, media_type, read_json
from serve_app.api.interface import ServiceLike
from serve_app.api.logs import REQUEST_ID
from serve_app.api.paths import allowed_path
from serve_app.api.uploads import uploaded
from serve_app.fetch import check_url
from serve_app.jobs.interface import Submission
from serve_app.jobs.webhooks import Webhooks
from serve_app.problems import Problem
from serve_app.schemas import AnalyzeRequest, RerunRequest, SourceKind, Wanted

_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class Arrivals:
    """Uploads that are being received: they count against a key's jobs and the service's bytes before they are jobs."""

    def __init__(self) -> None:
        self.nbytes = 0
        self._by_owner: Counter[str] = Counter()

    def of(self, owner: str) -> int:
        """How many come from one owner."""
        return self._by_owner[owner]

    @contextmanager
    def one(self, owner: str, nbytes: int) -> Iterator[None]:
        """Count an upload in while it lasts."""
        self.nbytes += nbytes
        self._by_owner[owner] += 1
        try:
            yield
        finally:
            self.nbytes -= nbytes
            self._by_owner -= Counter({owner: 1})


class Submissions:
    """Reads the bodies that ask for a job.

    Args:
        settings: limits, media roots, post hosts and webhook hosts.
        service: knows the analyzers and whether there is room.
    """

    def __init__(self, settings: Settings, service: ServiceLike) -> None:
        self._settings = settings
        self._service = service
        self._arrivals = Arrivals()
        self._webhooks = Webhooks(settings.access, settings.fetch.networks_allowed, settings.fetch.ca_file)

    async def of_json(self, request: Request, caller: Caller) -> Submission:
        """A JSON body that names a path or a post.

        Raises:
            Problem: invalid_request, unknown_analyzer, path_not_allowed, url_not_allowed, and those of the body.
        """
        body = await read_json(request, AnalyzeRequest, self._settings)
        names, webhook_url = self._checked(body)
        if body.video_path is not None:
            kind: SourceKind = "path"
            path = await asyncio.to_thread(allowed_path, body.video_path, self._settings.media_roots)
            source = str(path)
        else:
            assert body.tiktok_url is not None
            kind, source = "url", check_url(body.tiktok_url, self._settings.fetch)
        return self._made(request, caller, kind, source, names, webhook_url=webhook_url)

    async def of_rerun(self, request: Request, caller: Caller, job_id: str) -> Submission:
        """A JSON body that names the analyzers of a job to run again.

        Raises:
            Problem: not_found, invalid_request, unknown_analyzer, and those of the body.
        """
        body = await read_json(request, RerunRequest, self._settings)
        names = known_names(body.analyzers, self._service.names)
        job = await self._service.jobs.get(job_id, caller.owner)
        return self._made(request, caller, job.source_kind, job.source, names, based_on=job_id)

    @asynccontextmanager
    async def of_any(self, request: Request, caller: Caller) -> AsyncGenerator[Submission, None]:
        """A JSON body, or a form with the video in it; an upload that nobody has taken over is gone at the end.

        Raises:
            Problem: busy, stopping, too_many_jobs, unsupported_media_type, and those of `of_json`.
        """
        kind = media_type(request)
        if kind == "application/json":
            yield await self.of_json(request, caller)
            return
        if kind != "multipart/form-data":
            raise Problem("unsupported_media_type", "send application/json, or multipart/form-data with a part `file`")
        nbytes = declared_bytes(request) or 0
        await self._check_room(nbytes, caller)
        with self._arrivals.one(caller.owner, nbytes):
            async with uploaded(request, self._settings) as upload:
                names, webhook_url = self._checked(upload.wanted)
                yield self._made(
                    request,
                    caller,
                    "upload",
                    upload.name,
                    names,
                    webhook_url=webhook_url,
                    upload=upload.path,
                    asked={"file": upload.sha256},
                )

    async def _check_room(self, nbytes: int, caller: Caller) -> None:
        """Whether there is room for one more upload beside the jobs and the uploads that are under way."""
        others, cap = self._arrivals.of(caller.owner), caller.jobs_in_flight_max
        left = None if cap is None else max(cap - others, 0)
        try:
            await self._service.jobs.check_room(self._arrivals.nbytes + nbytes, caller.owner, left)
        except Problem as problem:
            if problem.code != "too_many_jobs" or not others:
                raise
            detail = f"{others} uploads of this key are under way beside its jobs; {cap} are allowed together"
            raise Problem("too_many_jobs", detail, retry_after_s=problem.retry_after_s) from None

    def _checked(self, body: Wanted) -> tuple[tuple[str, ...] | None, str | None]:
        names = None if body.analyzers is None else known_names(body.analyzers, self._service.names)
        return names, None if body.webhook_url is None else self._webhooks.check(body.webhook_url)

    def _made(
        self,
        request: Request,
        caller: Caller,
        kind: SourceKind,
        source: str,
        names: tuple[str, ...] | None,
        *,
        asked: dict[str, str] | None = None,
        **rest: Any,
    ) -> Submission:
        """`asked` is what identifies the content where `source` does not."""
        key = request.headers.get("idempotency-key")
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise Problem("bad_header", "Idempotency-Key is 1 to 255 visible ASCII characters")
        hashed = [kind, source, asked, names, rest.get("webhook_url"), rest.get("based_on")]
        return Submission(
            kind=kind,
            source=source,
            analyzers=names,
            owner=caller.owner,
            request_id=REQUEST_ID.get(),
            idempotency_key=key,
            body_sha256=hashlib.sha256(json.dumps(hashed).encode()).hexdigest(),
            jobs_in_flight_max=caller.jobs_in_flight_max,
            seconds_per_day_max=caller.seconds_per_day_max,
            **rest,
        )


def known_names(names: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        Problem: unknown_analyzer, with the nearest name.
    """
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "GET /health lists them"
            raise Problem("unknown_analyzer", f"there is no analyzer {name!r}; {hint}")
    return tuple(dict.fromkeys(names))
