"""Uploads: straight to a file, under limits, whatever a caller sends."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from serve_app.api import uploads
from serve_app.api.names import NAME_CHARS_MAX, clean_name, disposition
from serve_app.problems import Problem
from tests.serve_app.api.fakes import World, make_world, until, with_keys

BOUNDARY = "limit"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(headers: str, content: bytes = b"video") -> bytes:
    """One part with its boundary before it."""
    return f"--{BOUNDARY}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n"


def file_part(name: str = "a.mp4", content: bytes = b"video") -> bytes:
    return part(f'Content-Disposition: form-data; name="file"; filename="{name}"', content)


END = f"--{BOUNDARY}--\r\n".encode()
GOOD = file_part() + END


async def sent(world: World, content: bytes, headers: dict[str, str] = FORM) -> httpx.Response:
    async with world.client() as client:
        return await client.post("/v1/jobs", content=content, headers=headers)


def refused(world: World, answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem, after a look that nothing is left of the upload."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert world.spooled == [] and not world.jobs.records
    found: dict[str, Any] = answer.json()
    return found


async def test_the_forms_of_this_file_are_good(world: World) -> None:
    assert (await sent(world, GOOD)).status_code == 202
    fields = part('Content-Disposition: form-data; name="analyzers"', b"cut_analysis")
    assert (await sent(world, fields + file_part() + b"--limit--")).status_code == 202
    assert (await sent(world, b"\r\n" + GOOD + b"and an epilogue")).status_code == 202


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "ends before its last boundary"),
        (b"hello", "no multipart/form-data"),
        (file_part(), "ends before its last boundary"),
        (file_part()[:-20], "ends before its last boundary"),
        (END, "no part `file`"),
        (file_part(content=b"") + END, "`file` is empty"),
        (file_part() + file_part() + END, "more than one part `file`"),
        (part("X: y") + END, "its parts are"),
        (part("Content-Disposition: attachment; name=file") + END, "its parts are"),
        (part('Content-Disposition: form-data; name="other"') + END, "its parts are"),
        (
            part('Content-Disposition: form-data; name="file"\r\nContent-Type: multipart/mixed; boundary=x') + END,
            "itself",
        ),
        (part("Content-Disposition form-data") + END, "no multipart/form-data"),
        (part("X" * 10_000 + ": y") + END, "too many or too long"),
        (part("X: " + "y" * 10_000) + END, "too many or too long"),
        (part("\r\n".join(f"X{n}: y" for n in range(1000))) + END, "too many or too long"),
        (part('Content-Disposition: form-data; name="analyzers"', b"") * 5000 + END, "more than 80 parts"),
        (part('Content-Disposition: form-data; name="analyzers"', b"\xff") + GOOD, "not in UTF-8"),
        (part('Content-Disposition: form-data; name="analyzers"', b"a," * 40_000) + GOOD, "fields have more than"),
        (part('Content-Disposition: form-data; name="webhook_url"', b"https://a") * 2 + GOOD, "more than once"),
    ],
)
async def test_a_malformed_form_is_refused_with_the_reason(world: World, content: bytes, why: str) -> None:
    problem = refused(world, await sent(world, content), 422, "invalid_request")
    assert why in problem["detail"]


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [
        ("multipart/form-data", 422, "invalid_request"),
        ("multipart/form-data; boundary=", 422, "invalid_request"),
        (f"multipart/form-data; boundary={'x' * 71}", 422, "invalid_request"),
        (f"multipart/mixed; boundary={BOUNDARY}", 415, "unsupported_media_type"),
        ("video/mp4", 415, "unsupported_media_type"),
        ("text/plain", 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        ("", 415, "unsupported_media_type"),
    ],
)
async def test_only_json_and_forms_are_understood(world: World, content_type: str, status: int, code: str) -> None:
    refused(world, await sent(world, GOOD, {"Content-Type": content_type}), status, code)


async def test_a_compressed_body_is_refused(world: World) -> None:
    refused(world, await sent(world, GOOD, FORM | {"Content-Encoding": "gzip"}), 415, "unsupported_media_type")


async def test_fields_of_a_form_are_checked_as_those_of_json(world: World) -> None:
    fields = part('Content-Disposition: form-data; name="analyzers"', b"Cut Analysis")
    problem = refused(world, await sent(world, fields + GOOD), 422, "invalid_request")
    assert problem["errors"][0]["field"] == "body.analyzers.0"
    hook = part('Content-Disposition: form-data; name="webhook_url"', b"http://127.0.0.1/")
    refused(world, await sent(world, hook + GOOD), 422, "url_not_allowed")


async def test_a_declared_size_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    world = make_world(tmp_path, limits={"bytes_max": 1000})

    async def never_read() -> AsyncIterator[bytes]:
        raise AssertionError("the body was asked for")
        yield b""

    async with world.client() as client:
        headers = FORM | {"Content-Length": "99999999999"}
        answer = await client.post("/v1/jobs", content=never_read(), headers=headers)
    problem = refused(world, answer, 413, "too_large")
    assert "99999999999" in problem["detail"] and "limits.bytes_max" in problem["detail"]


@pytest.mark.parametrize("content", [b"x" * 1001, b"x" * 200_000])
async def test_a_size_that_nobody_declared_is_counted(tmp_path: Path, content: bytes) -> None:
    world = make_world(tmp_path, limits={"bytes_max": 1000})

    async def in_chunks() -> AsyncIterator[bytes]:
        for piece in pieces(content):
            yield piece

    async with world.client() as client:
        answer = await client.post("/v1/jobs", content=in_chunks(), headers=FORM)
    refused(world, answer, 413, "too_large")


def pieces(content: bytes, size: int = 700) -> Iterable[bytes]:
    whole = file_part(content=content) + END
    return (whole[at : at + size] for at in range(0, len(whole), size))


async def test_a_video_of_just_the_limit_is_taken(tmp_path: Path) -> None:
    world = make_world(tmp_path, limits={"bytes_max": 1000})
    assert (await sent(world, file_part(content=b"x" * 1000) + END)).status_code == 202


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "0x10", "5, 5"])
async def test_a_length_that_is_no_number_is_refused(world: World, length: str) -> None:
    async with world.client() as client:
        headers: Any = {**{k.encode(): v.encode() for k, v in FORM.items()}, b"Content-Length": length.encode()}
        answer = await client.post("/v1/jobs", content=GOOD, headers=headers)
    refused(world, answer, 400, "bad_header")


@pytest.mark.parametrize("cut", range(1, 60, 7))
async def test_boundaries_are_found_wherever_the_stream_is_cut(world: World, cut: int) -> None:
    video = b"\r\n--limi\r\n--limit\r" * 20 + b"\r\n--"
    whole = file_part(content=video) + END

    async def in_chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(whole), cut):
            yield whole[at : at + cut]

    async with world.client() as client:
        assert (await client.post("/v1/jobs", content=in_chunks(), headers=FORM)).status_code == 202
    media = world.jobs.last.media
    assert media is not None and media.read_bytes() == video


async def test_a_stalled_upload_is_refused(tmp_path: Path) -> None:
    world = make_world(tmp_path, serve={"upload_stall_s_max": 0.2})

    async def stalling() -> AsyncIterator[bytes]:
        yield file_part()
        await asyncio.sleep(30)

    answer = await answer_to_chunks(world, stalling())
    assert answer.startswith(b"HTTP/1.1 408 ") and b'"too_slow"' in answer and b"serve.upload_stall_s_max" in answer
    assert world.spooled == [] and not world.jobs.records


async def test_an_upload_that_trickles_for_ever_is_refused(tmp_path: Path) -> None:
    world = make_world(tmp_path, serve={"upload_s_max": 0.3, "upload_stall_s_max": 0.2})

    async def trickling() -> AsyncIterator[bytes]:
        for byte in itertools.cycle(file_part()[:40]):
            yield bytes([byte])
            await asyncio.sleep(0.02)

    answer = await answer_to_chunks(world, trickling())
    assert answer.startswith(b"HTTP/1.1 408 ") and b'"too_slow"' in answer and b"serve.upload_s_max" in answer
    assert world.spooled == [] and not world.jobs.records


async def answer_to_chunks(world: World, body: AsyncIterator[bytes]) -> bytes:
    """What a real server answers before the body has ended; httpx would go on sending."""
    with world.served() as url:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM['Content-Type']}\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        writing = asyncio.ensure_future(_chunked(writer, body))
        answer = await asyncio.wait_for(reader.read(4096), 5)
        writing.cancel()
        writer.close()
    return answer


async def _chunked(writer: asyncio.StreamWriter, body: AsyncIterator[bytes]) -> None:
    async for data in body:
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await writer.drain()


async def test_nothing_is_left_when_the_caller_leaves(world: World) -> None:
    with world.served() as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
            head = f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM['Content-Type']}\r\n"
            connection.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + file_part())
            await until(lambda: world.spooled)
        await until(lambda: not world.spooled)
    assert not world.jobs.records


async def test_nothing_is_left_when_the_request_is_cancelled(world: World) -> None:
    reached = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield file_part(content=b"x" * 3 * uploads.WRITE_BYTES)
        reached.set()
        await asyncio.sleep(30)
        yield END

    async with world.client() as client:
        asking = asyncio.ensure_future(client.post("/v1/jobs", content=waiting(), headers=FORM))
        await reached.wait()
        assert [found.stat().st_size for found in world.spooled] == [3 * uploads.WRITE_BYTES]
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert world.spooled == []


async def test_a_full_disk_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads._SpoolFile, "write", full)
    refused(world, await sent(world, GOOD), 507, "storage_full")


async def test_an_upload_that_the_jobs_refuse_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def room(*_: object) -> None:
        """There was room before the upload."""

    monkeypatch.setattr(world.jobs, "check_room", room)
    world.jobs.no_room = Problem("busy", "meanwhile full", retry_after_s=1)
    refused(world, await sent(world, GOOD), 503, "busy")


async def test_uploads_that_are_under_way_count(tmp_path: Path) -> None:
    world = make_world(tmp_path, access=with_keys("alice", jobs_in_flight=3))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield file_part()
        begun.set()
        await go_on.wait()
        yield END

    async with world.client(headers={"X-API-Key": "rs_alice"}) as client:
        declared = FORM | {"Content-Length": str(len(GOOD))}
        first = asyncio.ensure_future(client.post("/v1/jobs", content=waiting(), headers=declared))
        await begun.wait()
        second = await client.post("/v1/jobs", content=GOOD, headers=FORM)
        world.jobs.no_room = Problem("too_many_jobs", "2 of 2", retry_after_s=5)
        refused = await client.post("/v1/jobs", content=GOOD, headers=FORM)
        world.jobs.no_room = None
        go_on.set()
        assert ((await first).status_code, second.status_code) == (202, 202)
        last = await client.post("/v1/jobs", content=GOOD, headers=FORM)
    assert (refused.status_code, refused.headers["retry-after"], last.status_code) == (429, "5", 202)
    assert "1 uploads" in refused.json()["detail"] and "3 are allowed" in refused.json()["detail"]
    size = len(GOOD)
    assert world.jobs.asked_room == [
        (size, "alice", 3),
        (2 * size, "alice", 2),
        (2 * size, "alice", 2),
        (size, "alice", 3),
    ]


async def test_what_a_killed_service_left_is_swept_away(world: World) -> None:
    spool = world.settings.data_dir / "spool"
    spool.mkdir()
    (spool / "upload-abc.part").write_bytes(b"x")
    with world.served():
        await until(lambda: "start" in world.service.calls)
        assert world.spooled == []
    assert world.service.calls == ["start", "close"]


@pytest.mark.parametrize(
    ("sent_name", "shown"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\clip.mp4", "clip.mp4"),
        ("/etc/cron.d/x", "x"),
        ("..", "video"),
        ("", "video"),
        ("a\x00b\x1b[31m.mp4", "ab[31m.mp4"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("=HYPERLINK(1).mp4", "=HYPERLINK(1).mp4"),
        ("<img src=x>.mp4", "<img src=x>.mp4"),
        ("Grüße 🎬.mp4", "Grüße 🎬.mp4"),
        ("x" * 300 + ".mp4", "x" * (NAME_CHARS_MAX - 4) + ".mp4"),
    ],
)
async def test_a_file_name_is_data(world: World, sent_name: str, shown: str) -> None:
    assert clean_name(sent_name) == shown
    async with world.client() as client:
        answer = await client.post("/v1/jobs", files={"file": (sent_name or "-", b"x")})
    assert answer.status_code == 202
    if sent_name and "\\" not in sent_name and "\x1b" not in sent_name:  # httpx escapes those by itself
        assert answer.json()["source"] == shown


async def test_line_breaks_in_a_file_name_add_no_header(world: World) -> None:
    raw = part('Content-Disposition: form-data; name="file"; filename="a\nSet-Cookie: x=1\n.mp4"') + END
    answer = await sent(world, raw)
    assert answer.status_code == 202 and "set-cookie" not in answer.headers
    assert answer.json()["source"] == "aSet-Cookie: x=1.mp4"
    async with world.client() as client:
        media = await client.get("/v1/jobs/job1/media")
    assert "set-cookie" not in media.headers
    assert media.headers["content-disposition"].startswith('inline; filename="aSet-Cookie_ x_1.mp4"; filename*=UTF-8')


def test_the_name_to_save_under_is_quoted() -> None:
    assert disposition("attachment", 'ü";x\r\n.mp4') == (
        "attachment; filename=\"u__x__.mp4\"; filename*=UTF-8''%C3%BC%22%3Bx%0D%0A.mp4"
    )
    assert disposition("inline", "видео") == "inline; filename=\"video\"; filename*=UTF-8''" + (
        "%D0%B2%D0%B8%D0%B4%D0%B5%D0%BE"
    )
