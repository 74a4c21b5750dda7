"""Request ids, the access log, probes, and everything that goes wrong without anybody having foreseen it."""

from __future__ import annotations

import io
import logging
import re
from typing import Any, Literal

import httpx
import pytest

from pipeline.errors import DecoderCrashed, PlanError
from serve_app.api import problems
from serve_app.api.application import create_app
from serve_app.api.logs import RequestIdFilter, log_to
from serve_app.problems import Problem
from serve_app.schemas import JobList, ProblemBody
from tests.serve_app.api.fakes import World, make_world, with_keys


async def test_a_request_id_is_taken_and_echoed(world: World) -> None:
    async with world.client() as client:
        answer = await client.get("/v1/jobs/none", headers={"X-Request-ID": "A-z_0.9"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "A-z_0.9"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "ü", "a\nlevel=ERROR", 'a"', "a;b", "a\x00"])
async def test_a_request_id_that_could_not_stand_in_a_log_is_replaced(world: World, sent: str) -> None:
    async with world.client() as client:
        answer = await client.get("/livez", headers=[(b"X-Request-ID", sent.encode())])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_of_two_request_ids_none_is_taken(world: World) -> None:
    async with world.client() as client:
        answer = await client.get("/livez", headers=[("X-Request-ID", "a"), ("X-Request-ID", "b")])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_a_proxy_may_do_the_echoing(world: World) -> None:
    app = create_app(world.settings, world.service, echo_request_id=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get("/v1/jobs/none", headers={"X-Request-ID": "mine"})
    assert "x-request-id" not in answer.headers and answer.json()["request_id"] == "mine"


async def test_each_request_is_one_line_without_its_query(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(tmp_path, access=with_keys("alice"))
    headers = {"X-API-Key": "rs_alice"}
    with caplog.at_level(logging.INFO, logger="serve_app.access"):
        async with world.client(headers=headers) as client:
            await client.get("/v1/jobs?before=secret&token=secret")
            await client.get("/v1/jobs/a%0Alevel=ERROR%20key=bob%E2%80%A8")
    lines = [record.getMessage() for record in caplog.records if record.name == "serve_app.access"]
    assert re.fullmatch(
        r"method=GET path=/v1/jobs status=200 bytes=\d+ ms=\d+\.\d client=127\.0\.0\.1 key=alice",
        lines[0],
    )
    assert len(lines) == 2 and "secret" not in lines[0]
    assert len(lines[1].splitlines()) == 1 and lines[1].endswith(" key=alice") and " key=bob" not in lines[1]


async def test_what_is_logged_for_a_request_carries_its_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.request_id)  # type: ignore[attr-defined]

    handler = Keeping()
    handler.addFilter(RequestIdFilter())
    logger = logging.getLogger("serve_app.jobs.of_this_test")
    logger.addHandler(handler)

    async def talking(*_: object) -> JobList:
        logger.warning("about jobs")
        return JobList(jobs=[])

    monkeypatch.setattr(world.jobs, "page", talking)
    async with world.client() as client:
        logger.warning("outside of all requests")
        assert (await client.get("/v1/jobs", headers={"X-Request-ID": "two"})).status_code == 200
        logger.warning("outside again")
    assert seen == ["-", "two", "-"]


def test_what_is_logged_carries_its_request() -> None:
    ours, written = logging.getLogger("serve_app"), io.StringIO()
    before = (list(ours.handlers), ours.level, ours.propagate)
    try:
        log_to(logging.StreamHandler(written))
        logging.getLogger("serve_app.jobs").info("said %s", "something")
        logging.getLogger("serve_app.jobs").debug("not this")
    finally:
        ours.handlers, ours.propagate = before[0], before[2]
        ours.setLevel(before[1])
    assert written.getvalue().endswith("level=INFO logger=serve_app.jobs request_id=- said something\n")
    assert "not this" not in written.getvalue()


async def test_an_unforeseen_error_tells_nothing_and_is_logged_with_its_id(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret of the house")

    monkeypatch.setattr(world.jobs, "get", broken)
    async with world.client() as client:
        answer = await client.get("/v1/jobs/job1", headers={"X-Request-ID": "three"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    body = ProblemBody.model_validate(answer.json())
    assert (body.code, body.request_id, body.status) == ("internal", "three", 500)
    assert "secret" not in answer.text and "Zero" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None and "secret of the house" in str(record.exc_info[1])
    caplog.clear()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Problem("busy", "full", retry_after_s=3), 503, "busy"),
        (DecoderCrashed("it died"), 422, "decoder_crashed"),
        (PlanError("no room"), 500, "internal"),
    ],
)
async def test_errors_of_ours_are_problems(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    code: str,
) -> None:
    async def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(world.jobs, "get", broken)
    async with world.client() as client:
        answer = await client.get("/v1/jobs/job1")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers.get("retry-after") == ("3" if code == "busy" else None)
    caplog.clear()


async def test_half_an_answer_is_cut_off(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.jobs.holds = True

    async def breaking(*_: object) -> Any:
        raise ZeroDivisionError("in the middle")
        yield

    world.jobs.events = breaking  # type: ignore[method-assign]
    with world.served() as url:
        async with httpx.AsyncClient(base_url=url) as client:
            await client.post("/v1/jobs", json={"video_path": "clip.mp4"})
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/v1/jobs/job1/events")
            assert (await client.get("/livez")).status_code == 200
    assert world.app.state.listeners == 0
    caplog.clear()


async def test_addresses_and_methods_that_there_are_not(world: World) -> None:
    async with world.client() as client:
        for path in (
            "/nowhere",
            "/v1",
            "/health/",
            "/docs",
            "/redoc",
            "/v1/jobs/",
            "/static/../x",
            "/%2e%2e/etc/passwd",
        ):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
        answer = await client.put("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1,", b'"x"', b"\xff\xfe", b"{'a': 1}", b"NaN", b"[" * 60_000])
async def test_a_body_that_is_no_json_is_invalid(world: World, content: bytes) -> None:
    async with world.client(headers={"Content-Type": "application/json; charset=utf-8"}) as client:
        answer = await client.post("/analyze", content=content)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_json_body_has_its_own_limit(world: World) -> None:
    async with world.client(headers={"Content-Type": "application/json"}) as client:
        answer = await client.post("/v1/jobs", content=b" " * 70_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "serve.body_bytes_max" in answer.json()["detail"]


async def test_thousands_of_wrong_fields_make_a_short_answer(world: World) -> None:
    async with world.client() as client:
        answer = await client.post("/analyze", json={f"f{n}": n for n in range(4000)})
    assert len(answer.json()["errors"]) == problems.ERRORS_MAX and len(answer.content) < 5000


@pytest.mark.parametrize(("state", "code"), [("starting", "starting"), ("stopping", "stopping")])
async def test_readiness_follows_the_service(world: World, state: Literal["starting", "stopping"], code: str) -> None:
    async with world.client() as client:
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        world.service.state = state
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, code, "5")
        assert (await client.get("/livez")).json() == {"status": state}


async def test_metrics_are_prometheus_text(world: World) -> None:
    async with world.client() as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.startswith("# TYPE")


async def test_the_service_lives_as_long_as_the_application(world: World) -> None:
    with world.served() as url:
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/readyz")).status_code == 200
        assert world.service.calls == ["start"]
    assert world.service.calls == ["start", "close"]
