"""The one adapter around an analyzer: timing, error marking and retreat from memory, so that analyzers hold only ideas.

It runs inside the worker, be that a Ray actor or a thread, and never raises for what an analyzer does.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.analyzer import Options, Profile
from pipeline.errors import NotApplicable
from pipeline.registry import AnalyzerClass
from pipeline.results import ErrorInfo, ModelInfo, Report, Upstream
from pipeline.types import Item

MESSAGE_CHARS_MAX = 600
OUT_OF_MEMORY = (
    "out of memory",  # torch ("CUDA out of memory"), CTranslate2 ("CUDA failed with error out of memory")
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "failed to allocate memory",  # onnxruntime's CUDA arena
)
"""What the libraries' errors say, in lower case, that are not named OutOfMemoryError."""
_LOADING = threading.Lock()
"""One analyzer loads at a time in a process. transformers sets torch's defaults while it loads: of two models in two
threads, one would lack its tied weights; and its modules, imported where they are first named, import each other."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call came to: a value, or why there is none.

    Args:
        value: a part, a report, or the `ModelInfo` after loading.
        error: set when the call failed.
        skipped: set when the analyzer says that there is nothing for it here.
        busy_s: wall time of the call's work.
        cpu_s: CPU time of that work.
    """

    value: Any = None
    error: ErrorInfo | None = None
    skipped: str | None = None
    busy_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None and self.skipped is None


def failure(error: BaseException) -> Outcome:
    """The outcome of a call that raised."""
    if isinstance(error, NotApplicable):
        return Outcome(skipped=str(error))
    message = " ".join(str(error).split())[:MESSAGE_CHARS_MAX] or "no message"
    return Outcome(error=ErrorInfo(type=type(error).__name__, message=message))


class AnalyzerWorker:
    """One loaded analyzer that answers calls of any videos.

    Args:
        analyzer_class: what to run.
        options: its settings.
        device: ``cpu`` or ``cuda:0``.
        profile: which weights.
        cpu_clock: CPU seconds so far of whatever does the work: of this process, or of this thread where others
            work in the same process.
    """

    def __init__(
        self,
        analyzer_class: AnalyzerClass,
        options: Options,
        device: str,
        profile: Profile,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._analyzer = analyzer_class(options)
        self._device, self._profile, self._cpu_clock = device, profile, cpu_clock

    def load(self) -> Outcome:
        """Load weights; the value is the `ModelInfo`."""
        return self._timed(self._load)

    def analyze(self, items: Sequence[Item]) -> list[Outcome]:
        """One outcome per item. A failing item does not take the others of its batch with it."""
        outcome = self._timed(lambda: self._analyzer.analyze_many(items))
        if outcome.ok and len(outcome.value) != len(items):
            error = ValueError(f"analyze_many returned {len(outcome.value)} parts for {len(items)} items")
            return [failure(error)] * len(items)
        if outcome.ok:
            share = 1 / len(items)
            return [
                Outcome(value=part, busy_s=outcome.busy_s * share, cpu_s=outcome.cpu_s * share)
                for part in outcome.value
            ]
        out_of_memory = outcome.error is not None and _is_out_of_memory(outcome.error)
        if out_of_memory:
            _free_gpu_memory()
        if len(items) == 1:
            return [_with_sizes(outcome, items[0]) if out_of_memory else outcome]
        # Halves when memory ran out, single items otherwise, to find the one that fails.
        step = (len(items) + 1) // 2 if out_of_memory else 1
        return [one for start in range(0, len(items), step) for one in self.analyze(items[start : start + step])]

    def summarize(self, parts: Sequence[Any], upstream: Upstream) -> Outcome:
        """The value is the report, checked against the analyzer's report model."""
        return self._timed(lambda: self._summarize(parts, upstream))

    def _load(self) -> ModelInfo:
        with _LOADING:
            self._analyzer.load(self._device, self._profile)
        return self._analyzer.model

    def _summarize(self, parts: Sequence[Any], upstream: Upstream) -> Report[Any, Any]:
        report = self._analyzer.summarize(parts, upstream)
        expected = type(self._analyzer).report_model
        if not isinstance(report, expected):
            raise TypeError(f"summarize must return {expected.__name__}, got {type(report).__name__}")
        return report

    def _timed(self, call: Callable[[], Any]) -> Outcome:
        start_s, start_cpu_s = time.perf_counter(), self._cpu_clock()
        try:
            outcome = Outcome(value=call())
        except Exception as error:
            outcome = failure(error)
        return Outcome(
            value=outcome.value,
            error=outcome.error,
            skipped=outcome.skipped,
            busy_s=time.perf_counter() - start_s,
            cpu_s=self._cpu_clock() - start_cpu_s,
        )


def _with_sizes(outcome: Outcome, item: Item) -> Outcome:
    assert outcome.error is not None
    message = f"out of memory with a single item left, {item!r}: {outcome.error.message}"
    return Outcome(error=ErrorInfo(type=outcome.error.type, message=message[:MESSAGE_CHARS_MAX]))


def _is_out_of_memory(error: ErrorInfo) -> bool:
    said = error.message.lower()
    return "OutOfMemory" in error.type or any(words in said for words in OUT_OF_MEMORY)


def _free_gpu_memory() -> None:
    """Give back what the failed call left: its tensors die with the error, cycles and torch's cache need telling."""
    gc.collect()
    torch: Any = sys.modules.get("torch")  # imported by the analyzer that ran out of memory, or not at all
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
