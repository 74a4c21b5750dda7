"""The decode pass as a Ray Data stage: one task per video, whose generator stores each group of chunks at once.

A group is one block, since a block costs the same few milliseconds whatever its size. The engine reads its description
and hands its reference to actors with the position of the chunk that each is to take. Nothing is copied on the way: the
actors' arrays lie in shared memory.

The way to the blocks' references, the backpressure policy and the cluster's key-value store are internal names of Ray,
which pyproject.toml pins; they are used here and nowhere else.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import os
import threading
import uuid
import warnings
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

# Read while ray.data is imported. Its thread that fetches descriptions of blocks hands each on at the scheduler's next
# turn, which is 0.1 s later when no other block comes meanwhile.
os.environ.setdefault("RAY_DATA_METADATA_PREFETCH_ON_THREAD", "0")

import ray
import ray.data
from ray.data._internal.execution.backpressure_policy import ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY
from ray.data._internal.execution.backpressure_policy.backpressure_policy import BackpressurePolicy
from ray.exceptions import RayError, RayTaskError, WorkerCrashedError
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_exists, _internal_kv_put
from ray.util.annotations import RayDeprecationWarning

from pipeline import media
from pipeline.blocks import BlockItem, head_of, row, to_table
from pipeline.errors import DecoderCrashed, MediaError
from pipeline.isolate import be_nice
from pipeline.media import DecodeStats
from pipeline.results import VideoFacts
from pipeline.settings import Limits
from pipeline.source import Chunk, ChunkGroup
from pipeline.types import View

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES: Final = 1
"""Ray Data closes a block as soon as it holds this much: every row becomes a block of its own."""
AHEAD_BYTES: Final = 64 * 1024 * 1024
"""Decoded bytes that wait for the engine. Less: the decoder stops and goes. More: memory per video."""
BLOCKS_BUFFERED: Final = 2
"""Blocks that wait unread behind the decoder. Fewer: it stops after each group until Ray Data polls. More: memory."""
GUARD_S: Final = 30.0
"""How often Ray Data may read one more block although it is held back."""
POLL_S: Final = 0.1
"""How long its thread sleeps while it is."""
STOP_S: Final = 5.0
"""How long a decoder may take to end by itself; it looks whether it is to after each group."""
_STOPS: Final = b"reelscope.stops"
_PULLER_KEY: Final = "reelscope.puller"
_DONE: Final = object()
_context_lock = threading.Lock()
logger = logging.getLogger(__name__)


def _decode_stage(batch: pa.Table) -> Iterator[pa.Table]:
    """Ray Data's side: a row that names a video becomes a row for each group, and one for how it ended."""
    yield row({"started": True})
    for request in batch.column("request").to_pylist():
        asked = json.loads(request)
        if asked is None:
            continue  # `warm`: to have come here with everything imported is all
        be_nice(asked["niceness"])
        views = tuple(View(**view) for view in asked["views"])
        limits = Limits(**asked["limits"])
        try:
            for group in media.decode_groups(
                asked["path"],
                video_id=asked["video_id"],
                views=views,
                audio=asked["audio"],
                limits=limits,
                threads=asked["threads"],
            ):
                if _internal_kv_exists(_stop_key(asked["id"]), namespace=_STOPS):
                    break
                yield row({"stats": asdict(group)}) if isinstance(group, DecodeStats) else to_table(group)
        except MediaError as error:
            # As data: an exception would come back wrapped in Ray Data's own, and be retried.
            yield row({"error": str(error)})


@ray.remote(num_cpus=0, max_retries=0)  # type: ignore[untyped-decorator]
def _probe(path: str, limits: Limits) -> VideoFacts:
    return media.probe(path, limits)


class RayFrameSource:
    """Probes and decodes in Ray tasks. Ray must be initialized.

    Args:
        limits: of probing and decoding.
        decode_cpus: CPU share of one decode task; it caps how many run at once.
        niceness: of a decoder's process, 0 to 19.
    """

    def __init__(self, limits: Limits | None = None, decode_cpus: float = 1.0, niceness: int = 0) -> None:
        self._limits = limits or Limits()
        self._decode_cpus = decode_cpus
        self._niceness = niceness
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
    ) -> AsyncGenerator[ChunkGroup | DecodeStats, None]:
        """See `FrameSource.stream`."""
        request = {"path": path, "video_id": video_id, "audio": audio, "views": [asdict(view) for view in views]}
        request |= {"threads": max(1, math.floor(self._decode_cpus)), "niceness": self._niceness}
        puller = _Puller(request | {"limits": self._limits.model_dump()}, self._decode_cpus)
        stall_s = self._limits.decode_stall_s_max
        try:
            await puller.started.wait()  # until other videos' decoders leave their CPU share, which may take long
            while True:
                try:
                    item = await asyncio.wait_for(puller.next(), stall_s)
                except TimeoutError:
                    raise DecoderCrashed(f"decode gave no chunk for {stall_s:g} s and was stopped") from None
                if item is _DONE:
                    return
                yield item
        finally:
            puller.close()


