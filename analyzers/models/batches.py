"""Puts many inputs into model calls of a bounded size, and retreats from memory by halving them.

`pipeline/worker.py` halves the number of videos in a call; that is no help where one video alone fills a model call.
So a call that runs out of memory is halved here first, down to one input; then the error is raised on.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

# More: cores that other workers count on. Fewer: the GPU waits for features and voice activity, which the CPU makes.
THREADS_BESIDE_GPU: Final = 4

logger = logging.getLogger(__name__)

Input = TypeVar("Input")
Answer = TypeVar("Answer")


def threads_for(device: str) -> int:
    """How many threads prepare a model's input: several beside a GPU, the caller's own on a CPU."""
    return THREADS_BESIDE_GPU if device.startswith("cuda") else 1


def in_threads(inputs: Sequence[Input], prepare: Callable[[Input], Answer], threads: int) -> list[Answer]:
    """`prepare` of each input, in order. It spends its time in numpy or onnxruntime, which let other threads run."""
    if threads <= 1 or len(inputs) < 2:
        return [prepare(one) for one in inputs]
    with ThreadPoolExecutor(min(threads, len(inputs)), thread_name_prefix="prepare") as pool:
        return list(pool.map(prepare, inputs))


def in_batches(
    inputs: Sequence[Input], size: int, compute: Callable[[Sequence[Input]], Sequence[Answer]]
) -> list[Answer]:
    """One answer per input, in order.

    Args:
        inputs: any number.
        size: how many go into one call at most.
        compute: a model call: one answer per input, each the same whatever else is in the call.

    Raises:
        An error whose name has ``OutOfMemory`` in it: not even one input fits.
    """
    answers: list[Answer] = []
    for start in range(0, len(inputs), size):
        answers += _halving(inputs[start : start + size], compute)
    return answers


def like_by_like(
    inputs: Sequence[Input],
    alike: Callable[[Input], Any],
    size: int,
    compute: Callable[[Sequence[Input]], Sequence[Answer]],
) -> list[Answer]:
    """As `in_batches`, with only inputs of the same `alike` in one call."""
    groups: dict[Any, list[int]] = {}
    for number, one in enumerate(inputs):
        groups.setdefault(alike(one), []).append(number)
    found: dict[int, Answer] = {}
    for numbers in groups.values():
        found.update(zip(numbers, in_batches([inputs[n] for n in numbers], size, compute), strict=True))
    return [found[number] for number in range(len(inputs))]


def _halving(inputs: Sequence[Input], compute: Callable[[Sequence[Input]], Sequence[Answer]]) -> list[Answer]:
    try:
        return list(compute(inputs))
    except RuntimeError as error:
        if "OutOfMemory" not in type(error).__name__ or len(inputs) == 1:
            raise
        half = (len(inputs) + 1) // 2
        logger.warning("out of GPU memory with %d inputs in a call: trying %d", len(inputs), half)
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    return _halving(inputs[:half], compute) + _halving(inputs[half:], compute)
