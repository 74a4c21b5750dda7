"""Jobs over HTTP: taken on, listed, cancelled, run again, waited for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.results import VideoReport
from serve_app.problems import Problem
from serve_app.schemas import Job, JobError, JobList
from tests.serve_app.api.fakes import World, make_world, until

CLIP = {"video_path": "clip.mp4"}
POST = "https://www.tiktok.com/@someone/video/7300000000000000000"


async def test_a_file_of_the_server_becomes_a_job(world: World) -> None:
    async with world.client() as client:
        answer = await client.post("/v1/jobs", json={**CLIP, "analyzers": ["cut_analysis", "cut_analysis"]})
    assert answer.status_code == 202
    job = Job.model_validate(answer.json())
    assert answer.headers["location"] == job.links.self == f"/v1/jobs/{job.id}"
    asked = world.jobs.last.submission
    assert (asked.kind, asked.analyzers) == ("path", ("cut_analysis",))
    assert Path(asked.source) == world.settings.media_roots[0] / "clip.mp4"
    assert asked.request_id == answer.headers["x-request-id"] == job.request_id


async def test_a_post_becomes_a_job_under_its_normalised_url(world: World) -> None:
    async with world.client() as client:
        answer = await client.post("/v1/jobs", json={"tiktok_url": POST.replace("www.tiktok", "WWW.TikTok") + "#x"})
    assert answer.status_code == 202
    assert (world.jobs.last.submission.kind, world.jobs.last.submission.source) == ("url", POST)


async def test_an_upload_becomes_a_job_and_its_file_is_taken_over(world: World) -> None:
    video = bytes(range(256)) * 10_000
    form = {"analyzers": ["cut_analysis, color_analysis", "speech_transcription"]}
    async with world.client() as client:
        answer = await client.post("/v1/jobs", files={"file": ("my clip.mp4", video)}, data=form)
    assert answer.status_code == 202
    asked = world.jobs.last.submission
    assert (asked.kind, asked.source) == ("upload", "my clip.mp4")
    assert asked.analyzers == ("cut_analysis", "color_analysis", "speech_transcription")
    assert world.jobs.last.media is not None and world.jobs.last.media.read_bytes() == video
    assert world.spooled == []
    (nbytes, owner, _), *_ = world.jobs.asked_room
    assert len(video) < nbytes < len(video) + 2000 and owner == ""


async def test_there_is_room_or_the_upload_is_not_even_read(world: World) -> None:
    world.jobs.no_room = Problem("busy", "the house is full", retry_after_s=7)
    async with world.client() as client:
        answer = await client.post("/v1/jobs", files={"file": b"x"})
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["code"]) == (503, "7", "busy")
    assert world.spooled == []


async def test_the_same_idempotency_key_answers_with_the_same_job(world: World) -> None:
    headers = {"Idempotency-Key": "one"}
    async with world.client(headers=headers) as client:
        first = await client.post("/v1/jobs", json=CLIP)
        again = await client.post("/v1/jobs", json={**CLIP, "analyzers": None})
        other = await client.post("/v1/jobs", json={"tiktok_url": POST})
        waiting = await client.post("/analyze", json=CLIP)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"] and again.headers["location"] == first.headers["location"]
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert waiting.status_code == 200 and waiting.headers["location"] == first.headers["location"]


async def test_an_upload_is_the_same_by_its_bytes_and_fields(world: World) -> None:
    async with world.client(headers={"Idempotency-Key": "one"}) as client:
        first = await client.post("/v1/jobs", files={"file": ("a.mp4", b"abc")})
        again = await client.post("/v1/jobs", files={"file": ("a.mp4", b"abc")})
        other = await client.post("/v1/jobs", files={"file": ("a.mp4", b"abd")})
        fewer = await client.post("/v1/jobs", files={"file": ("a.mp4", b"abc")}, data={"analyzers": "cut_analysis"})
    assert [answer.status_code for answer in (first, again, other, fewer)] == [202, 200, 409, 409]
    assert world.spooled == [] and len(world.jobs.records) == 1


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256, "a\tb"])
async def test_an_idempotency_key_is_visible_ascii(world: World, key: str) -> None:
    async with world.client() as client:
        answer = await client.post("/v1/jobs", json=CLIP, headers={"Idempotency-Key": key.encode()})  # type: ignore[dict-item]
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_header")
    assert not world.jobs.records


async def test_jobs_are_listed_a_page_at_a_time(world: World) -> None:
    async with world.client() as client:
        for _ in range(5):
            await client.post("/v1/jobs", json=CLIP)
        first = JobList.model_validate((await client.get("/v1/jobs", params={"limit": 3})).json())
        assert [job.id for job in first.jobs] == ["job5", "job4", "job3"]
        rest = (await client.get("/v1/jobs", params={"limit": 3, "before": first.next})).json()
        assert [job["id"] for job in rest["jobs"]] == ["job2", "job1"] and rest["next"] is None
        for wrong in ({"limit": 0}, {"limit": 501}, {"limit": "x"}, {"before": "../x"}):
            answer = await client.get("/v1/jobs", params=wrong)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), wrong


async def test_a_running_job_is_cancelled_and_an_ended_one_deleted(world: World) -> None:
    world.jobs.holds = True
    async with world.client() as client:
        await client.post("/v1/jobs", json=CLIP)
        cancelled = await client.delete("/v1/jobs/job1")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        kept = await client.delete("/v1/jobs/job1?keep=true")
        assert (kept.status_code, kept.json()["state"]) == (200, "cancelled")
        deleted = await client.delete("/v1/jobs/job1")
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert (await client.get("/v1/jobs/job1")).json()["code"] == "not_found"


async def test_some_analyzers_are_run_again(world: World) -> None:
    async with world.client() as client:
        await client.post("/v1/jobs", json=CLIP)
        answer = await client.post("/v1/jobs/job1/rerun", json={"analyzers": ["color_analysis"]})
        assert (answer.status_code, answer.headers["location"]) == (202, "/v1/jobs/job2")
        asked = world.jobs.last.submission
        assert (asked.based_on, asked.analyzers, asked.kind) == ("job1", ("color_analysis",), "path")
        none = await client.post("/v1/jobs/job1/rerun", json={"analyzers": []})
        assert (none.status_code, none.json()["errors"][0]["field"]) == (422, "body.analyzers")
        missing = await client.post("/v1/jobs/job9/rerun", json={"analyzers": ["color_analysis"]})
        assert missing.status_code == 404


async def test_an_unknown_analyzer_is_refused_with_the_nearest(world: World) -> None:
    async with world.client() as client:
        for path in ("/v1/jobs", "/analyze"):
            answer = await client.post(path, json={**CLIP, "analyzers": ["cut_analisys"]})
            assert (answer.status_code, answer.json()["code"]) == (422, "unknown_analyzer")
            assert "cut_analysis" in answer.json()["detail"]
        upload = await client.post("/v1/jobs", files={"file": b"x"}, data={"analyzers": "cut_analisys"})
        assert upload.json()["code"] == "unknown_analyzer"
    assert not world.jobs.records and world.spooled == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"video_path": "a", "tiktok_url": "b"}, "body"),
        ({"video_path": 3}, "body.video_path"),
        ({"video_path": ""}, "body.video_path"),
        ({"video_path": "a\x00b"}, "body.video_path"),
        ({"video_path": "x" * 5000}, "body.video_path"),
        ({"video_path": "a", "colour": "red"}, "body.colour"),
        ({"video_path": "a", "analyzers": "cut_analysis"}, "body.analyzers"),
        ({"video_path": "a", "analyzers": ["Cut Analysis"]}, "body.analyzers.0"),
        ([], "body"),
        (None, "body"),
    ],
)
async def test_a_wrong_body_is_told_field_by_field(world: World, body: Any, field: str) -> None:
    async with world.client() as client:
        answer = await client.post("/analyze", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == field
    assert "x" * 100 not in answer.text


async def test_analyze_answers_with_the_report(world: World) -> None:
    async with world.client() as client:
        answer = await client.post("/analyze", json=CLIP)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["location"] == "/v1/jobs/job1"
    assert VideoReport.model_validate(answer.json()).video.source == "clip.mp4"


async def test_analyze_tells_why_the_job_failed(world: World) -> None:
    world.jobs.fails_with = JobError(code="media_unreadable", detail="clip.mp4 is a text")
    async with world.client() as client:
        answer = await client.post("/analyze", json=CLIP)
    assert (answer.status_code, answer.json()["detail"]) == (422, "clip.mp4 is a text")
    assert answer.headers["location"] == "/v1/jobs/job1"


async def test_analyze_stops_waiting_and_the_job_goes_on(tmp_path: Path, world: World) -> None:
    roots = world.settings.media_roots
    impatient = make_world(tmp_path, media_roots=roots, serve={"analyze_s_max": 0.05})
    impatient.jobs.holds = True
    async with impatient.client() as client:
        answer = await client.post("/analyze", json=CLIP)
        streamed = await client.post("/analyze", json=CLIP, headers={"Accept": "application/x-ndjson"})
    assert (answer.status_code, answer.json()["code"]) == (504, "timed_out")
    assert answer.headers["location"] == "/v1/jobs/job1"
    last = json.loads(streamed.text.splitlines()[-1])
    assert (last["type"], last["data"]["code"]) == ("problem", "timed_out")
    assert impatient.jobs.cancelled == [] and impatient.jobs.listeners == 0


async def test_analyze_streams_lines_if_asked_to(world: World) -> None:
    headers = {"Accept": "application/json;q=0.5, application/x-ndjson"}
    async with world.client() as client:
        answer = await client.post("/analyze", json=CLIP, headers=headers)
    assert answer.headers["content-type"] == "application/x-ndjson" and answer.headers["location"] == "/v1/jobs/job1"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [(line["type"], line.get("id")) for line in lines] == [("job", 1), ("done", 2), ("report", None)]
    VideoReport.model_validate(lines[-1]["data"])


async def test_a_stream_ends_with_the_problem_where_there_is_no_report(world: World) -> None:
    world.jobs.fails_with = JobError(code="post_removed", detail="the post is gone")
    async with world.client() as client:
        answer = await client.post("/analyze", json=CLIP, headers={"Accept": "application/x-ndjson"})
    last = json.loads(answer.text.splitlines()[-1])
    assert (last["type"], last["data"]["code"], last["data"]["status"]) == ("problem", "post_removed", 422)


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
async def test_who_leaves_cancels_what_it_asked_for(world: World, accept: str) -> None:
    world.jobs.holds = True
    with world.served() as url:
        async with httpx.AsyncClient(base_url=url) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/analyze", json=CLIP, headers={"Accept": accept}, timeout=0.3)
        await until(lambda: world.jobs.cancelled == ["job1"])
        await until(lambda: world.jobs.listeners == 0)


async def test_who_leaves_does_not_cancel_a_job_of_an_earlier_request(world: World) -> None:
    world.jobs.holds = True
    with world.served() as url:
        async with httpx.AsyncClient(base_url=url, headers={"Idempotency-Key": "k"}) as client:
            await client.post("/v1/jobs", json=CLIP)
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/analyze", json=CLIP, timeout=0.2)
            assert (await client.get("/v1/jobs/job1")).json()["state"] == "running"
    assert world.jobs.cancelled == []


async def test_a_request_that_the_server_cancels_cancels_its_job(world: World) -> None:
    """Ray Serve cancels the task of a request whose caller has left."""
    world.jobs.holds = True
    async with world.client() as client:
        asking = asyncio.ensure_future(client.post("/analyze", json=CLIP))
        await until(lambda: world.jobs.records)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await until(lambda: world.jobs.cancelled == ["job1"])
