"""Keys, sessions, and how often each may ask."""

from __future__ import annotations

import hashlib
import math
import tomllib
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from pipeline.errors import UsageError
from pipeline.settings import Settings
from serve_app.api.access import FAILURES_PER_MINUTE, check_binding
from serve_app.api.keys import hash_of, new_key
from serve_app.api.rates import NAMES_MAX, RateLimit
from serve_app.api.sessions import SESSION_S, Sessions
from serve_app.cli import app as command_line
from tests.serve_app.api.fakes import World, make_world, with_keys

NEEDS_A_KEY = [
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs/job1"),
    ("DELETE", "/v1/jobs/job1"),
    ("POST", "/v1/jobs/job1/rerun"),
    ("GET", "/v1/jobs/job1/events"),
    ("GET", "/v1/jobs/job1/result"),
    ("GET", "/v1/jobs/job1/media"),
    ("GET", "/v1/jobs/job1/timeline"),
    ("POST", "/analyze"),
    ("GET", "/metrics"),
]
NEEDS_NONE = ["/livez", "/readyz", "/", "/jobs/job1", "/openapi.json", "/health"]


@pytest.fixture
def locked(tmp_path: Path) -> World:
    """A world of Alice and Bob."""
    root = tmp_path / "media"
    root.mkdir()
    (root / "clip.mp4").write_bytes(b"x" * 100)
    return make_world(tmp_path, media_roots=[root], access=with_keys("alice", "bob"))


@pytest.mark.parametrize(("method", "path"), NEEDS_A_KEY)
async def test_without_a_key_nothing_is_told_or_read(locked: World, method: str, path: str) -> None:
    async with locked.client() as client:
        for headers in (
            {},
            {"X-API-Key": "rs_eve"},
            {"Authorization": "Bearer rs_eve"},
            {"Authorization": "Basic YTpi"},
        ):
            answer = await client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", NEEDS_NONE)
async def test_the_page_and_the_probes_need_none(locked: World, path: str) -> None:
    async with locked.client() as client:
        assert (await client.get(path)).status_code == 200


def test_every_route_is_in_one_of_the_lists(locked: World) -> None:
    described = {
        (method.upper(), path.replace("{job_id}", "job1"))
        for path, operations in locked.app.openapi()["paths"].items()
        for method in operations
    }
    sessions = {("POST", "/v1/session"), ("DELETE", "/v1/session")}
    assert described - sessions == {pair for pair in NEEDS_A_KEY if "timeline" not in pair[1]} | {
        ("GET", path) for path in NEEDS_NONE if path in {"/livez", "/readyz", "/health"}
    }


async def test_a_key_is_taken_in_either_header(locked: World) -> None:
    async with locked.client() as client:
        for headers in (
            {"X-API-Key": "rs_alice"},
            {"Authorization": "Bearer rs_alice"},
            {"Authorization": "bearer rs_bob"},
        ):
            assert (await client.get("/v1/jobs", headers=headers)).status_code == 200


async def test_jobs_of_one_key_are_not_there_for_another(locked: World) -> None:
    async with locked.client() as client:
        alice, bob = {"X-API-Key": "rs_alice"}, {"X-API-Key": "rs_bob"}
        created = await client.post("/v1/jobs", json={"video_path": "clip.mp4"}, headers=alice)
        assert (created.status_code, locked.jobs.last.owner) == (202, "alice")
        asked = locked.jobs.last.submission
        assert (asked.jobs_in_flight_max, asked.seconds_per_day_max) == (32, 86_400)
        for path in ("", "/events", "/result", "/media", "/timeline"):
            assert (await client.get(f"/v1/jobs/job1{path}", headers=bob)).status_code == 404, path
        assert (await client.delete("/v1/jobs/job1", headers=bob)).status_code == 404
        assert (await client.get("/v1/jobs", headers=bob)).json()["jobs"] == []
        assert (await client.get("/v1/jobs/job1", headers=alice)).status_code == 200


