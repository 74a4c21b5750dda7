"""Hands calls to workers: the `WorkerPool` seam, the dispatch that all pools share, and the pool of threads.

Each analyzer has one or more replicas with two slots each, so that a worker finds its next call waiting when it ends
one; the second slot is for a call that cannot grow any more. Calls go to the least loaded replica, in the order in
which they came; waiting items are put together into one call up to `AnalyzerSpec.batch`, whatever videos they belong
to. A call whose worker dies is sent again.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.analyzer import Options, Profile
from pipeline.errors import ReelscopeError, WorkerDied, WorkerTimeout
from pipeline.registry import AnalyzerClass, options_of, specs_of
from pipeline.results import Upstream
from pipeline.settings import Settings
from pipeline.types import AnalyzerSpec
from pipeline.worker import AnalyzerWorker, Outcome, failure


class Replica(Protocol):
    """One worker, seen from outside. A call raises `WorkerDied` when the worker ended before it answered."""

    async def load(self) -> Outcome:
        """Wait until its analyzer is loaded; the value is the `ModelInfo`."""

    async def analyze(self, items: Sequence[Any]) -> list[Outcome]:
        """Outcomes of items, in their order."""

    async def summarize(self, parts: Sequence[Any], upstream: Upstream) -> Outcome:
        """The outcome of the report."""

    def restart(self) -> None:
        """End a worker that does not answer, and start another in its place."""

    def close(self) -> None:
        """End it."""


@dataclass(slots=True, eq=False)
class _Call:
    """Something to do for somebody who waits for `answer`."""

    answer: asyncio.Future[Outcome]
    item: Any = None
    parts: Sequence[Any] | None = None
    upstream: Upstream | None = None
    sends: int = 0
    since_s: float = field(default_factory=time.perf_counter)


class _Dispatcher:
    """The queue of one analyzer and its replicas."""

    def __init__(self, spec: AnalyzerSpec, replicas: list[Replica], slots: int, sends_max: int) -> None:
        self.spec = spec
        self.replicas = replicas
        self.loading = asyncio.ensure_future(self._load())
        self._slots, self._sends_max = slots, sends_max
        self._load_of = [0] * len(replicas)
        self._waiting: deque[_Call] = deque()
        self._sending: set[asyncio.Task[None]] = set()

    def submit(self, call: _Call, *, first: bool = False) -> None:
        (self._waiting.appendleft if first else self._waiting.append)(call)
        self._pump()

    async def close(self) -> None:
        self.loading.cancel()
        for task in self._sending:
            task.cancel()
        await asyncio.gather(self.loading, *self._sending, return_exceptions=True)
        for replica in self.replicas:
            replica.close()

    async def _load(self) -> Outcome:
        try:
            outcomes = await asyncio.gather(*(replica.load() for replica in self.replicas))
        except ReelscopeError as error:
            return failure(error)
        return next((outcome for outcome in outcomes if not outcome.ok), outcomes[0])

    def _pump(self) -> None:
        while self._waiting:
            index = min(range(len(self.replicas)), key=self._load_of.__getitem__)
            if self._load_of[index] >= self._slots or (self._load_of[index] and not self._fills_a_call()):
                return  # what waits here goes on growing to a batch; what waits at a busy worker does not
            calls = self._take()
            if not calls:
                return
            self._load_of[index] += 1
            task = asyncio.ensure_future(self._send(index, calls))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def _fills_a_call(self) -> bool:
        return self._waiting[0].parts is not None or len(self._waiting) >= self.spec.batch

    def _take(self) -> list[_Call]:
        """The next call, with as many items after it as fit into its batch. Nobody waits for a cancelled one."""
        calls: list[_Call] = []
        while self._waiting and len(calls) < self.spec.batch:
            if self._waiting[0].answer.done():
                self._waiting.popleft()
            elif self._waiting[0].parts is None:
                calls.append(self._waiting.popleft())
            elif calls:
                break
            else:
                return [self._waiting.popleft()]
        return calls

    async def _send(self, index: int, calls: list[_Call]) -> None:
        replica = self.replicas[index]
        # The worker may still be busy with the calls before this one, each of which has its own time.
        timeout_s = self.spec.timeout_s * self._load_of[index] * len(calls)
        try:
            outcomes = await asyncio.wait_for(self._perform(replica, calls), timeout_s)
        except TimeoutError:
            replica.restart()
            error = WorkerTimeout(f"no answer within {timeout_s:g} s (spec timeout_s {self.spec.timeout_s:g})")
            outcomes = [failure(error)] * len(calls)
        except WorkerDied as error:
            outcomes = []
            self._send_again(calls, error)
        except Exception as error:
            outcomes = [failure(error)] * len(calls)
        finally:
            self._load_of[index] -= 1
        for call, outcome in zip(calls, outcomes, strict=False):
            if not call.answer.done():
                call.answer.set_result(outcome)
        self._pump()

    async def _perform(self, replica: Replica, calls: list[_Call]) -> list[Outcome]:
        first = calls[0]
        if first.parts is not None and first.upstream is not None:
            return [await replica.summarize(first.parts, first.upstream)]
        return await replica.analyze([call.item for call in calls])

    def _send_again(self, calls: list[_Call], error: WorkerDied) -> None:
        for call in reversed(calls):
            call.sends += 1
            if call.sends >= self._sends_max:
                if not call.answer.done():
                    call.answer.set_result(failure(WorkerDied(f"{error}; given up after {call.sends} tries")))
            else:
                self._waiting.appendleft(call)


class WorkerPool(ABC):
    """Loaded analyzers that many videos share. `start` once, then call from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._dispatchers: dict[str, _Dispatcher] = {}

    async def start(self, classes: Mapping[str, AnalyzerClass]) -> None:
        """Begin to load workers for these analyzers; returns before they are loaded.

        Raises:
            PlanError: they do not fit the machine.
            UsageError: the options configured for one of them are wrong.
        """
        slots, sends_max = self.settings.engine.slots_per_worker, self.settings.engine.sends_max
        missing = {name: cls for name, cls in classes.items() if name not in self._dispatchers}
        specs = specs_of(missing, self.settings)
        for name, replicas in self._launch(missing, specs).items():
            self._dispatchers[name] = _Dispatcher(specs[name], replicas, slots, sends_max)

    @abstractmethod
    def _launch(
        self, classes: Mapping[str, AnalyzerClass], specs: Mapping[str, AnalyzerSpec]
    ) -> dict[str, list[Replica]]:
        """Start the replicas of each analyzer."""

    async def loaded(self, name: str) -> Outcome:
        """Wait until an analyzer is loaded on all its workers; the value is its `ModelInfo`."""
        return await asyncio.shield(self._dispatchers[name].loading)

    async def ready(self) -> dict[str, Outcome]:
        """Wait until all are."""
        return {name: await self.loaded(name) for name in self._dispatchers}

    def loaded_so_far(self) -> dict[str, Outcome | None]:
        """How loading went, by analyzer; None for those that are still at it."""
        return {
            name: dispatcher.loading.result() if dispatcher.loading.done() else None
            for name, dispatcher in self._dispatchers.items()
        }

    async def analyze(self, name: str, item: Any) -> Outcome:
        """The part of one item (a `Chunk.item`)."""
        call = _Call(asyncio.get_running_loop().create_future(), item=item)
        self._dispatchers[name].submit(call)
        return await call.answer

    async def summarize(self, name: str, parts: Sequence[Any], upstream: Upstream) -> Outcome:
        """The report from all parts of one video. Goes before waiting chunks: others may depend on it."""
        call = _Call(asyncio.get_running_loop().create_future(), parts=parts, upstream=upstream)
        self._dispatchers[name].submit(call, first=True)
        return await call.answer

    async def close(self) -> None:
        """End all workers."""
        await asyncio.gather(*(dispatcher.close() for dispatcher in self._dispatchers.values()))
        self._dispatchers.clear()


