"""The HTTP interface over the real job service, with scripted analyzers behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx
import pytest
from fastapi import FastAPI

from pipeline.results import VideoReport
from pipeline.settings import Settings
from serve_app.api.application import create_app
from serve_app.jobs.service import JobService
from serve_app.schemas import Health, Job
from tests.serve_app.api.fakes import until, with_keys
from tests.serve_app.api.test_results import parsed
from tests.serve_app.jobs.scripted import BAD, ScriptedAnalysis, ScriptedFetcher

VIDEO = bytes(range(256)) * 5000
ALICE, BOB = {"X-API-Key": "rs_alice"}, {"X-API-Key": "rs_bob"}


class ScriptedService:
    """Real jobs; analyzers that do what a test says."""

    state: Literal["starting", "ok", "stopping"] = "ok"

    def __init__(self, settings: Settings, analysis: ScriptedAnalysis) -> None:
        self.analysis = analysis
        self.jobs = JobService(settings, analysis, ScriptedFetcher())

    @property
    def names(self) -> Collection[str]:
        return self.analysis.graph.specs

    async def start(self) -> None:
        await self.jobs.start()
        self.jobs.begin()

    async def close(self) -> None:
        await self.jobs.drain(0)
        await self.jobs.close()

    async def health(self) -> Health:
        raise NotImplementedError

    async def metrics(self) -> str:
        raise NotImplementedError


@pytest.fixture
def analysis() -> ScriptedAnalysis:
    return ScriptedAnalysis()


@pytest.fixture
def app(tmp_path: Path, analysis: ScriptedAnalysis) -> FastAPI:
    access = with_keys("alice", "bob", jobs_in_flight=2)
    settings = Settings(data_dir=tmp_path / "data", access=access, serve={"waiting_max": 5, "analyze_s_max": 10})
    return create_app(settings, ScriptedService(settings, analysis))


@asynccontextmanager
async def calling(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Alice, while the application lives."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://localhost", headers=ALICE
        ) as client,
    ):
        yield client


async def test_from_upload_to_deletion(app: FastAPI, tmp_path: Path) -> None:
    async with calling(app) as client:
        key = {"Idempotency-Key": "k", "X-Request-ID": "mine"}
        answer = await client.post("/v1/jobs", files={"file": ("clip.mp4", VIDEO)}, headers=key)
        job = Job.model_validate(answer.json())
        assert (answer.status_code, job.source, job.request_id) == (202, "clip.mp4", "mine")
        events = parsed((await client.get(job.links.events)).text)
        assert events[-1]["event"] == "done" and events[-1]["data"]["state"] == "done"
        assert [event["id"] for event in events if event["id"]] == list(range(1, events[-1]["id"] + 1))
        rest = parsed((await client.get(job.links.events, headers={"Last-Event-ID": str(events[-1]["id"] - 1)})).text)
        assert [event["event"] for event in rest] == ["done"]
        report = VideoReport.model_validate((await client.get(job.links.result)).json())
        assert report.statuses() == {"ok": 3, "failed": 0, "skipped": 0}
        assert (await client.get(f"{job.links.result}?format=csv")).status_code == 200
        part = await client.get(job.links.media, headers={"Range": "bytes=1000-1999"})
        assert (part.status_code, part.content) == (206, VIDEO[1000:2000])
        for path in (job.links.self, job.links.events, job.links.result, job.links.media):
            assert (await client.get(path, headers=BOB)).status_code == 404
        again = await client.post("/v1/jobs", files={"file": ("clip.mp4", VIDEO)}, headers=key)
        assert (again.status_code, again.json()["id"]) == (200, job.id)
        anew = await client.post(f"{job.links.self}/rerun", json={"analyzers": ["sound"]})
        assert (anew.status_code, anew.json()["based_on"]) == (202, job.id)
        assert parsed((await client.get(anew.json()["links"]["events"])).text)[-1]["data"]["state"] == "done"
        assert (await client.delete(job.links.self)).status_code == 204
        assert (await client.get(job.links.self)).status_code == 404
    assert not list((tmp_path / "data" / "spool").glob("upload-*"))


async def test_waiting_for_the_report(app: FastAPI) -> None:
    async with calling(app) as client:
        post = {"tiktok_url": "https://www.tiktok.com/@someone/video/7300000000000000000", "analyzers": ["brightness"]}
        answer = await client.post("/analyze", json=post)
        assert answer.status_code == 200
        assert set(VideoReport.model_validate(answer.json()).analyzers) == {"brightness"}
        lines = (await client.post("/analyze", json=post, headers={"Accept": "application/x-ndjson"})).text.splitlines()
        assert json.loads(lines[-1])["type"] == "report" and json.loads(lines[-2])["type"] == "done"


async def test_a_file_that_is_no_video(app: FastAPI) -> None:
    async with calling(app) as client:
        job = (await client.post("/v1/jobs", files={"file": ("a.txt", BAD)})).json()
        done = parsed((await client.get(job["links"]["events"])).text)[-1]
        assert (done["data"]["state"], done["data"]["error"]["code"]) == ("failed", "media_unreadable")
        assert (await client.get(job["links"]["result"])).json()["code"] == "job_ended"


async def test_a_key_has_so_many_jobs_and_no_more(app: FastAPI, analysis: ScriptedAnalysis) -> None:
    analysis.hold("sound")
    async with calling(app) as client:
        for number, status in enumerate((202, 202, 429)):
            answer = await client.post("/v1/jobs", files={"file": ("a.mp4", b"%d" % number)})
            assert answer.status_code == status
        assert answer.json()["code"] == "too_many_jobs" and answer.headers["retry-after"]
        assert (await client.post("/v1/jobs", files={"file": ("a.mp4", b"x")}, headers=BOB)).status_code == 202


async def test_who_leaves_frees_what_the_job_held(app: FastAPI, analysis: ScriptedAnalysis) -> None:
    analysis.hold("sound")
    async with calling(app) as client:
        url = "https://www.tiktok.com/@someone/video/7300000000000000000"
        asking = asyncio.ensure_future(client.post("/analyze", json={"tiktok_url": url}))
        await analysis.reached("sound")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until(lambda: analysis.running == 0)
        (job,) = (await client.get("/v1/jobs")).json()["jobs"]
        assert job["state"] == "cancelled"


async def test_listeners_do_not_hold_up_the_end(app: FastAPI, analysis: ScriptedAnalysis) -> None:
    analysis.hold("sound")
    async with calling(app) as client:
        job = (await client.post("/v1/jobs", files={"file": ("a.mp4", VIDEO)})).json()
        listening = asyncio.ensure_future(client.get(job["links"]["events"]))
        waiting = asyncio.ensure_future(
            client.post("/analyze", json={"tiktok_url": "https://www.tiktok.com/@someone/video/7300000000000000000"})
        )
        await until(lambda: analysis.running == 2)
        await app.state.service.close()
        assert "event: done" not in (await asyncio.wait_for(listening, 5)).text
        assert (await asyncio.wait_for(waiting, 5)).json()["code"] == "stopping"
        refused = await client.post("/v1/jobs", files={"file": ("a.mp4", VIDEO)})
        assert (refused.status_code, refused.json()["code"]) == (503, "stopping")


@pytest.mark.parametrize("job_id", ["%00", "a%00b", "%ff", "x" * 65, "..%2f..", "%27%20OR%201=1"])
async def test_an_id_that_is_none_reaches_no_database(app: FastAPI, job_id: str) -> None:
    async with calling(app) as client:
        for what in ("", "/events", "/result", "/media", "/timeline"):
            answer = await client.get(f"/v1/jobs/{job_id}{what}")
            assert answer.status_code in {404, 422}, what