async def test_strangers_hear_of_health_only_how_it_is(locked: World) -> None:
    async with locked.client() as client:
        stranger = (await client.get("/health")).json()
        assert stranger == {
            "status": "ok",
            "version": "1",
            "profile": "embedded",
            "analyzers": {},
            "gpus": [],
            "jobs": {},
            "limits": {},
        }
        known = (await client.get("/health", headers={"X-API-Key": "rs_alice"})).json()
        assert set(known["analyzers"]) == set(locked.service.names) and known["limits"]
        assert (await client.get("/health", headers={"X-API-Key": "rs_eve"})).status_code == 401


async def test_without_keys_everybody_hears_everything(world: World) -> None:
    async with world.client() as client:
        assert (await client.get("/health")).json()["analyzers"]
        assert (await client.get("/v1/jobs", headers={"X-API-Key": "whatever"})).status_code == 200
        signed_in = await client.post("/v1/session", json={"key": "whatever"})
        assert signed_in.status_code == 204 and "set-cookie" not in signed_in.headers


async def test_a_browser_signs_in_and_out(locked: World) -> None:
    async with locked.client() as client:
        answer = await client.post("/v1/session", json={"key": "rs_alice"})
        cookie = answer.headers["set-cookie"]
        assert answer.status_code == 204 and answer.content == b""
        assert {"HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={SESSION_S}"} <= set(cookie.split("; "))
        assert "Secure" not in cookie and "rs_alice" not in cookie
        assert (await client.get("/v1/jobs")).status_code == 200
        assert (await client.get("/health")).json()["analyzers"]
        # a wrong key is a mistake that is told, though there is a session
        assert (await client.get("/v1/jobs", headers={"X-API-Key": "rs_eve"})).status_code == 401
        assert (await client.delete("/v1/session")).status_code == 204
        assert (await client.get("/v1/jobs")).status_code == 401


