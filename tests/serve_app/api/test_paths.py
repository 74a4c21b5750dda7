"""Which files of the server a request may name."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from serve_app.api.paths import allowed_path
from serve_app.problems import Problem
from tests.serve_app.api.fakes import World, make_world


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A media root with a clip, links that lead in and out of it, and things that are no files; secrets lie outside."""
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "clip.mp4").write_bytes(b"x")
    (root / "below" / "12:30.mp4").write_bytes(b"x")
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (tmp_path / "rooted").mkdir()
    (tmp_path / "rooted" / "sibling.mp4").write_bytes(b"x")
    (root / "link.mp4").symlink_to(root / "clip.mp4")
    (root / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "folder").symlink_to(tmp_path)
    (root / "circle").symlink_to(root / "circle")
    (root / "nowhere").symlink_to(root / "gone.mp4")
    os.mkfifo(root / "fifo.mp4")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(root / "socket.mp4"))
    Path(os.fsdecode(bytes(root) + b"/\xff.mp4")).write_bytes(b"x")
    return root


@pytest.mark.parametrize("name", ["clip.mp4", "./below/../clip.mp4", "link.mp4", "below/12:30.mp4"])
def test_files_below_a_root_are_found_by_their_real_name(root: Path, name: str) -> None:
    expected = (root / name).resolve()
    assert allowed_path(name, [root]) == expected
    assert allowed_path(str(root / name), [root]) == expected
    assert allowed_path(name, [root.parent / "not there", root]) == expected


REFUSED = [
    "missing.mp4",
    "",
    ".",
    "below",
    "../secret.mp4",
    "../rooted/sibling.mp4",
    "below/../../secret.mp4",
    "out.mp4",
    "folder/secret.mp4",
    "circle",
    "nowhere",
    "fifo.mp4",
    "socket.mp4",
    "clip.mp4\x00.txt",
    "\udcff.mp4",
    "~/clip.mp4",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "/proc/self/fd/0",
    "//etc/passwd",
    "x" * 5000,
    "%2e%2e/secret.mp4",
    "..\\secret.mp4",
]
PROTOCOLS = [
    "file:clip.mp4",
    "file:///etc/passwd",
    "FILE:clip.mp4",
    "http://127.0.0.1/clip.mp4",
    "https://example.org/clip.mp4",
    "concat:clip.mp4|/etc/passwd",
    "concatf:list.txt",
    "subfile,,start,0,end,9,,:clip.mp4",
    "crypto+file:clip.mp4",
    "async:clip.mp4",
    "cache:clip.mp4",
    "pipe:0",
    "fd:0",
    "data:video/mp4;base64,AAAA",
    "tcp://127.0.0.1:80",
    "unix:/run/x.sock",
    "lavfi:color",
    "tee:x",
]


@pytest.mark.parametrize("name", REFUSED + PROTOCOLS)
def test_everything_else_is_refused_in_the_same_words(root: Path, name: str) -> None:
    with pytest.raises(Problem) as missing:
        allowed_path("missing.mp4", [root])
    with pytest.raises(Problem) as caught:
        allowed_path(name, [root])
    assert (caught.value.code, caught.value.detail) == ("path_not_allowed", missing.value.detail)


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if "/" not in name])
def test_a_file_that_is_called_like_a_protocol_is_not_one(root: Path, name: str) -> None:
    (root / name).write_bytes(b"x")
    with pytest.raises(Problem):
        allowed_path(name, [root])
    assert allowed_path(str(root / name), [root]) == root / name  # an absolute path is none to FFmpeg either


def test_a_root_may_be_a_link_itself(root: Path) -> None:
    link = root.parent / "link to root"
    link.symlink_to(root)
    assert allowed_path("clip.mp4", [link]) == root / "clip.mp4"
    assert allowed_path(str(link / "clip.mp4"), [link]) == root / "clip.mp4"


async def test_without_roots_every_path_is_refused_and_the_remedy_told(tmp_path: Path, root: Path) -> None:
    world = make_world(tmp_path)
    async with world.client() as client:
        answer = await client.post("/v1/jobs", json={"video_path": str(root / "clip.mp4")})
    assert (answer.status_code, answer.json()["code"]) == (404, "path_not_allowed")
    assert "REELSCOPE_MEDIA_ROOTS" in answer.json()["detail"]


async def test_outside_and_missing_look_the_same_over_http(tmp_path: Path, root: Path) -> None:
    world = make_world(tmp_path, media_roots=[root])
    async with world.client(headers={"X-Request-ID": "same"}) as client:
        answers = [
            await client.post(route, json={"video_path": name})
            for route in ("/v1/jobs", "/analyze")
            for name in ("missing.mp4", "../secret.mp4", "out.mp4", "/etc/passwd", "concat:clip.mp4", "http://a/b.mp4")
        ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert len({tuple(sorted(answer.headers.items())) for answer in answers}) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://www.tiktok.com/@a/video/1",
        "file:///etc/passwd",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://localhost/",
        "https://tiktok.com@127.0.0.1/",
        "https://127.0.0.1\\@tiktok.com/",
        "https://tiktok.com.example.org/",
        "https://eviltiktok.com/",
        "https://tiktok.com:22/",
        "https://example.org/",
        "concat:https://tiktok.com/a",
        "https://tiktok.com/ \r\nHost: x",
        "tiktok.com/@a/video/1",
    ],
)
async def test_a_url_that_is_no_post_is_refused_before_there_is_a_job(world: World, url: str) -> None:
    async with world.client() as client:
        answer = await client.post("/v1/jobs", json={"tiktok_url": url})
    assert answer.status_code == 422 and answer.json()["code"] in {"url_not_allowed", "invalid_request"}
    assert not world.jobs.records


@pytest.mark.parametrize("url", ["http://hooks.example.org/", "https://127.0.0.1/", "https://example.org/", "x"])
async def test_a_webhook_goes_to_allowed_hosts_only(tmp_path: Path, world: World, url: str) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    access = {"webhook_hosts": ["hooks.example.org"], "webhook_secret": secret}
    told = make_world(tmp_path, media_roots=world.settings.media_roots, access=access)
    async with told.client() as client:
        wrong = await client.post("/v1/jobs", json={"video_path": "clip.mp4", "webhook_url": url})
        right = await client.post(
            "/v1/jobs", json={"video_path": "clip.mp4", "webhook_url": "https://hooks.example.org/a"}
        )
    assert (wrong.status_code, wrong.json()["code"]) == (422, "url_not_allowed")
    assert right.status_code == 202 and told.jobs.last.submission.webhook_url == "https://hooks.example.org/a"
