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
    """One decoded item on its way to the analyzers.

    Args:
        view: which sampling; None is the sound.
        index: the chunk's number within the view.
        last: whether the view ends with it.
        end_s: the end of what it covers, in seconds.
        item: what the worker pool takes: the `FrameBatch` or `AudioTrack`, or a reference to it.
    """

    view: View | None
    index: int
    last: bool
    end_s: float
    item: Any


@dataclass(frozen=True, slots=True)
class ChunkGroup:
    """Chunks that were ready at the same moment: usually one second of every view.

    They lie in one piece of memory, which is free when the last of them is done with: one piece costs the object store
    as much as one small chunk, and five analyzers' worth of them five times that.

    Args:
        chunks: at least one.
        nbytes: what they hold together.
    """

    chunks: tuple[Chunk, ...]
    nbytes: int


class FrameSource(Protocol):
    """Measures files and streams their chunks."""

    async def probe(self, path: str) -> VideoFacts:
        """What the file is. Raises `MediaError`."""

    def stream(
        self, path: str, *, video_id: str, views: Sequence[View], audio: bool
    ) -> AsyncGenerator[ChunkGroup | DecodeStats, None]:
        """The groups of `pipeline.media.decode_groups` in their order, then one `DecodeStats`.

        Closing it stops the decoder. Decoding advances only as far as groups are taken, but for a few that wait in
        between. Raises `MediaError`.
        """


def describe(group: Sequence[FrameBatch | AudioTrack]) -> ChunkGroup:
    """The group around items that are here."""
    chunks = [
        Chunk(
            view=item.view if isinstance(item, FrameBatch) else None,
            index=item.index,
            last=item.last,
            end_s=item.end_s,
            item=item,
        )
        for item in group
    ]
    return ChunkGroup(tuple(chunks), sum(item.nbytes for item in group))


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
    ) -> AsyncGenerator[ChunkGroup | DecodeStats, None]:
        """See `FrameSource.stream`."""
        child = Child(
            media.decode_groups, path, video_id=video_id, views=tuple(views), audio=audio, limits=self._limits
        )
        try:
            groups = child.items(self._limits.decode_stall_s_max)
            while (group := await asyncio.to_thread(next, groups, None)) is not None:
                yield group if isinstance(group, DecodeStats) else describe(group)
        finally:
            child.close()
