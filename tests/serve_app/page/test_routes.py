"""What the page's addresses answer: files that stay in caches, policies that keep scripts out, and data to draw."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pipeline.settings import Settings
from serve_app.api.application import create_app
from serve_app.exports import EXPORTS
from serve_app.page.assets import FILES, PLOTLY, asset
from serve_app.page.routes import name_of, timeline_data
from serve_app.report_lanes import LANES
from tests.serve_app.documents import document, everything
from tests.serve_app.page.fake_service import ScriptedService, made_job

REPORT = document(*everything())


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    service = ScriptedService(REPORT, tmp_path / "clip.mp4", seconds=0.2)
    service.jobs.add(made_job(id="done", media_kept=True, duration_s=30.0))
    with TestClient(create_app(Settings(data_dir=tmp_path), service), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/jobs/any"])
def test_a_document_allows_only_our_scripts_and_knows_no_job(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["style-src"] == ("'self'" if path == "/" else "'self' 'unsafe-inline'")
    assert "{{" not in answer.text and answer.content == client.get(path.replace("any", "other")).content
    assert not re.findall(r"\son\w+=|javascript:|https?://(?!www\.tiktok\.com/@name)", answer.text)


def test_every_file_of_a_document_is_there_and_kept_for_good(client: TestClient) -> None:
    found = set()
    for path in ("/", "/jobs/any"):
        for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get(path).text):
            answer = client.get(address)
            assert answer.status_code == 200, address
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            found.add(address.removeprefix("/static/").split("?")[0])
    assert found == {*FILES, PLOTLY}


def test_a_file_without_its_version_is_asked_for_again_and_not_sent_twice(client: TestClient) -> None:
    first = client.get("/static/api.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get("/static/api.js", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304 and again.content == b""


def test_files_are_compressed_for_who_understands_it(client: TestClient) -> None:
    packed = client.get(f"/static/{PLOTLY}", headers={"Accept-Encoding": "br, gzip"})
    plain = client.get(f"/static/{PLOTLY}", headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip" and packed.content == plain.content
    assert "Content-Encoding" not in plain.headers
    assert len(asset(PLOTLY).packed) < len(plain.content) / 2 and gzip.decompress(asset(PLOTLY).packed) == plain.content


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fhtml_report.py", "start.html", "routes.py"])
def test_nothing_else_is_a_file(client: TestClient, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 404 and answer.headers["Content-Type"] == "application/problem+json"


def test_the_documents_have_the_titles_and_the_formats(client: TestClient) -> None:
    text = client.get("/jobs/any").text
    assert re.findall(r'data-format="(\w+)"', text) == list(EXPORTS)
    assert all(f'"{name}":' in text for name in LANES)


def test_a_finished_job_is_drawn_with_its_video_beside_it(client: TestClient) -> None:
    data = client.get("/v1/jobs/done/timeline").json()
    assert data["name"] == "clip.mp4" and len(data["lanes"]) == len(REPORT.analyzers)
    medium = data["medium"]
    assert (medium["kind"], medium["mime"], medium["plays"]) == ("video", "video/mp4", "yes")
    assert (medium["embedded"], medium["href"], medium["note"]) == (False, "/v1/jobs/done/media", "")
    assert client.get("/v1/jobs/other/timeline").status_code == 404


def test_a_video_that_is_not_kept_leaves_what_was_found() -> None:
    medium = timeline_data(REPORT, made_job(media_kept=False))["medium"]
    assert medium["href"] is None and "not kept any more" in medium["note"]


def test_a_lane_comes_by_the_event_that_told_of_it(client: TestClient) -> None:
    job = client.post("/v1/jobs", json={"tiktok_url": "https://www.tiktok.com/@a/video/1"}).json()
    with client.stream("GET", job["links"]["events"]) as answer:
        lines = list(answer.iter_lines())
    number = next(int(lines[at - 1][4:]) for at, line in enumerate(lines) if line == "event: analyzer.completed")
    drawn = client.get(f"/v1/jobs/{job['id']}/lanes/{number}").json()
    assert drawn["name"] in REPORT.analyzers and set(drawn) >= {"title", "group", "status", "note", "rows", "bars"}
    assert all(len(bar) == 5 for bar in drawn["bars"])
    for wrong in (1, 10_000):
        assert client.get(f"/v1/jobs/{job['id']}/lanes/{wrong}").status_code == 404


@pytest.mark.parametrize(
    ("kind", "source", "name"),
    [
        ("upload", "Grüße & mehr.mp4", "Grüße & mehr.mp4"),
        ("path", "/srv/clips/a.mp4", "a.mp4"),
        ("url", "https://www.tiktok.com/@a/video/1?is_copy=1#x", "tiktok.com/@a/video/1"),
    ],
)
def test_a_job_is_called_by_its_file_or_its_post(kind: str, source: str, name: str) -> None:
    assert name_of(made_job(source_kind=kind, source=source)) == name
