"""The Python client against the service's own HTTP interface, over a network that fails in the ways networks do."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import reelscope
from pipeline.errors import MediaMissing, UsageError
from pipeline.results import AnalyzerResult, VideoReport
from serve_app.client import (
    AsyncClient,
    Client,
    ConnectionLost,
    ServerError,
    ServerMissing,
    asynchronous,
    connection,
)
from serve_app.problems import Problem
from serve_app.schemas import Job, JobError, JobEvent
from tests.serve_app.playing import Stage, staged

KEY = "k" * 40


@pytest.fixture(scope="module")
def one_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("data")) as stage:
        yield stage


@pytest.fixture
def stage(one_stage: Stage) -> Stage:
    one_stage.reset()
    return one_stage


@pytest.fixture
def client(stage: Stage) -> Iterator[Client]:
    with Client(stage.url, retry_s=5) as client:
        yield client


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BACKOFF_S", (0.01, 0.05))
    monkeypatch.setattr(asynchronous, "BACKOFF_S", (0.01, 0.05))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "my clip ü.mp4"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


def test_a_file_is_uploaded_and_comes_back_as_a_report(client: Client, stage: Stage, video: Path) -> None:
    told: list[tuple[int, int]] = []
    report = client.analyze(video, ["cut_analysis"], on_upload=lambda sent, total: told.append((sent, total)))
    assert isinstance(report, VideoReport)
    assert report.analyzers["cut_analysis"].status == "ok"
    assert stage.jobs.uploaded == [video.read_bytes()]
    assert stage.jobs.submissions[0].source == video.name
    assert stage.jobs.submissions[0].analyzers == ("cut_analysis",)
    assert told[-1] == (256_000, 256_000)
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)


def test_a_post_and_a_path_on_the_server_are_told_by_their_names(client: Client, stage: Stage) -> None:
    assert client.submit("https://www.tiktok.com/@a/video/1").source_kind == "url"
    assert stage.jobs.submissions[0].source == "https://www.tiktok.com/@a/video/1"
    path = client.submit(server_path="there.mp4")
    assert path.source_kind == "path"
    assert client.analyze(server_path="there.mp4").video.duration_s == 30


def test_what_is_wrong_on_this_side_never_reaches_the_server(client: Client, stage: Stage, tmp_path: Path) -> None:
    for error, source, rest in (
        (UsageError, None, {}),
        (UsageError, "clip.mp4", {"server_path": "clip.mp4"}),
        (UsageError, "http://www.tiktok.com/@a/video/1", {}),
        (UsageError, "https://www.tiktok.com/\n", {}),
        (UsageError, "https://www.tiktok.com/@a/video/1", {"analyzers": ["No Such Name"]}),
        (MediaMissing, str(tmp_path / "none.mp4"), {}),
        (MediaMissing, str(tmp_path), {}),
    ):
        with pytest.raises(error) as caught:
            client.submit(source, **rest)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    assert not stage.network.requests
    for url in ("127.0.0.1:8003", "ftp://127.0.0.1", "http://", "clip.mp4"):
        with pytest.raises(UsageError, match="is no URL of a server"):
            Client(url)


def test_jobs_are_seen_page_by_page_and_ended(client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asynchronous, "PAGE", 2)
    stage.jobs.hold = True
    ids = [client.submit(f"https://youtu.be/{n}").id for n in range(5)]
    assert [job.id for job in client.jobs()] == ids[::-1]
    assert stage.network.asked("GET", "/v1/jobs") == 3
    assert client.job(ids[0]).state == "running"
    assert client.cancel(ids[0]).state == "cancelled"
    assert client.cancel(ids[0]).state == "cancelled", "one that has ended is not deleted by that"
    client.delete(ids[0])
    client.delete(ids[1])
    assert [job.id for job in client.jobs()] == [ids[4], ids[3], ids[2]]
    with pytest.raises(Problem) as caught:
        client.job(ids[0])
    assert caught.value.code == "not_found"


def test_events_come_in_order_and_end_with_done(client: Client, stage: Stage) -> None:
    job = client.submit("https://youtu.be/a")
    events = list(client.events(job.id))
    assert [event.type for event in events if event.id] == [
        "job",
        "job",
        "analyzer.completed",
        "analyzer.completed",
        "job",
        "done",
    ]
    assert [event.id for event in events if event.id] == [1, 2, 3, 4, 5, 6]
    assert [event.type for event in events if event.id is None] == ["progress"]
    assert client.parse(Job, events[-1].data).state == "done"
    assert client.parse(AnalyzerResult, events[3].data).name == "cut_analysis"
    assert [event.id for event in client.events(job.id, after=4) if event.id] == [5, 6]


def test_an_event_stream_that_breaks_goes_on_where_it_broke(client: Client, stage: Stage) -> None:
    job = client.submit("https://youtu.be/a")
    sizes = [len(json.dumps(dict(event.data))) for event in stage.jobs.kept[job.id]]
    stage.network.cut_after = max(sizes) + 600  # one or two events each time
    assert [event.id for event in client.events(job.id) if event.id] == [1, 2, 3, 4, 5, 6]
    seen = [headers.get("last-event-id") for _, path, headers in stage.network.requests if path.endswith("/events")]
    assert len(seen) >= 3, "it was cut"
    assert seen[0] is None
    assert seen[1:] == sorted(seen[1:], key=lambda last: int(last or 0))


def test_an_event_stream_that_only_breaks_is_given_up(stage: Stage) -> None:
    with Client(stage.url, retry_s=0.3) as client:
        job = client.submit("https://youtu.be/a")
        stage.network.cut_after = 300  # never a whole event
        begun = time.monotonic()
        with pytest.raises(ConnectionLost):
            list(client.events(job.id))
        assert 0.3 < time.monotonic() - begun < 3
        assert 3 < stage.network.asked("GET", "/events") < 60


def test_a_job_is_waited_for(client: Client, stage: Stage) -> None:
    stage.jobs.hold = True
    job = client.submit("https://youtu.be/a")
    threading.Timer(0.2, stage.jobs.let_go, (job.id,)).start()
    assert client.wait(job.id).state == "done"
    assert client.wait(job.id).state == "done", "and one that has ended already"


def test_leaving_an_analysis_cancels_its_job(client: Client, stage: Stage) -> None:
    stage.jobs.hold = True
    for event in client.stream("https://youtu.be/a"):
        assert isinstance(event, JobEvent)
        break
    assert [job.state for job in client.jobs()] == ["cancelled"]


def test_closing_the_client_leaves_what_runs(stage: Stage) -> None:
    stage.jobs.hold = True
    with Client(stage.url) as client:
        events = client.stream("https://youtu.be/a")
        next(events)
    assert [job.state for job in stage.jobs.jobs.values()] == ["cancelled"]
    events.close()
    client.close()
    for call in (client.health, lambda: next(iter(client.jobs()))):
        with pytest.raises(UsageError, match="this client is closed"):
            call()


async def test_a_cancelled_task_cancels_its_job(stage: Stage) -> None:
    stage.jobs.hold = True
    async with AsyncClient(stage.url) as client:
        task = asyncio.create_task(client.analyze("https://youtu.be/a"))
        await asyncio.to_thread(stage.listened_to)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [job.state async for job in client.jobs()] == ["cancelled"]


def test_an_interrupted_call_cancels_its_job(client: Client, stage: Stage) -> None:
    """As Ctrl-C does in a notebook."""
    stage.jobs.hold = True

    def interrupt() -> None:
        stage.listened_to()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        client.analyze("https://youtu.be/a")
    assert [job.state for job in client.jobs()] == ["cancelled"]


async def test_in_a_notebook_a_loop_runs_already_and_the_plain_client_works(stage: Stage) -> None:
    with Client(stage.url) as client:
        assert client.health().status == "ok"


def test_a_job_that_failed_or_was_cancelled_is_its_problem(client: Client, stage: Stage) -> None:
    stage.jobs.error = JobError(code="post_private", detail="the post is private")
    with pytest.raises(Problem, match="the post is private") as caught:
        client.analyze("https://youtu.be/a")
    assert (caught.value.code, caught.value.status) == ("post_private", 422)
    stage.jobs.error = JobError(code="post_on_fire", detail="the post burns")
    with pytest.raises(Problem) as caught:
        client.analyze("https://youtu.be/a")
    assert (caught.value.code, caught.value.status) == ("post_on_fire", 422), "of a newer server"
    assert pickle.loads(pickle.dumps(caught.value)).code == "post_on_fire"
    stage.jobs.error, stage.jobs.hold = None, True
    events = client.stream("https://youtu.be/a")
    job_id = next(event.data["id"] for event in events if isinstance(event, JobEvent) and event.type == "job")
    client.cancel(job_id)
    with pytest.raises(Problem, match="was cancelled") as caught:
        list(events)
    assert caught.value.code == "job_ended"


def busy(after: str = "1") -> tuple[int, dict[str, str], bytes]:
    body = {"type": "urn:reelscope:problem:busy", "title": "full", "status": 503, "detail": "full", "code": "busy"}
    headers = {"content-type": "application/problem+json", "retry-after": after}
    return 503, headers, json.dumps(body | {"request_id": "r1", "since": "a newer release"}).encode()


def test_a_full_server_is_asked_again_when_it_says_so(client: Client, stage: Stage, video: Path) -> None:
    stage.network.answers = [busy("0"), busy("1")]
    begun = time.monotonic()
    client.submit(video)
    assert 1 <= time.monotonic() - begun < 3
    assert stage.network.asked("POST") == 3
    assert len({headers["idempotency-key"] for _, _, headers in stage.network.requests}) == 1
    assert stage.jobs.uploaded == [video.read_bytes()], "from its start again"


def test_a_server_that_stays_full_is_given_up(client: Client, stage: Stage) -> None:
    stage.network.answers = [busy("60")]
    with pytest.raises(Problem) as caught:
        client.submit("https://youtu.be/a")
    assert (caught.value.code, caught.value.status, caught.value.retry_after_s) == ("busy", 503, 60)
    assert caught.value.body.request_id == "r1"  # type: ignore[attr-defined]
    with Client(stage.url, retry_s=0) as impatient:
        stage.network.answers = [busy("1")]
        with pytest.raises(Problem):
            impatient.submit("https://youtu.be/a")


def test_a_lost_answer_never_makes_two_jobs(client: Client, stage: Stage, video: Path) -> None:
    stage.network.lost_answers = 2
    job = client.submit(video)
    assert stage.network.asked("POST") == 3
    assert list(stage.jobs.jobs) == [job.id]


def test_what_must_not_be_done_twice_is_not_asked_twice(client: Client, stage: Stage) -> None:
    stage.jobs.hold = True
    job = client.submit("https://youtu.be/a")
    stage.network.only, stage.network.lost_answers = ("DELETE",), 1
    with pytest.raises(ConnectionLost):
        client.cancel(job.id)
    assert client.job(job.id).state == "cancelled", "and not deleted"


def test_where_nothing_listens_one_line_says_what_to_do(video: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with Client(f"http://127.0.0.1:{held.getsockname()[1]}") as client:
            for call in (client.health, lambda: client.analyze(video), lambda: next(iter(client.events("a")))):
                begun = time.monotonic()
                with pytest.raises(ServerMissing, match="start a server with `reelscope serve`") as caught:
                    call()
                assert isinstance(caught.value, UsageError)
                assert "\n" not in str(caught.value)
                assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"<html>hello</html>", "no JSON"),
        (200, b'{"id": 7}', "does not understand"),
        (200, b"", "with nothing"),
        (200, b"[]", "does not understand"),
        (502, b"<html>Bad Gateway</html>", "answers 502 Bad Gateway"),
        (301, b"", "answers 301 Moved Permanently"),
        (500, b'{"detail": "no code"}', "answers 500"),
    ],
)
def test_another_server_than_ours_is_one_clear_line(
    client: Client, stage: Stage, status: int, body: bytes, message: str
) -> None:
    stage.network.answers = [(status, {}, body)]
    with pytest.raises((ServerError, Problem), match=message) as caught:
        client.submit("https://youtu.be/a")
    assert "\n" not in str(caught.value)


def test_fields_that_only_a_newer_server_knows_are_left_out(client: Client, stage: Stage) -> None:
    stage.network.newer = True
    job = client.submit("https://youtu.be/a")
    assert client.job(job.id).state == "done"
    assert [one.id for one in client.jobs()] == [job.id]
    assert client.health().status == "ok"
    assert client.result(job.id).video.duration_s == 30


def test_results_in_other_formats_and_the_video_become_files(client: Client, video: Path, tmp_path: Path) -> None:
    job = client.submit(video)
    assert client.media(job.id, tmp_path / "back.mp4").read_bytes() == video.read_bytes()
    assert client.export(job.id, "srt", tmp_path / "a.srt").is_file()
    with pytest.raises(Problem) as caught:
        client.export(job.id, "docx", tmp_path / "a.docx")
    assert caught.value.code in ("not_acceptable", "invalid_request")
    assert sorted(path.name for path in tmp_path.iterdir() if "part" in path.name or "docx" in path.name) == []


def test_some_analyzers_run_again(client: Client, stage: Stage) -> None:
    job = client.submit("https://youtu.be/a")
    again = client.rerun(job.id, ["cut_analysis"])
    assert again.based_on == job.id
    with pytest.raises(UsageError):
        client.rerun(job.id, [])


def test_the_key_goes_with_every_request(stage: Stage) -> None:
    with Client(stage.url, api_key=KEY) as client:
        job = client.submit("https://youtu.be/a")
        list(client.events(job.id))
    assert {headers.get("authorization") for _, _, headers in stage.network.requests} == {f"Bearer {KEY}"}
    with pytest.raises(UsageError, match="API key"):
        Client(stage.url, api_key="schlüssel")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Client(stage.url) as client:
        assert client.health().status == "ok"


def test_a_large_file_is_never_in_memory(client: Client, stage: Stage, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(64 << 20)
    stage.network.answers = [busy("60")]  # reads all of it and keeps none
    tracemalloc.start()
    try:
        with pytest.raises(Problem):
            client.submit(large)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_both_clients_have_the_same_methods() -> None:
    def signatures(of: type) -> dict[str, Any]:
        methods = {name: value for name, value in vars(of).items() if not name.startswith("_")}
        return {name: list(inspect.signature(method).parameters) for name, method in methods.items()}

    assert signatures(Client) == signatures(AsyncClient)
    assert Client.submit.__doc__ == AsyncClient.submit.__doc__
    assert reelscope.Client is Client
    assert reelscope.AsyncClient is AsyncClient


async def test_events_of_types_that_only_a_newer_server_knows_are_left_out(stage: Stage) -> None:
    async with AsyncClient(stage.url) as client:
        job = await client.submit("https://youtu.be/a")
        stage.jobs.kept[job.id].insert(0, JobEvent("weather", {"rain": True}, 0))  # type: ignore[arg-type]
        assert [event.type async for event in client.events(job.id) if event.id][-1] == "done"


def test_who_works_without_a_server_does_not_wait_for_its_libraries() -> None:
    code = "import reelscope, sys; print(*{'httpx', 'fastapi', 'sqlalchemy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
