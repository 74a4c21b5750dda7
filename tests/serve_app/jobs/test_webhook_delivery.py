"""Webhooks are sent until they are taken, also by the next service, and for no longer than promised."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from serve_app.jobs import housekeeping
from serve_app.schemas import Job
from tests.serve_app.jobs.conftest import Services
from tests.serve_app.jobs.scripted import BAD, ended, settings_of, upload

HOOK = "https://host/hook"


class Receiver:
    """Takes a webhook after it has refused it so many times."""

    def __init__(self, refusals: int = 0, error: Exception | None = None) -> None:
        self.enabled = True
        self.got: list[tuple[str, Job]] = []
        self._refusals, self._error = refusals, error

    async def send(self, url: str, job: Job) -> bool:
        self.got.append((url, job))
        if self._error is not None:
            raise self._error
        return len(self.got) > self._refusals

    async def count(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.got) < count:  # noqa: ASYNC110 - what was received is counted
                await asyncio.sleep(0.01)


async def test_every_end_is_told_once(serving: Services, tmp_path: Path) -> None:
    receiver = Receiver()
    service = await serving(settings_of(tmp_path), sender=receiver)
    for content, state in (("a video", "done"), (BAD.decode(), "failed")):
        job, _ = await service.submit(upload(tmp_path / "up", content, webhook_url=HOOK))
        await ended(service, job.id)
        await receiver.count(1)
        ((url, told),) = receiver.got
        assert (url, told.id, told.state) == (HOOK, job.id, state)
        receiver.got.clear()
    silent, _ = await service.submit(upload(tmp_path / "up"))
    await ended(service, silent.id)
    await asyncio.sleep(0.1)
    assert not receiver.got


async def test_what_is_not_taken_is_sent_again_and_given_up_at_last(
    serving: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "SEND_AGAIN_S", (0.05, 0.1))
    for refusals, attempts in ((1, 2), (99, 3)):
        receiver = Receiver(refusals)
        service = await serving(settings_of(tmp_path), sender=receiver)
        job, _ = await service.submit(upload(tmp_path / "up", webhook_url=HOOK))
        await receiver.count(attempts)
        await asyncio.sleep(0.3)
        assert len(receiver.got) == attempts and {told.id for _, told in receiver.got} == {job.id}
        assert service._backend.upkeep.next_due() is None
        await service.close()


async def test_the_next_service_sends_what_was_not_taken(serving: Services, tmp_path: Path) -> None:
    refusing, taking = Receiver(99), Receiver()
    first = await serving(settings_of(tmp_path), sender=refusing)
    job, _ = await first.submit(upload(tmp_path / "up", webhook_url=HOOK))
    await refusing.count(1)
    await first.close()
    await serving(settings_of(tmp_path), sender=taking)
    await taking.count(1)
    assert taking.got[0][1].id == job.id


async def test_an_error_while_sending_is_logged_and_others_are_still_sent(
    serving: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver(error=RuntimeError("a defect"))
    service = await serving(settings_of(tmp_path), sender=receiver)
    for number in range(2):
        await service.submit(upload(tmp_path / "up", f"{number}", webhook_url=HOOK))
        await receiver.count(number + 1)
    await asyncio.sleep(0.05)
    assert "could not be sent" in caplog.text
    caplog.clear()


async def test_of_a_deleted_job_nothing_is_told(serving: Services, tmp_path: Path) -> None:
    receiver = Receiver(99)
    service = await serving(settings_of(tmp_path), sender=receiver)
    job, _ = await service.submit(upload(tmp_path / "up", webhook_url=HOOK))
    await receiver.count(1)
    await service.cancel(job.id, "")
    assert service._backend.upkeep.next_due() is None
