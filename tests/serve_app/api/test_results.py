"""Events, reports in every format, and the video."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.results import AnalyzerResult, VideoReport
from serve_app.exports import EXPORTS
from serve_app.problems import Problem
from tests.serve_app.api.fakes import World, make_world, report, until

CLIP = {"video_path": "clip.mp4"}


def parsed(stream: str) -> list[dict[str, Any]]:
    """Events of a stream, as the standard reads them; comments and `retry` are left out."""
    events = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "data" in fields:
            number = int(fields["id"]) if "id" in fields else None
            events.append({"id": number, "event": fields["event"], "data": json.loads(fields["data"])})
    return events


@pytest.fixture
async def done(world: World) -> World:
    """A world in which job1 has ended."""
    async with world.client() as client:
        await client.post("/v1/jobs", json=CLIP)
    return world


async def test_events_are_told_as_a_browser_reads_them_and_end_after_done(world: World) -> None:
    world.jobs.holds = True
    async with world.client() as client:
        await client.post("/v1/jobs", json=CLIP)
        world.jobs.emit("job1", "progress", {"analyzers": {"cut_analysis": {"done_s": 1.0}}}, kept=False)
        world.jobs.emit("job1", "analyzer.completed", {"name": "ü\n\nid: 9\u2028\x85\u2029<b>", "x": float("nan")})
        world.jobs.finish("job1")
        answer = await client.get("/v1/jobs/job1/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (answer.headers["x-accel-buffering"], answer.headers["cache-control"]) == ("no", "no-store")
    assert answer.text.startswith("retry: 2000\n\n") and answer.text.count("retry:") == 1
    events = parsed(answer.text)
    assert [(event["id"], event["event"]) for event in events] == [
        (1, "job"),
        (None, "progress"),
        (2, "analyzer.completed"),
        (3, "done"),
    ]
    assert not {"\u2028", "\u2029", "\x85"} & set(answer.text)  # where many libraries end a line
    assert events[2]["data"] == {"name": "ü\n\nid: 9\u2028\x85\u2029<b>", "x": None}
    assert world.jobs.listeners == 0


async def test_events_go_on_after_the_last_one_seen(done: World) -> None:
    async with done.client() as client:
        for arguments in ({"headers": {"Last-Event-ID": "1"}}, {"params": {"after": 1}}):
            answer = await client.get("/v1/jobs/job1/events", **arguments)  # type: ignore[arg-type]
            assert [event["event"] for event in parsed(answer.text)] == ["done"]
        both = await client.get("/v1/jobs/job1/events", params={"after": 0}, headers={"Last-Event-ID": "1"})
        assert len(parsed(both.text)) == 1  # a browser that comes back keeps the URL and knows better
        empty = await client.get("/v1/jobs/job1/events", headers={"Last-Event-ID": ""})
        assert len(parsed(empty.text)) == 2


@pytest.mark.parametrize("garbage", ["x", "-1", "1.5", "9" * 30, "1\t2", "1;2"])
async def test_a_last_event_id_that_is_none_is_refused(done: World, garbage: str) -> None:
    async with done.client() as client:
        answer = await client.get("/v1/jobs/job1/events", headers={b"Last-Event-ID": garbage.encode()})  # type: ignore[dict-item]
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_header")
        after = await client.get("/v1/jobs/job1/events", params={"after": garbage})
        assert (after.status_code, after.json()["errors"][0]["field"]) == (422, "query.after")
    assert done.jobs.listeners == 0


async def test_events_come_as_they_happen_with_heartbeats_between(tmp_path: Path, world: World) -> None:
    quick = make_world(tmp_path, media_roots=world.settings.media_roots, serve={"heartbeat_s": 0.1})
    quick.jobs.holds = True
    with quick.served() as url:
        async with httpx.AsyncClient(base_url=url) as client:
            await client.post("/v1/jobs", json=CLIP)
            async with client.stream("GET", "/v1/jobs/job1/events") as answer:
                lines = answer.aiter_lines()
                found = []
                while found.count(": still here") < 2:
                    found.append(await asyncio.wait_for(anext(lines), 5))
                quick.jobs.finish("job1")
                rest = [line async for line in lines]
    assert found[:3] == ["retry: 2000", "", "id: 1"]
    assert "event: done" in rest


async def test_a_listener_that_leaves_leaves_nothing(world: World) -> None:
    world.jobs.holds = True
    with world.served() as url:
        async with httpx.AsyncClient(base_url=url) as client:
            await client.post("/v1/jobs", json=CLIP)
            for _ in range(3):
                async with client.stream("GET", "/v1/jobs/job1/events") as answer:
                    await anext(answer.aiter_lines())
                    await until(lambda: world.jobs.listeners == 1)
                await until(lambda: world.jobs.listeners == 0 and world.app.state.listeners == 0)


async def test_one_listener_too_many_is_told_to_come_back(tmp_path: Path, world: World) -> None:
    small = make_world(tmp_path, media_roots=world.settings.media_roots, serve={"listeners_max": 1})
    small.jobs.holds = True
    with small.served() as url:
        async with httpx.AsyncClient(base_url=url) as client:
            await client.post("/v1/jobs", json=CLIP)
            async with client.stream("GET", "/v1/jobs/job1/events") as first:
                await anext(first.aiter_lines())
                second = await client.get("/v1/jobs/job1/events")
                assert (second.status_code, second.json()["code"]) == (503, "busy")
                assert second.headers["retry-after"] == "5" and "serve.listeners_max" in second.json()["detail"]
            await until(lambda: small.app.state.listeners == 0)
            small.jobs.finish("job1")
            assert (await client.get("/v1/jobs/job1/events")).status_code == 200


async def test_a_job_that_is_deleted_ends_its_streams(world: World) -> None:
    world.jobs.holds = True

    async def vanishing(*_: object) -> Any:
        raise Problem("not_found", "gone meanwhile")
        yield

    async with world.client() as client:
        await client.post("/v1/jobs", json=CLIP)
        world.jobs.events = vanishing  # type: ignore[method-assign]
        answer = await client.get("/v1/jobs/job1/events")
    assert (answer.status_code, parsed(answer.text)) == (200, [])


@pytest.mark.parametrize("what", ["", "/events", "/result", "/media", "/timeline"])
async def test_what_does_not_exist_is_not_found(world: World, what: str) -> None:
    async with world.client() as client:
        answer = await client.get(f"/v1/jobs/job1{what}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_report_is_json_by_default(done: World) -> None:
    async with done.client() as client:
        for params in ({}, {"format": "json"}):
            answer = await client.get("/v1/jobs/job1/result", params=params)
            assert answer.headers["content-type"] == "application/json"
            assert VideoReport.model_validate(answer.json()) == report()


async def test_the_report_comes_in_lines_if_asked_to(done: World) -> None:
    async with done.client() as client:
        answer = await client.get("/v1/jobs/job1/result", headers={"Accept": "application/x-ndjson"})
        named = await client.get("/v1/jobs/job1/result?format=json", headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    results = [AnalyzerResult.model_validate_json(line) for line in answer.text.splitlines()]
    assert {result.name: result for result in results} == report().analyzers
    assert named.headers["content-type"] == "application/json"


@pytest.mark.parametrize("name", [name for name in EXPORTS if name != "json"])
async def test_every_export_is_a_download(done: World, name: str) -> None:
    async with done.client() as client:
        answer = await client.get("/v1/jobs/job1/result", params={"format": name})
    assert answer.status_code == 200 and len(answer.content) == int(answer.headers["content-length"]) > 0
    sent_type, wanted = answer.headers["content-type"], EXPORTS[name].media_type
    assert sent_type == (f"{wanted}; charset=utf-8" if wanted.startswith("text/") else wanted)
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="clip{EXPORTS[name].suffix}"')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")


async def test_a_page_with_the_video_inside(done: World) -> None:
    async with done.client() as client:
        page = (await client.get("/v1/jobs/job1/result?format=html")).text
    assert "AAECAwQFBgcICQoLDA0ODxAR" in page


async def test_a_page_beside_the_video_names_no_folder_of_the_server(
    done: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.html_report.EMBED_BYTES_MAX", 100)
    async with done.client() as client:
        page = (await client.get("/v1/jobs/job1/result?format=html")).text
    assert "./clip.mp4" in page and str(done.settings.media_roots[0]) not in page and "../" not in page


@pytest.mark.parametrize("name", ["pdf", "", "../json", "JSON"])
async def test_a_format_that_there_is_not_is_refused(done: World, name: str) -> None:
    async with done.client() as client:
        answer = await client.get("/v1/jobs/job1/result", params={"format": name})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    assert "parquet" in answer.json()["detail"]


async def test_a_job_without_a_report_says_why(world: World) -> None:
    world.jobs.holds = True
    async with world.client() as client:
        await client.post("/v1/jobs", json=CLIP)
        assert (await client.get("/v1/jobs/job1/result")).json()["code"] == "job_not_done"
        await client.delete("/v1/jobs/job1")
        assert (await client.get("/v1/jobs/job1/result")).json()["code"] == "job_ended"


async def test_the_video_is_played_as_what_it_is(done: World) -> None:
    content = (done.settings.media_roots[0] / "clip.mp4").read_bytes()
    async with done.client() as client:
        answer = await client.get("/v1/jobs/job1/media")
    assert answer.content == content
    assert answer.headers["content-type"] == "video/mp4" and answer.headers["accept-ranges"] == "bytes"
    assert re.match(r'inline; filename="clip\.mp4"', answer.headers["content-disposition"])
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["cache-control"] == "private, no-cache" and answer.headers["etag"]


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-99", 206, 0, 100),
        ("bytes=100-", 206, 100, 10240),
        ("bytes=-10", 206, 10230, 10240),
        ("bytes=-99999", 206, 0, 10240),
        ("bytes=10000-99999", 206, 10000, 10240),
        ("bytes=5-2", 200, 0, 10240),
        ("bytes=0-1,5-9", 200, 0, 10240),
        ("bytes=" + "0-," * 500, 200, 0, 10240),
        ("bytes=x-y", 200, 0, 10240),
        ("lines=0-9", 200, 0, 10240),
        ("bytes", 200, 0, 10240),
    ],
)
async def test_ranges_of_the_video(done: World, asked: str, status: int, start: int, end: int) -> None:
    content = (done.settings.media_roots[0] / "clip.mp4").read_bytes()
    async with done.client() as client:
        answer = await client.get("/v1/jobs/job1/media", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, content[start:end])
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(content)}"


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
async def test_a_range_behind_the_end_is_a_problem(done: World, asked: str) -> None:
    async with done.client() as client:
        answer = await client.get("/v1/jobs/job1/media", headers={"Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */10240"


async def test_a_video_that_is_not_kept_is_gone_but_its_report_is_not(done: World) -> None:
    (done.settings.media_roots[0] / "clip.mp4").unlink()
    async with done.client() as client:
        gone = await client.get("/v1/jobs/job1/media")
        page = await client.get("/v1/jobs/job1/result?format=html")
    assert (gone.status_code, gone.json()["code"]) == (410, "media_gone")
    assert page.status_code == 200