class _Puller:
    """Drives Ray Data's blocking iterator in a thread, and holds it back while enough waits for the engine.

    Closed early, it asks the decoder to end and drops what still comes. Ray Data's own way would kill the decoder's
    process, and the next video would wait seconds for a new one; that is kept for a decoder that does not listen.
    """

    def __init__(self, request: dict[str, Any], decode_cpus: float) -> None:
        self.id = uuid.uuid4().hex
        self.started = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Any] = asyncio.Queue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._room = threading.Event()
        self._room.set()
        self._closed = threading.Event()
        self._executor: Any = None
        _pullers[self.id] = self
        asked = json.dumps(request | {"id": self.id})
        self._thread = threading.Thread(target=self._pull, args=(asked, decode_cpus), daemon=True, name="decode-stream")
        self._thread.start()

    async def next(self) -> Any:
        item = await self._arrived.get()
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, ChunkGroup):
            self._count(-item.nbytes)
        return item

    def close(self) -> None:
        self._closed.set()
        self._room.set()
        _pullers.pop(self.id, None)
        while not self._arrived.empty():
            self._arrived.get_nowait()  # the references go now, not when this object is collected
        if self._thread.is_alive():
            threading.Thread(target=self._end, daemon=True, name="decode-stream-end").start()

    def _end(self) -> None:
        try:
            _internal_kv_put(_stop_key(self.id), b"", namespace=_STOPS)
            self._thread.join(STOP_S)
            if self._executor is not None and self._thread.is_alive():
                self._executor.shutdown(force=True)
            self._thread.join()
            _internal_kv_del(_stop_key(self.id), namespace=_STOPS)
        except (RayError, ConnectionError) as error:
            logger.info("a decoder could not be told to stop, since Ray has ended: %s", error)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Whether more may be read; waits a moment for it. Called from Ray Data's thread."""
        return self._room.wait(timeout_s)

    def _count(self, change: int) -> None:
        with self._lock:
            self._waiting_bytes += change
            if self._waiting_bytes < AHEAD_BYTES or self._closed.is_set():
                self._room.set()
            else:
                self._room.clear()

    def _put(self, item: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, item)
        except RuntimeError:
            self._closed.set()  # the loop has ended, and with it whoever waited

    def _read(self, reference: Any) -> None:
        head = head_of(ray.get(reference))
        if isinstance(head, list):
            group = _group(head, reference)
            self._count(group.nbytes)
            self._put(group)
        elif "stats" in head:
            self._put(DecodeStats(**head["stats"] | {"lost": [tuple(span) for span in head["stats"]["lost"]]}))
        elif "error" in head:
            raise MediaError(head["error"])
        else:
            self._loop.call_soon_threadsafe(self.started.set)

    def _pull(self, request: str, decode_cpus: float) -> None:
        bundles: Iterator[Any] = iter(())
        try:
            dataset = _dataset(request, decode_cpus, self.id)
            bundles, _, self._executor = dataset._execute_to_iterator(capture_executor=False)
            for bundle in bundles:
                for entry in bundle.blocks:
                    if not self._closed.is_set():
                        self._read(entry.ref)
            self._put(_DONE)
        except MediaError as error:
            self._fail(error)
        except RayError as error:
            self._fail(DecoderCrashed(f"decode's process died: {type(error).__name__}"))
        except Exception as error:
            self._fail(DecoderCrashed(f"{type(error).__name__}: {error}"))
        finally:
            self._executor = None
            if self._closed.is_set():
                # Ray Data's executor refers to itself and to the blocks that nobody took.
                del bundles
                gc.collect()

    def _fail(self, error: MediaError) -> None:
        self._put(error)
        if not self._closed.is_set():
            self._loop.call_soon_threadsafe(self.started.set)


_pullers: dict[str, _Puller] = {}
"""By the id that a dataset's context carries: the context must pickle, a puller cannot."""


class _HoldBack(BackpressurePolicy):  # type: ignore[misc]
    """Stops reading from the decoder while its `_Puller` has no room; the decoder then stops by itself.

    In place of Ray Data's own policies: they know our reader neither as a consumer nor how far behind it is, and would
    read a whole video into the store, or spin on a core while they do not.
    """

    def max_task_output_bytes_to_read(self, op: Any) -> int | None:
        puller = _pullers.get(self._data_context.get_config(_PULLER_KEY, ""))
        if puller is None or not op.get_active_tasks() or puller.wait_for_room(POLL_S):
            return None
        return 0


def _stop_key(puller_id: str) -> bytes:
    return puller_id.encode()


def _group(heads: list[dict[str, Any]], reference: Any) -> ChunkGroup:
    chunks = [
        Chunk(
            view=View(**head["view"]) if head["view"] else None,
            index=head["index"],
            last=head["last"],
            end_s=head["end_s"],
            item=BlockItem(reference, position),
        )
        for position, head in enumerate(heads)
    ]
    return ChunkGroup(tuple(chunks), sum(head["nbytes"] for head in heads))


def _dataset(request: str, decode_cpus: float, puller_id: str = "") -> Any:
    # The current context is global to the process; the lock keeps ours from leaking into another thread's dataset.
    with _context_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", RayDeprecationWarning)  # of the only way in 2.60 to bound retries
        context = ray.data.DataContext.get_current().copy()
        context.target_max_block_size = BLOCK_BYTES
        context._max_num_blocks_in_streaming_gen_buffer = BLOCKS_BUFFERED
        context.output_backpressure_guard_release_interval_s = GUARD_S
        context.set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, [_HoldBack])
        context.set_config(_PULLER_KEY, puller_id)
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
