"""The decode pass as a Ray Data stage: one task per video, whose generator stores each chunk at once.

Each chunk leaves the stage as two blocks of one row: a few hundred bytes that describe it, which the engine reads, and
the chunk itself, whose reference the engine hands to actors unread. Nothing is copied on the way: the actor's arrays
lie in shared memory. `iter_internal_ref_bundles` is an internal name of Ray, pinned in pyproject.toml; it is used here
and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import warnings
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import ray
import ray.data
from ray.exceptions import RayError, RayTaskError, WorkerCrashedError
from ray.util.annotations import RayDeprecationWarning

from pipeline import media
from pipeline.blocks import row, to_table
from pipeline.errors import DecoderCrashed, MediaError
from pipeline.media import DecodeStats
from pipeline.results import VideoFacts
from pipeline.settings import Limits
from pipeline.source import Chunk
from pipeline.types import View

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES: Final = 1
"""Ray Data closes a block as soon as it holds this much: every row becomes a block of its own."""
BLOCKS_BUFFERED: Final = 16
"""Blocks that wait unread behind the decoder. Fewer: it stops after each chunk until Ray Data polls. More: memory."""
_DONE: Final = object()
_context_lock = threading.Lock()


def _decode_stage(batch: pa.Table) -> Iterator[pa.Table]:
    """Ray Data's side: one row that names a video becomes rows in pairs, description and chunk."""
    nothing = np.zeros(0, np.uint8)
    for request in batch.column("request").to_pylist():
        asked = json.loads(request)
        if asked is None:
            continue  # `warm`: to have come here with everything imported is all
        views = tuple(View(**view) for view in asked["views"])
        limits = Limits(**asked["limits"])
        try:
            for item in media.decode(
                asked["path"], video_id=asked["video_id"], views=views, audio=asked["audio"], limits=limits
            ):
                if isinstance(item, DecodeStats):
                    yield row(json.dumps({"stats": asdict(item)}), nothing)
                    continue
                table = to_table(item)
                yield row(table.column("head")[0].as_py(), nothing)
                yield table
        except MediaError as error:
            # As data: an exception would come back wrapped in Ray Data's own, and be retried.
            yield row(json.dumps({"error": str(error)}), nothing)


@ray.remote(num_cpus=0, max_retries=0)  # type: ignore[untyped-decorator]
def _probe(path: str, limits: Limits) -> VideoFacts:
    return media.probe(path, limits)


class RayFrameSource:
    """Probes and decodes in Ray tasks. Ray must be initialized.

    Args:
        limits: of probing and decoding.
        decode_cpus: CPU share of one decode task; it caps how many run at once.
    """

    def __init__(self, limits: Limits | None = None, decode_cpus: float = 1.0) -> None:
        self._limits = limits or Limits()
        self._decode_cpus = decode_cpus
        _quiet_ray_data()

    async def warm(self) -> None:
        """Let Ray start what its first stream needs (seconds), so that the first video does not wait for it."""

        def run() -> None:
            for _ in _dataset(json.dumps(None), self._decode_cpus).iter_internal_ref_bundles():
                pass

        await asyncio.to_thread(run)

    async def probe(self, path: str) -> VideoFacts:
        """See `FrameSource.probe`."""
        reference = _probe.remote(path, self._limits)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(reference.future()), self._limits.probe_s_max)
        except TimeoutError:
            ray.cancel(reference, force=True)
            raise DecoderCrashed(f"probe gave no answer for {self._limits.probe_s_max:g} s and was stopped") from None
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, MediaError) else DecoderCrashed(str(error.cause)) from None
        except (WorkerCrashedError, RayError) as error:
            raise DecoderCrashed(f"probe's process died: {type(error).__name__}") from None

    async def stream(
        self, path: str, *, video_id: str, views: Sequence[View], audio: bool
    ) -> AsyncGenerator[Chunk | DecodeStats, None]:
        """See `FrameSource.stream`."""
        request = {"path": path, "video_id": video_id, "audio": audio, "views": [asdict(view) for view in views]}
        puller = _Puller(json.dumps(request | {"limits": self._limits.model_dump()}), self._decode_cpus)
        try:
            while True:
                try:
                    item = await asyncio.wait_for(puller.next(), self._limits.decode_stall_s_max)
                except TimeoutError:
                    stall_s = self._limits.decode_stall_s_max
                    raise DecoderCrashed(f"decode gave no chunk for {stall_s:g} s and was stopped") from None
                if item is _DONE:
                    return
                yield item
        finally:
            puller.close()


class _Puller:
    """Drives Ray Data's blocking iterator in a thread, one chunk ahead of the engine."""

    def __init__(self, request: str, decode_cpus: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[Any] = asyncio.Queue()
        self._room = threading.Semaphore(2)
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._pull, args=(request, decode_cpus), daemon=True, name="decode-stream"
        )
        self._thread.start()

    async def next(self) -> Any:
        item = await self._waiting.get()
        self._room.release()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self._closed.set()
        self._room.release()

    def _put(self, item: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._waiting.put_nowait, item)
        except RuntimeError:
            self._closed.set()  # the loop has ended, and with it whoever waited

    def _pull(self, request: str, decode_cpus: float) -> None:
        bundles: Iterator[Any] = iter(())
        try:
            dataset = _dataset(request, decode_cpus)
            bundles = dataset.iter_internal_ref_bundles()
            head: dict[str, Any] | None = None
            for bundle in bundles:
                for entry in bundle.blocks:
                    reference = entry.ref
                    if head is None:
                        head = json.loads(ray.get(reference).column("head")[0].as_py())
                        if "error" in head:
                            raise MediaError(head["error"])
                        if "stats" in head:
                            self._put(_stats(head["stats"]))
                            head = None
                        continue
                    self._room.acquire()
                    if self._closed.is_set():
                        return
                    self._put(_chunk(head, reference))
                    head = None
            self._put(_DONE)
        except MediaError as error:
            self._put(error)
        except RayError as error:
            self._put(DecoderCrashed(f"decode's process died: {type(error).__name__}"))
        except Exception as error:
            self._put(DecoderCrashed(f"{type(error).__name__}: {error}"))
        finally:
            close = getattr(bundles, "close", None)
            if close is not None:
                close()


def _stats(fields: dict[str, Any]) -> DecodeStats:
    return DecodeStats(**fields | {"lost": [tuple(span) for span in fields["lost"]]})


def _chunk(head: dict[str, Any], reference: Any) -> Chunk:
    return Chunk(
        view=View(**head["view"]) if head["view"] else None,
        index=head["index"],
        last=head["last"],
        end_s=head["end_s"],
        nbytes=head["nbytes"],
        item=reference,
    )


def _dataset(request: str, decode_cpus: float) -> Any:
    # The current context is global to the process; the lock keeps ours from leaking into another thread's dataset.
    with _context_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", RayDeprecationWarning)  # of the only way in 2.60 to bound retries
        context = ray.data.DataContext.get_current().copy()
        context.target_max_block_size = BLOCK_BYTES
        context._max_num_blocks_in_streaming_gen_buffer = BLOCKS_BUFFERED
        with ray.data.DataContext.current(context):
            # Not from_arrow: it asks a task with a whole CPU for the metadata, and the analyzers hold nearly all CPUs.
            return ray.data.from_items([{"request": request}]).map_batches(
                _decode_stage,
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=decode_cpus,
                ray_remote_args_fn=_retry_once,
            )


def _retry_once() -> dict[str, Any]:
    # Ray Data would start a dying task again without end. A file that kills its decoder twice is the cause.
    return {"max_retries": 1}


def _quiet_ray_data() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its failures come out of here as typed errors