class LocalPool(WorkerPool):
    """Workers are threads of this process, for notebooks, debugging and tests; items are the arrays themselves."""

    def _launch(
        self, classes: Mapping[str, AnalyzerClass], specs: Mapping[str, AnalyzerSpec]
    ) -> dict[str, list[Replica]]:
        profile = Profile(self.settings.profile, self.settings.models_dir)
        return {
            # One replica whatever the spec says: threads of one interpreter gain nothing from more.
            name: [_ThreadReplica(analyzer_class, options_of(analyzer_class, self.settings), profile)]
            for name, analyzer_class in classes.items()
        }


class _ThreadReplica:
    def __init__(self, analyzer_class: AnalyzerClass, options: Options, profile: Profile) -> None:
        self._analyzer_class, self._options, self._profile = analyzer_class, options, profile
        self._begin()

    def _begin(self) -> None:
        self._worker = AnalyzerWorker(
            self._analyzer_class, self._options, "cpu", self._profile, cpu_clock=time.thread_time
        )
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=self._analyzer_class.spec.name)
        self._loading = self._executor.submit(self._worker.load)

    async def load(self) -> Outcome:
        return await asyncio.wrap_future(self._loading)

    async def analyze(self, items: Sequence[Any]) -> list[Outcome]:
        outcomes: list[Outcome] = await self._call(self._worker.analyze, items)
        return outcomes

    async def summarize(self, parts: Sequence[Any], upstream: Upstream) -> Outcome:
        outcome: Outcome = await self._call(self._worker.summarize, parts, upstream)
        return outcome

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        executor = self._executor
        try:
            return await asyncio.wrap_future(executor.submit(function, *args))
        except asyncio.CancelledError:
            if executor is self._executor:
                raise  # the caller was cancelled, and not this call by `restart`
            raise WorkerDied("the worker was restarted while the call waited") from None

    def restart(self) -> None:
        # A thread cannot be ended; it is left to finish alone, and its answer goes to nobody.
        self.close()
        self._begin()

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