async def test_the_cookie_of_a_secure_site_is_secure(locked: World) -> None:
    transport = httpx.ASGITransport(locked.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://localhost") as client:
        answer = await client.post("/v1/session", json={"key": "rs_alice"})
    assert "Secure" in answer.headers["set-cookie"].split("; ")
    assert answer.headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize("body", [{}, {"key": ""}, {"key": 3}, {"key": "a\nb"}, {"key": "rs_eve"}, {"name": "alice"}])
async def test_a_session_needs_a_good_key(locked: World, body: dict[str, object]) -> None:
    async with locked.client() as client:
        answer = await client.post("/v1/session", json=body)
    assert answer.status_code in {401, 422} and "set-cookie" not in answer.headers


def test_a_session_ends_and_cannot_be_made_up() -> None:
    now = 1_000_000.0
    sessions = Sessions(clock=lambda: now)
    token = sessions.token("älice")
    assert sessions.owner(token) == "älice"
    name, expiry, signature = token.split(".")
    for forged in (
        f"{name}.{int(expiry) + 1}.{signature}",
        f"Ym9i.{expiry}.{signature}",
        f"{name}.{expiry}.",
        f"{name}.{expiry}",
        f"{name}.{expiry}.{signature}x",
        "",
        ".",
        "..",
        "é.é.é",
        "\udcff.1.x",
    ):
        assert sessions.owner(forged) is None, forged
    assert Sessions(clock=lambda: now).owner(token) is None, "another process has another secret"
    now += SESSION_S + 1
    assert sessions.owner(token) is None


async def test_a_forged_cookie_is_no_session(locked: World) -> None:
    async with locked.client() as client:
        for cookie in ("reelscope_session=YWxpY2U.9999999999.00", "reelscope_session=", "reelscope_session=%ff"):
            assert (await client.get("/v1/jobs", headers={"Cookie": cookie})).status_code == 401


async def test_requests_of_a_key_are_counted(tmp_path: Path) -> None:
    world = make_world(tmp_path, access=with_keys("alice", "bob", requests_per_minute=3))
    async with world.client(headers={"X-API-Key": "rs_alice"}) as client:
        statuses = [(await client.get("/v1/jobs")).status_code for _ in range(4)]
        refused = await client.get("/v1/jobs")
        other = await client.get("/v1/jobs", headers={"X-API-Key": "rs_bob"})
    assert statuses == [200, 200, 200, 429] and other.status_code == 200
    assert refused.json()["code"] == "rate_limited" and 1 <= int(refused.headers["retry-after"]) <= 20
    assert "access.keys.alice.requests_per_minute" in refused.json()["detail"]


async def test_guessing_is_slowed_down(locked: World) -> None:
    async with locked.client() as client:
        statuses = [
            (await client.get("/v1/jobs", headers={"X-API-Key": f"rs_{n}"})).status_code
            for n in range(FAILURES_PER_MINUTE + 1)
        ]
        assert statuses == [401] * FAILURES_PER_MINUTE + [429]
        right = await client.get("/v1/jobs", headers={"X-API-Key": "rs_alice"})
        assert right.status_code == 429 and int(right.headers["retry-after"]) >= 1, (
            "not even the right one is looked at"
        )
        assert (await client.post("/v1/session", json={"key": "rs_alice"})).status_code == 429
    transport = httpx.ASGITransport(locked.app, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as elsewhere:
        assert (await elsewhere.get("/v1/jobs", headers={"X-API-Key": "rs_alice"})).status_code == 200


async def test_guesses_from_one_ipv6_network_count_together(locked: World) -> None:
    statuses = []
    for n in range(FAILURES_PER_MINUTE + 1):
        transport = httpx.ASGITransport(locked.app, client=(f"2001:db8::{n:x}", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            statuses.append((await client.get("/v1/jobs", headers={"X-API-Key": "rs_eve"})).status_code)
    assert statuses[-2:] == [401, 429]


def test_a_bucket_refills_evenly_and_holds_no_more_than_a_minutes_worth() -> None:
    now = 0.0
    limit = RateLimit(60, clock=lambda: now)
    assert [limit.take("a") for _ in range(60)] == [0.0] * 60
    assert limit.take("a") == pytest.approx(1.0) and limit.take("b") == 0
    now += 0.5
    assert limit.take("a") == pytest.approx(0.5)
    now += 0.5
    assert limit.take("a") == 0
    now += 3600
    assert math.isclose(sum(limit.take("a") == 0 for _ in range(100)), 60)


def test_buckets_are_bounded() -> None:
    limit = RateLimit(1, clock=lambda: 0.0)
    for n in range(NAMES_MAX + 10):
        limit.take(str(n))
    assert len(limit._buckets) == NAMES_MAX


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "8.8.8.8", ""])
def test_a_public_address_needs_a_key(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="reelscope key"):
        check_binding(Settings(data_dir=tmp_path, serve={"host": host}))
    check_binding(Settings(data_dir=tmp_path, serve={"host": host}, access=with_keys("alice")))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_loopback_address_needs_none(tmp_path: Path, host: str) -> None:
    check_binding(Settings(data_dir=tmp_path, serve={"host": host}))


def test_keys_are_random_and_only_their_hash_is_kept() -> None:
    (one, hashed), (other, _) = new_key(), new_key()
    assert one != other and one.startswith("rs_") and len(one) >= 43
    assert hashed == hash_of(one) == hashlib.sha256(one.encode()).hexdigest()


def test_the_command_line_makes_a_key_and_what_to_paste() -> None:
    result = CliRunner().invoke(command_line, ["key", "alice"])
    assert result.exit_code == 0
    key = next(word for word in result.output.split() if word.startswith("rs_"))
    section = tomllib.loads(result.output[result.output.index("[") :])
    assert section == {"access": {"keys": {"alice": {"sha256": hash_of(key)}}}}


@pytest.mark.parametrize("name", ["", "a b", "a.b", "ä", "x" * 65, '"'])
def test_a_name_of_a_key_stands_in_settings_and_logs(name: str) -> None:
    result = CliRunner().invoke(command_line, ["key", name])
    assert result.exit_code == 2
