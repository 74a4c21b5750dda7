"""Which sites may call, and what every answer tells the browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.api.headers import SECURITY_HEADERS
from tests.serve_app.api.fakes import World, make_world, with_keys

GOOD_HOSTS = ["localhost", "LOCALHOST:8003", "127.0.0.1:8003", "[::1]:8003", "localhost."]
BAD_HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example:8003",
    "evil.example:8003",
    "169.254.169.254",
    "localhost:x",
    "localhost@evil.example",
    "evil.example#@localhost",
    "",
    "[::1",
    "[::2]",
    "localhost/../x",
]


@pytest.mark.parametrize("host", GOOD_HOSTS)
async def test_names_of_this_machine_are_answered(world: World, host: str) -> None:
    async with world.client() as client:
        assert (await client.get("/health", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
async def test_a_name_that_was_bent_to_this_machine_is_not(world: World, host: str) -> None:
    async with world.client() as client:
        for path in ("/health", "/", "/v1/jobs"):
            answer = await client.get(path, headers={"Host": host})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin"), path
        assert (await client.get("/livez", headers={"Host": host})).status_code == 200
        assert (await client.get("/readyz", headers={"Host": host})).status_code == 200


async def test_two_hosts_are_none(world: World) -> None:
    async with world.client() as client:
        answer = await client.get("/health", headers=[("Host", "localhost"), ("Host", "evil.example")])
    assert answer.status_code == 403


async def test_more_names_are_answered_by_setting(tmp_path: Path) -> None:
    world = make_world(tmp_path, serve={"host": "127.0.0.9", "allowed_hosts": ["Reels.example"]})
    async with world.client() as client:
        for host, status in (
            ("reels.example", 200),
            ("127.0.0.9:8003", 200),
            ("localhost", 200),
            ("evil.example", 403),
        ):
            assert (await client.get("/health", headers={"Host": host})).status_code == status, host


async def test_with_keys_every_name_is_answered_unless_some_are_listed(tmp_path: Path) -> None:
    keyed = make_world(tmp_path, access=with_keys("alice"))
    listed = make_world(tmp_path, access=with_keys("alice"), serve={"allowed_hosts": ["reels.example"]})
    async with keyed.client() as client, listed.client() as strict:
        assert (await client.get("/health", headers={"Host": "reels.lan"})).status_code == 200
        assert (await strict.get("/health", headers={"Host": "reels.lan"})).status_code == 403
        assert (await strict.get("/health", headers={"Host": "reels.example"})).status_code == 200


BAD_ORIGINS = [
    "http://evil.example",
    "https://localhost:8003.evil.example",
    "http://localhost:8004",
    "http://localhost",
    "http://user@localhost:8003",
    "null",
    "file://",
    "x",
    "",
]


@pytest.mark.parametrize("origin", BAD_ORIGINS)
async def test_another_sites_page_may_change_nothing(world: World, origin: str) -> None:
    async with world.client(headers={"Origin": origin}) as client:
        for method, path in (
            ("POST", "/v1/jobs"),
            ("POST", "/analyze"),
            ("DELETE", "/v1/jobs/a"),
            ("POST", "/v1/session"),
        ):
            answer = await client.request(method, path, json={"video_path": "clip.mp4"})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin"), (method, path)
        seen = await client.get("/v1/jobs")
    assert seen.status_code == 200 and "access-control-allow-origin" not in seen.headers
    assert not world.jobs.records


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8003", "http://localhost:8003"),
        ("localhost", "http://localhost:80"),
        ("localhost:443", "https://localhost"),
        ("localhost", "https://LOCALHOST"),
        ("[::1]:8003", "http://[::1]:8003"),
    ],
)
async def test_the_services_own_page_may(world: World, host: str, origin: str) -> None:
    async with world.client(headers={"Origin": origin, "Host": host}) as client:
        assert (await client.post("/v1/jobs", json={"video_path": "clip.mp4"})).status_code == 202


async def test_the_page_behind_a_proxy_that_changes_the_host_may(tmp_path: Path, world: World) -> None:
    roots, serve = world.settings.media_roots, {"allowed_hosts": ["reels.example"]}
    proxied = make_world(tmp_path, media_roots=roots, serve=serve)
    async with proxied.client() as client:
        for origin, status in (("https://reels.example", 202), ("https://evil.example", 403), ("null", 403)):
            answer = await client.post("/v1/jobs", json={"video_path": "clip.mp4"}, headers={"Origin": origin})
            assert answer.status_code == status, origin


async def test_a_preflight_of_another_site_is_refused(world: World) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    async with world.client() as client:
        answer = await client.options("/v1/jobs", headers=headers)
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


async def test_an_origin_may_be_let_in_by_setting(tmp_path: Path, world: World) -> None:
    access = {"cors_origins": ["https://studio.example"]}
    opened = make_world(tmp_path, media_roots=world.settings.media_roots, access=access)
    origin = {"Origin": "https://studio.example"}
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key,x-api-key"}
    async with opened.client() as client:
        preflight = await client.options("/v1/jobs", headers=origin | wanted)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://studio.example"
        answer = await client.post("/v1/jobs", json={"video_path": "clip.mp4"}, headers=origin)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (202, "https://studio.example")
        assert "Location" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        wrong = await client.post("/v1/jobs", json={}, headers=origin)
        assert wrong.status_code == 422 and wrong.headers["access-control-allow-origin"] == "https://studio.example"
        other = await client.post("/v1/jobs", json={}, headers={"Origin": "https://evil.example"})
        assert other.status_code == 403 and "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("path", ["/health", "/v1/jobs", "/nowhere", "/v1/jobs/none", "/openapi.json"])
async def test_every_answer_has_the_security_headers(world: World, path: str) -> None:
    async with world.client() as client:
        answer = await client.get(path)
        refused = await client.get(path, headers={"Host": "evil.example"})
    for found in (answer, refused):
        assert {name: found.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert "strict-transport-security" not in found.headers and "server" not in found.headers


async def test_the_page_keeps_its_own_policy(world: World) -> None:
    async with world.client() as client:
        page = await client.get("/")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
