"""What goes on beside jobs: deleting what is too old, and sending webhooks until they are taken."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from serve_app.jobs.backend import Backend
from serve_app.jobs.rows import now
from serve_app.jobs.upkeep import Due
from serve_app.schemas import Job

logger = logging.getLogger(__name__)

BATCH: Final = 100
SEND_AGAIN_S: Final = (1.0, 10.0, 60.0, 600.0, 3600.0)
"""Waits before a webhook is sent again; after the last one it is given up."""
SENDS_AT_ONCE: Final = 8
TROUBLE_S: Final = 10.0
"""Wait after the database did not answer."""


class Sender(Protocol):
    """Sends webhooks: what `serve_app.jobs.webhooks.Webhooks` is, in part."""

    enabled: bool

    async def send(self, url: str, job: Job) -> bool:
        """Tell a URL that a job has ended; False if it was not taken."""


async def sweep_always(backend: Backend) -> None:
    """Sweep every `store.sweep_s`, until cancelled."""
    while True:
        try:
            await sweep(backend)
        except Exception as error:  # the library behind store.files_url raises its own
            logger.warning("what is too old could not be deleted; it is tried again: %r", error)
        await asyncio.sleep(backend.settings.store.sweep_s)


async def sweep(backend: Backend) -> None:
    """Delete old media, old jobs with their reports, and files that a crash has left without a job."""
    store, at = backend.settings.store, now()
    media_before = at - timedelta(days=store.media_kept_days)
    while job_ids := await backend.db(backend.upkeep.with_old_media, media_before, BATCH):
        for job_id in job_ids:
            await backend.drop_media(job_id)
    jobs_before = at - timedelta(days=store.reports_kept_days)
    while job_ids := await backend.db(backend.upkeep.too_old, jobs_before, BATCH):
        for job_id in job_ids:
            await backend.delete(job_id)
    await backend.db(backend.upkeep.forget_usage, at.date().isoformat())
    await backend.sweep_files()


async def deliver_always(backend: Backend, sender: Sender) -> None:
    """Send webhooks as they come due, until cancelled."""
    while True:
        backend.outbox.clear()
        try:
            wait_s = await _deliver_due(backend, sender)
        except SQLAlchemyError as error:
            logger.warning("webhooks cannot be looked up; it is tried again: %s", error)
            wait_s = TROUBLE_S
        try:
            async with asyncio.timeout(wait_s):
                await backend.outbox.wait()
        except TimeoutError:
            continue


async def _deliver_due(backend: Backend, sender: Sender) -> float | None:
    """Send what is due. Answers the seconds until the next is; None: there is none."""
    while due := await backend.db(backend.upkeep.due, now(), SENDS_AT_ONCE):
        await asyncio.gather(*(_deliver(backend, sender, webhook) for webhook in due))
    next_at = await backend.db(backend.upkeep.next_due)
    return None if next_at is None else max(0.0, (next_at - now()).total_seconds())


async def _deliver(backend: Backend, sender: Sender, webhook: Due) -> None:
    upkeep, job_id = backend.upkeep, webhook.job_id
    found = await backend.db(backend.store.get, job_id)
    if found is None:
        return  # it was deleted in this moment, and the webhook with it
    if sender.enabled and await _was_taken(sender, webhook.url, backend.job(found)):
        await backend.db(upkeep.settle, job_id)
    elif not sender.enabled or webhook.attempts >= len(SEND_AGAIN_S):
        logger.warning("the webhook of job %s is given up after %d attempts", job_id, webhook.attempts + 1)
        await backend.db(upkeep.settle, job_id)
    else:
        await backend.db(upkeep.postpone, job_id, now() + timedelta(seconds=SEND_AGAIN_S[webhook.attempts]))


async def _was_taken(sender: Sender, url: str, job: Job) -> bool:
    try:
        return await sender.send(url, job)
    except Exception:
        logger.exception("the webhook of job %s could not be sent", job.id)
        return False
