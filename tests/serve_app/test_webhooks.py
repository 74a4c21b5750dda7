"""Webhooks go where the settings say and nowhere else, and a receiver can trust what arrives."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from pipeline.errors import UsageError
from pipeline.service_settings import AccessSettings
from serve_app.jobs import webhooks
from serve_app.jobs.webhooks import NotAuthentic, Webhooks, signed_headers, verify_webhook
from serve_app.problems import Problem
from serve_app.schemas import Job, JobError, JobLinks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOOPBACK = ("127.0.0.0/8", "::1/128")
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def job(state: Any = "done") -> Job:
    links = JobLinks(self="/v1/jobs/a", events="/e", result="/r", media="/m", page="/jobs/a")
    ended = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    return Job(id="a", state=state, source_kind="upload", source="ü.mp4", created_at=ended, ended_at=ended, links=links)


def configured(*hosts: str) -> AccessSettings:
    return AccessSettings(webhook_hosts=list(hosts), webhook_secret=SECRET)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


class Receiver:
    """An HTTPS server that answers every request with the same bytes and keeps what it got."""

    def __init__(self, answer: bytes | Callable[[asyncio.StreamWriter], Any]) -> None:
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.server_names: list[str | None] = []
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((head[0], headers, body))
        try:
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
                await writer.drain()
            else:
                await self.answer(writer)
        except ConnectionError:
            pass  # the sender has heard enough
        finally:
            writer.close()


@asynccontextmanager
async def receiving(
    authority: trustme.CA, answer: bytes | Callable[[asyncio.StreamWriter], Any] = OK, name: str = "localhost"
) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    context.sni_callback = lambda _, server_name, __: receiver.server_names.append(server_name)
    server = await asyncio.start_server(receiver, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


def test_the_signature_is_the_one_of_the_specification() -> None:
    body = b'{"test": 2432232314}'
    headers = signed_headers(webhooks._key(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_accepts_what_was_signed_and_nothing_else() -> None:
    now, body = int(time.time()), b'{"type":"job.done"}'
    headers = signed_headers(webhooks._key(SECRET), "msg_a", now, body)
    assert verify_webhook(SECRET, {name.title(): value for name, value in headers.items()}, body) == {
        "type": "job.done"
    }
    rotated = headers | {"webhook-signature": "v1a,AAAA v1,QUFB " + headers["webhook-signature"]}
    assert verify_webhook(SECRET, rotated, body) == {"type": "job.done"}
    other = "whsec_" + "A" * 32
    old = signed_headers(webhooks._key(SECRET), "msg_a", now - 400, body)
    for secret, wrong, sent in (
        (SECRET, headers, body + b" "),
        (SECRET, headers | {"webhook-id": "msg_b"}, body),
        (SECRET, headers | {"webhook-timestamp": str(now + 1)}, body),
        (SECRET, headers | {"webhook-timestamp": "soon"}, body),
        (SECRET, headers | {"webhook-signature": "v1,ü"}, body),
        (SECRET, {}, body),
        (SECRET, old, body),
        (other, headers, body),
    ):
        with pytest.raises(NotAuthentic):
            verify_webhook(secret, wrong, sent)
    assert verify_webhook(SECRET, old, body, tolerance_s=500)


@pytest.mark.parametrize("secret", ["hunter2", "whsec_", "whsec_not base64!", "whsec_" + "A" * 28, "whsec_" + "A" * 92])
def test_a_secret_that_is_none_is_refused_with_how_to_make_one(secret: str) -> None:
    with pytest.raises(UsageError, match="openssl rand -base64 32"):
        Webhooks(AccessSettings(webhook_hosts=["example.com"], webhook_secret=secret))


def test_without_secret_or_hosts_there_are_no_webhooks() -> None:
    for access in (AccessSettings(webhook_hosts=["example.com"]), AccessSettings(webhook_secret=SECRET)):
        sender = Webhooks(access)
        assert not sender.enabled
        with pytest.raises(Problem, match="sends no webhooks") as caught:
            sender.check("https://example.com/")
        assert caught.value.code == "url_not_allowed"


def test_a_url_is_checked_before_anything_is_sent() -> None:
    sender = Webhooks(configured("Hooks.example.com", "192.0.2.7", "2001:db8::1"))
    assert sender.enabled
    assert sender.check("https://HOOKS.example.com:8443/a?b=c#d") == "https://hooks.example.com:8443/a?b=c"
    assert sender.check("https://eu.hooks.example.com/") == "https://eu.hooks.example.com/"
    assert sender.check("https://192.0.2.7/a") == "https://192.0.2.7/a"
    assert sender.check("https://[2001:db8::1]/a") == "https://[2001:db8::1]/a"
    for url in (
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "//hooks.example.com/",
        "hooks.example.com",
        "https://",
        "https://example.com/",
        "https://evilhooks.example.com/",
        "https://hooks.example.com.evil.com/",
        "https://evil.com/hooks.example.com",
        "https://evil.com#@hooks.example.com/",
        "https://evil.com\\@hooks.example.com/",
        "https://user@hooks.example.com/",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com@evil.com/",
        "https://hooks.example.com\r\nX: y/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com:0/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::1]/",
        "https://[::ffff:192.0.2.7]/",
        "https://1.192.0.2.7/",
        "https://hooks.example.com。evil.com/",
    ):
        with pytest.raises(Problem) as caught:
            sender.check(url)
        assert caught.value.code == "url_not_allowed"


async def test_a_job_that_has_ended_is_told_signed(authority: trustme.CA, ca_file: Path) -> None:
    sender = Webhooks(configured("localhost"), LOOPBACK, ca_file)
    async with receiving(authority) as receiver:
        url = f"https://localhost:{receiver.port}/hook?token=t"
        assert await sender.send(url, job())
        assert await sender.send(url, job())
        assert await sender.send(url, job("failed").model_copy(update={"error": JobError(code="internal", detail="x")}))
    (line, headers, body), again, failed = receiver.requests
    assert line == "POST /hook?token=t HTTP/1.1"
    assert headers["host"] == f"localhost:{receiver.port}"
    assert headers["content-type"] == "application/json"
    assert receiver.server_names == ["localhost"] * 3
    message = verify_webhook(SECRET, headers, body)
    assert message["type"] == "job.done"
    assert message["timestamp"] == "2026-03-01T12:00:00Z"
    assert Job.model_validate(message["data"]) == job()
    assert (again[1]["webhook-id"], again[2]) == (headers["webhook-id"], body), "the same message as before"
    assert verify_webhook(SECRET, failed[1], failed[2])["type"] == "job.failed"


async def test_a_job_that_runs_is_not_told() -> None:
    with pytest.raises(ValueError, match="only a job that has ended"):
        await Webhooks(configured("localhost")).send("https://localhost/", job("running"))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 307 Elsewhere\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        b"not HTTP at all\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 300_000 + b"\r\n\r\n",
    ],
    ids=["error", "redirect", "garbage", "silence", "endless header"],
)
async def test_any_other_answer_is_a_failed_attempt(authority: trustme.CA, ca_file: Path, answer: bytes) -> None:
    async with receiving(authority, answer) as receiver:
        sender = Webhooks(configured("localhost"), LOOPBACK, ca_file)
        assert not await sender.send(f"https://localhost:{receiver.port}/", job())
        assert len(receiver.requests) == 1, "no redirect is followed"


async def test_of_an_endless_answer_only_the_status_is_read(authority: trustme.CA, ca_file: Path) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()

    async with receiving(authority, endless) as receiver:
        sender = Webhooks(configured("localhost"), LOOPBACK, ca_file)
        assert await sender.send(f"https://localhost:{receiver.port}/", job())


async def test_a_receiver_that_drips_is_given_up(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:  # each byte comes well within a read timeout
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.02)

    monkeypatch.setattr(webhooks, "SEND_S_MAX", 0.3)
    async with receiving(authority, drip) as receiver:
        begun = time.monotonic()
        sender = Webhooks(configured("localhost"), LOOPBACK, ca_file)
        assert not await sender.send(f"https://localhost:{receiver.port}/", job())
        assert time.monotonic() - begun < 2


async def test_a_certificate_of_another_name_or_authority_is_refused(authority: trustme.CA, ca_file: Path) -> None:
    async with receiving(authority, name="elsewhere.example") as receiver:
        sender = Webhooks(configured("localhost"), LOOPBACK, ca_file)
        assert not await sender.send(f"https://localhost:{receiver.port}/", job())
        assert not receiver.requests
    async with receiving(authority) as receiver:
        assert not await Webhooks(configured("localhost"), LOOPBACK).send(f"https://localhost:{receiver.port}/", job())
        assert not receiver.requests


async def test_a_name_that_leads_to_a_private_address_is_not_called(
    authority: trustme.CA, ca_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiving(authority) as receiver:
        sender = Webhooks(configured("localhost"), (), ca_file)
        assert not await sender.send(f"https://localhost:{receiver.port}/", job())
        assert not receiver.server_names, "not even connected"
    assert "not public" in caplog.text


async def test_the_address_that_was_checked_is_the_one_that_is_called(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that answers first with a public address and then with another changes nothing."""
    answers: list[str] = []

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        answers.append(host)
        address = "127.0.0.1" if len(answers) == 1 else "127.0.0.2"
        return [(0, 0, 0, "", (address, port))]

    async with receiving(authority, name="hooks.example") as receiver:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        sender = Webhooks(configured("hooks.example"), ("127.0.0.1/32",), ca_file)
        assert await sender.send(f"https://hooks.example:{receiver.port}/", job())
        assert answers[0] == "hooks.example"
        assert set(answers[1:]) <= {"127.0.0.1"}, "the name is looked up once"
        assert receiver.server_names == ["hooks.example"]


