"""What the HTTP interface needs of the service behind it; `serve_app.service.Service` is one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, Protocol

from serve_app.jobs.interface import Jobs
from serve_app.schemas import Health


class ServiceLike(Protocol):
    """The service, as the HTTP interface sees it."""

    @property
    def jobs(self) -> Jobs:
        """Takes jobs on and answers for them."""

    @property
    def state(self) -> Literal["starting", "ok", "stopping"]:
        """``starting`` while analyzers load, ``stopping`` while draining."""

    @property
    def names(self) -> Collection[str]:
        """The analyzers that a request may name."""

    async def start(self) -> None:
        """Open the store and begin to load; called once, before the first request."""

    async def close(self) -> None:
        """Drain and end; called once, after the last request."""

    async def health(self) -> Health:
        """The whole state."""

    async def metrics(self) -> str:
        """In Prometheus's text format."""
