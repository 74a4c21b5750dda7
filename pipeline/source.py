"""Where chunks come from: the `FrameSource` seam, and the local source that decodes in a child process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline import media
from pipeline.isolate import Child
from pipeline.media import DecodeStats
from pipeline.results import VideoFacts
from pipeline.settings import Limits
from pipeline.types import AudioTrack, FrameBatch, View


@dataclass(frozen=True, slots=True)
class Chunk:
    """One decoded item on its way to the analyzers, without its pixels where they lie elsewhere.

    Args:
        view: which sampling; None is the sound.
        index: the chunk's number within the view.
        last: whether the view ends with it.
        end_s: the end of what it covers, in seconds.
        nbytes: what it holds in memory until it is dropped.
        item: what the worker pool takes: the `FrameBatch` or `AudioTrack`, or a reference to it.
    """

    view: View | None
    index: int
    last: bool
    end_s: float
    nbytes: int
    item: Any


class FrameSource(Protocol):
    """Measures files and streams their chunks."""

    async def probe(self, path: str) -> VideoFacts:
        """What the file is. Raises `MediaError`."""

    def stream(
        self, path: str, *, video_id: str, views: Sequence[View], audio: bool
    ) -> AsyncGenerator[Chunk | DecodeStats, None]:
        """Chunks in the order of `pipeline.media.decode`, then one `DecodeStats`. Closing it stops the decoder.

        Decoding advances only as far as chunks are taken, but for a few that wait in between. Raises `MediaError`.
        """


def describe(item: FrameBatch | AudioTrack) -> Chunk:
    """The chunk around an item that is here."""
    view = item.view if isinstance(item, FrameBatch) else None
    return Chunk(view=view, index=item.index, last=item.last, end_s=item.end_s, nbytes=item.nbytes, item=item)


class LocalFrameSource:
    """Decodes in a child process; its death is a `DecoderCrashed` and nothing else."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    async def probe(self, path: str) -> VideoFacts:
        """See `FrameSource.probe`."""
        child = Child(media.probe, path, self._limits)
        try:
            facts = await asyncio.to_thread(child.result, self._limits.probe_s_max)
        finally:
            child.close()
        assert isinstance(facts, VideoFacts)
        return facts

    async def stream(
        self, path: str, *, video_id: str, views: Sequence[View], audio: bool
    ) -> AsyncGenerator[Chunk | DecodeStats, None]:
        """See `FrameSource.stream`."""
        child = Child(media.decode, path, video_id=video_id, views=tuple(views), audio=audio, limits=self._limits)
        try:
            items = child.items(self._limits.decode_stall_s_max)
            while (item := await asyncio.to_thread(next, items, None)) is not None:
                yield item if isinstance(item, DecodeStats) else describe(item)
        finally:
            child.close()