async def test_the_next_address_is_tried_where_one_is_dead(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = asyncio.get_running_loop().getaddrinfo

    async def resolve(host: str, port: int, **how: Any) -> list[Any]:
        if host != "hooks.example":
            return await real(host, port, **how)
        return [(0, 0, 0, "", ("127.0.0.9", port)), (0, 0, 0, "", ("127.0.0.1", port))]

    async with receiving(authority, name="hooks.example") as receiver:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        sender = Webhooks(configured("hooks.example"), LOOPBACK, ca_file)
        assert await sender.send(f"https://hooks.example:{receiver.port}/", job())


async def test_a_proxy_of_the_environment_is_not_asked(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with receiving(authority) as receiver:
        sender = Webhooks(configured("localhost"), LOOPBACK, ca_file)
        assert await sender.send(f"https://localhost:{receiver.port}/", job())


async def test_what_is_not_there_is_a_failed_attempt_with_a_reason(
    ca_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sender = Webhooks(configured("localhost", "nowhere.invalid"), LOOPBACK, ca_file)
    assert not await sender.send("https://localhost:9/", job())
    assert not await sender.send("https://nowhere.invalid/", job())
    assert not await sender.send("https://elsewhere.example/?secret", job()), "the settings have changed meanwhile"
    assert not await sender.send(f"https://{'a' * 70}.nowhere.invalid/", job())
    assert caplog.text.count("was not delivered") == 4
    assert "?secret" not in caplog.text, "a URL may carry a token"
