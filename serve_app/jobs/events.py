"""Wakes those who listen to a job.

Events that are kept are never queued for anybody: a listener holds the id of the last one that it has sent and reads
what follows from the store when it is woken. Progress is the newest of each analyzer, so a slow listener misses
steps and nothing piles up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pipeline.engine import Progress

PROGRESS_S: Final = 0.2
"""Shortest time between two looks at a job's progress."""


class Feed:
    """What moves in one job.

    Attributes:
        changed: set, and replaced by another, whenever there is something new. Take it before looking.
        kept: how many events were stored since the feed was made.
        closed: nothing more will come, the service ends.
        fetched: bytes of the post that are there, and in all where the host has said.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.kept = 0
        self.closed = False
        self.fetched: tuple[int, int | None] | None = None
        self._analyzers: dict[str, tuple[int, Progress]] = {}
        self._fetched_at = 0
        self._step = 1
        self._timer: asyncio.TimerHandle | None = None
        self._shown_s = 0.0

    def progress(self, progress: Progress) -> None:
        """An analyzer has come further."""
        self._analyzers[progress.name] = (self._step, progress)
        self._show_soon()

    def fetching(self, done: int, total: int | None) -> None:
        """The post has come further."""
        self.fetched, self._fetched_at = (done, total), self._step
        self._show_soon()

    def ended(self, name: str) -> None:
        """An analyzer does not move any more."""
        self._analyzers.pop(name, None)

    def done_s(self, name: str) -> float:
        """How far an analyzer is, in seconds of the video."""
        known = self._analyzers.get(name)
        return known[1].done_s if known is not None else 0.0

    def moved(self, after: int) -> tuple[dict[str, Any], int]:
        """The data of a progress event with what has moved since a step (0: all), and the step to go on from."""
        steps = {name: progress for name, (step, progress) in self._analyzers.items() if step > after}
        data: dict[str, Any] = {}
        if steps:
            data["analyzers"] = {name: {"done_s": at.done_s, "total_s": at.total_s} for name, at in steps.items()}
        if self.fetched is not None and self._fetched_at > after:
            done, total = self.fetched
            data = {"analyzers": {}, **data, "fetched_bytes": done, "fetch_bytes": total}
        # What moves from here on belongs to a later step, whoever looks.
        shown, self._step = self._step, self._step + 1
        return data, shown

    def wake(self) -> None:
        """There is something new."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def close(self) -> None:
        """Nothing more will come."""
        self.closed = True
        self.stop()
        self.wake()

    def stop(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _show_soon(self) -> None:
        if self._timer is None and not self.closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._shown_s + PROGRESS_S), self._show)

    def _show(self) -> None:
        self._timer, self._shown_s = None, asyncio.get_running_loop().time()
        self.wake()


class Feeds:
    """The feeds of jobs that run or have listeners; of others there is nothing."""

    def __init__(self) -> None:
        self._feeds: dict[str, tuple[Feed, int]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._feeds)

    @contextmanager
    def open(self, job_id: str) -> Iterator[Feed]:
        """The feed of a job, for as long as it is needed."""
        feed, holders = self._feeds.get(job_id) or (Feed(), 0)
        feed.closed = self._closed
        self._feeds[job_id] = (feed, holders + 1)
        try:
            yield feed
        finally:
            feed, holders = self._feeds.pop(job_id)
            if holders > 1:
                self._feeds[job_id] = (feed, holders - 1)
            else:
                feed.stop()

    def get(self, job_id: str) -> Feed | None:
        """The feed, if there is one."""
        found = self._feeds.get(job_id)
        return None if found is None else found[0]

    def told(self, job_id: str) -> None:
        """An event of the job was stored."""
        if (feed := self.get(job_id)) is not None:
            feed.kept += 1
            feed.wake()

    def close(self) -> None:
        """Send every listener home."""
        self._closed = True
        for feed, _ in self._feeds.values():
            feed.close()
