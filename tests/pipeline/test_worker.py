"""The adapter around an analyzer marks errors, halves when memory runs out, and times what it does."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.analyzer import Analyzer, Options, Profile
from pipeline.results import ModelInfo, Upstream, VideoFacts
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch
from pipeline.worker import AnalyzerWorker
from tests import toys

PROFILE = Profile("embedded", Path("/nowhere"))
FACTS = VideoFacts(source="x", sha256="0", bytes=1, duration_s=3)


def worker(analyzer_class: Any) -> AnalyzerWorker:
    made = AnalyzerWorker(analyzer_class, Options(), "cpu", PROFILE)
    assert made.load().ok
    return made


def batches(count: int) -> list[FrameBatch]:
    return [
        FrameBatch("v", SCAN, n, np.full((1, 8, 8, 3), n, np.uint8), np.array([n / 4]), n == count - 1, (n + 1) / 4)
        for n in range(count)
    ]


def test_loading_gives_the_model_and_its_failure_the_reason() -> None:
    assert isinstance(AnalyzerWorker(toys.Brightness, Options(), "cpu", PROFILE).load().value, ModelInfo)
    assert AnalyzerWorker(toys.FailsToLoad, Options(), "cpu", PROFILE).load().skipped == "no weights in this profile"


def test_one_bad_item_does_not_take_the_others_with_it() -> None:
    outcomes = worker(toys.FailsOnChunk).analyze(batches(3))
    assert [outcome.ok for outcome in outcomes] == [True, False, True]
    assert outcomes[1].error is not None
    assert outcomes[1].error.message == "the second chunk is bad"


def test_out_of_memory_halves_down_to_what_fits() -> None:
    made = worker(toys.Batches)
    outcomes = made.analyze(batches(8))
    assert all(outcome.ok for outcome in outcomes)
    assert [outcome.value[2] for outcome in outcomes] == list(range(8))
    assert made._analyzer.sizes == [8, 4, 2, 2, 4, 2, 2]  # type: ignore[attr-defined]


def test_out_of_memory_with_one_item_states_its_size() -> None:
    class Never(toys.Brightness):
        spec = AnalyzerSpec("never", "1", SCAN)

        def analyze(self, item: Any) -> Any:
            raise toys.OutOfMemoryError("CUDA out of memory")

    (outcome,) = worker(Never).analyze(batches(1))
    assert outcome.error is not None
    assert outcome.error.type == "OutOfMemoryError"
    assert "frames=1x8x8x3" in outcome.error.message


def test_a_report_of_the_wrong_type_is_an_error() -> None:
    outcome = worker(toys.FailsInSummary).summarize([], Upstream(FACTS))
    assert outcome.error is not None
    assert "must return ToyReport, got str" in outcome.error.message


def test_work_is_timed() -> None:
    outcome = worker(toys.Slow).analyze(batches(1))[0]
    assert outcome.busy_s > 0.1 > outcome.cpu_s


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"spec": "no spec"}, "must be an AnalyzerSpec"),
        ({"spec": AnalyzerSpec("x", "1", SCAN)}, "must define analyze or analyze_many"),
    ],
)
def test_a_wrong_subclass_is_refused_at_definition(body: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        types.new_class("Wrong", (Analyzer[toys.ToyPart, toys.ToyReport],), exec_body=lambda space: space.update(body))


def test_a_subclass_without_its_types_is_refused_at_definition() -> None:
    with pytest.raises(TypeError, match="must name its part and report types"):
        type("Wrong", (Analyzer,), {"spec": AnalyzerSpec("x", "1", SCAN)})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (type("OutOfMemoryError", (RuntimeError,), {}), "CUDA out of memory. Tried to allocate 2 GiB"),
        (RuntimeError, "CUDA failed with error out of memory"),
        (RuntimeError, "CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        (Exception, "Failed to allocate memory for requested buffer of size 4096"),
    ],
)
def test_every_library_s_way_to_say_out_of_memory_halves_the_batch(kind: type[Exception], message: str) -> None:
    class Refuses(toys.Batches):
        spec = AnalyzerSpec("refuses", "1", SCAN, batch=4)

        def analyze_many(self, items: Any) -> Any:
            self.sizes.append(len(items))
            if len(items) > 1:
                raise kind(message)
            return [self.analyze(item) for item in items]

    made = worker(Refuses)
    assert all(outcome.ok for outcome in made.analyze(batches(4)))
    assert made._analyzer.sizes == [4, 2, 1, 1, 2, 1, 1]  # type: ignore[attr-defined]


class Tensor:
    """Stands in for what a failed call holds on the GPU; a cycle keeps it until the garbage is collected."""

    alive = 0

    def __init__(self) -> None:
        Tensor.alive += 1
        self.itself = self

    def __del__(self) -> None:
        Tensor.alive -= 1


def test_what_a_failed_call_held_is_freed_before_the_halves_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []
    cuda = types.SimpleNamespace(is_available=lambda: True, empty_cache=lambda: freed.append(Tensor.alive))
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))

    class Holds(toys.Batches):
        spec = AnalyzerSpec("holds", "1", SCAN, batch=2)

        def analyze_many(self, items: Any) -> Any:
            held = [Tensor() for _ in items]
            if len(items) > 1:
                raise toys.OutOfMemoryError(f"CUDA out of memory with {len(held)}")
            return [self.analyze(item) for item in items]

    assert all(outcome.ok for outcome in worker(Holds).analyze(batches(2)))
    assert freed == [0], "nothing of the failed call is alive when torch's cache is emptied"


def test_one_analyzer_s_out_of_memory_does_not_touch_another_of_the_same_process() -> None:
    first, second = worker(toys.Batches), worker(toys.Brightness)
    assert all(outcome.ok for outcome in first.analyze(batches(8)))
    assert [outcome.value[2] for outcome in second.analyze(batches(3))] == [0, 1, 2]
