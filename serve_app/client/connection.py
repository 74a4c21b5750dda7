"""How the client talks to a server: what is asked again and when, and what errors become."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from pipeline.errors import ReelscopeError, UsageError
from serve_app.client.operations import ModelT, Operation, Typed
from serve_app.problems import CODES, Problem
from serve_app.schemas import Job, ProblemBody

# Lower: a server that is being restarted is asked often. Higher: it answers again and is not asked yet.
BACKOFF_S: Final = (0.2, 5.0)
"""First and longest pause between two attempts; each is twice as long as the one before."""
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class ServerMissing(UsageError):
    """Nothing answers at the URL."""


class ServerError(ReelscopeError):
    """This version does not understand what the server answers."""


class ConnectionLost(ServerError):
    """The server stopped answering; what it has begun goes on."""


class ServerProblem(Problem):
    """A problem as a server has sent it, also one that this version does not know.

    Args:
        body: what was sent: beside `code` and `detail` the `request_id` under which the server's log has it.
        retry_after_s: when trying again makes sense.
    """

    def __init__(self, body: ProblemBody, retry_after_s: int | None = None) -> None:
        super().__init__(body.code, body.detail, retry_after_s=retry_after_s)
        self.body = body

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.body, self.retry_after_s))

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.body.status

    @property
    def title(self) -> str:
        """What the code means."""
        return self.body.title


class Connection:
    """Asks one server, and asks again what it could not answer just then.

    A 429 or 503 with Retry-After is asked again; so is what is repeatable when a connection breaks.

    Args:
        url: of the server, http or https, with the path below which it is served, if any.
        api_key: sent as a bearer token.
        timeout_s: for connecting, and for the longest pause within an answer.
        retry_s: how long all attempts may take together.

    Raises:
        UsageError: `url` is none.
    """

    def __init__(self, url: str, api_key: str | None, timeout_s: float, retry_s: float) -> None:
        try:
            self.url = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise UsageError(f"{url!r} is no URL of a server: {error}") from None
        if self.url.scheme not in ("http", "https") or not self.url.host:
            raise UsageError(f"{url!r} is no URL of a server; it looks like http://127.0.0.1:8003")
        self.timeout_s, self.retry_s = timeout_s, retry_s
        try:
            self._http = httpx.AsyncClient(
                base_url=self.url,
                headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
                timeout=timeout_s,
                trust_env=self.url.host not in LOOPBACK,  # a proxy of the environment does not see this machine
            )
        except UnicodeEncodeError:
            raise UsageError("the API key has characters that no key has") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def ask(
        self, operation: Typed[ModelT], ids: Mapping[str, str] | None = None, **request: Any
    ) -> ModelT | None:
        """The answer; None where it has no body. Arguments and errors as of `open`."""
        response = await self._attempts(operation, ids, request, whole=True)
        return self.read(operation.model, response.content) if response.content else None

    async def get(self, operation: Typed[ModelT], ids: Mapping[str, str] | None = None, **request: Any) -> ModelT:
        """The answer, which must be one."""
        answer = await self.ask(operation, ids, **request)
        if answer is None:
            raise ServerError(f"{self.url} answers {operation.method} {operation.path} with nothing")
        return answer

    @asynccontextmanager
    async def open(
        self, operation: Operation, ids: Mapping[str, str] | None = None, **request: Any
    ) -> AsyncGenerator[httpx.Response, None]:
        """An answer with one of the operation's statuses, its body not yet read.

        Args:
            ids: what fills in the path.
            request: the rest of the request, as httpx takes it.

        Raises:
            Problem: the server refuses.
            ServerMissing: nothing answers there.
            ConnectionLost: it broke.
        """
        response = await self._attempts(operation, ids, request, whole=False)
        try:
            yield response
        except httpx.RequestError as error:
            raise self._lost(error) from None
        finally:
            await response.aclose()

    async def _attempts(
        self, operation: Operation, ids: Mapping[str, str] | None, arguments: Mapping[str, Any], whole: bool
    ) -> httpx.Response:
        """The answer; `whole` with its body, which may break too."""
        path = operation.path.format_map({name: quote(value, safe="") for name, value in (ids or {}).items()})
        deadline = time.monotonic() + self.retry_s
        pause_s = BACKOFF_S[0]
        while True:
            request = self._http.build_request(operation.method, path, **arguments)
            try:
                response = await self._http.send(request, stream=True)
                if response.status_code in operation.statuses:
                    if whole:
                        await response.aread()
                    return response
                problem = await self._problem(response)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise ServerMissing(
                    f"nothing answers at {self.url} ({error}); start a server with `reelscope serve`, or name another"
                ) from None
            except httpx.RequestError as error:
                if not operation.repeatable or time.monotonic() + pause_s > deadline:
                    raise self._lost(error) from None
                wait_s, pause_s = pause_s, min(2 * pause_s, BACKOFF_S[1])
            else:
                if problem.retry_after_s is None or time.monotonic() + problem.retry_after_s > deadline:
                    raise problem
                wait_s = problem.retry_after_s
            await asyncio.sleep(wait_s)

    async def _problem(self, response: httpx.Response) -> ServerProblem:
        try:
            body = await response.aread()
        finally:
            await response.aclose()
        after = response.headers.get("retry-after", "")
        again = int(after) if after.isdigit() and response.status_code in (429, 503) else None
        try:
            return ServerProblem(ProblemBody.model_validate(json.loads(body), extra="ignore"), again)
        except ValueError:  # not from our service, but from what stands before it
            reason = f"{response.status_code} {response.reason_phrase}".strip()
            detail = f"{self.url} answers {reason} and does not say why; is it a Reelscope server?"
            return ServerProblem(
                ProblemBody(
                    type="about:blank", title=reason, status=response.status_code, detail=detail, code="internal"
                ),
                again,
            )

    def read(self, model: type[ModelT], body: bytes | Mapping[str, Any]) -> ModelT:
        """What the server sent as a model, without the fields that only a newer version knows.

        Raises:
            ServerError: it is none.
        """
        try:
            return model.model_validate(json.loads(body) if isinstance(body, bytes) else body, extra="ignore")
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            what = f"{where}: {first['msg']}" if where else first["msg"]
        except ValueError:
            what = "no JSON"
        raise ServerError(
            f"{self.url} answers with a {model.__name__} that this version does not understand ({what}); "
            "is it a Reelscope server, and of this version?"
        )

    def _lost(self, error: httpx.RequestError) -> ConnectionLost:
        what = str(error) or type(error).__name__
        return ConnectionLost(f"the connection to {self.url} broke ({what}); what was begun there goes on")


def job_problem(job: Job) -> Problem:
    """Why a job that has ended has no report; also for a reason that this version does not know."""
    if job.error is None:
        return Problem("job_ended", f"job {job.id} was {job.state}")
    code, detail = job.error.code, job.error.detail
    status, title = CODES.get(code, (422, code))
    kind = f"urn:reelscope:problem:{code}"
    return ServerProblem(ProblemBody(type=kind, title=title, status=status, detail=detail, code=code))
