"""What networks of this process have just answered, so that analyzers that share a process ask about a picture once.

A network here is a function of its input and nothing else, so the answer to the same bytes is the same. Analyzers of
one process follow each other closely; a few seconds of answers are enough.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
import numpy.typing as npt

ANSWERS_MAX: Final = 48
"""Answers that are kept of one network: 12 s at 4 pictures a second. More: memory (0.7 MB each at most)."""

Answer = TypeVar("Answer")


class Recall:
    """The last answers of one network, for all its instances in this process.

    Args:
        network: identifies the weights, for example their path.
        answers_max: how many answers are kept.
    """

    _kept: ClassVar[dict[str, OrderedDict[bytes, Any]]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, network: str, answers_max: int = ANSWERS_MAX) -> None:
        self._answers_max = answers_max
        self._answers = self._kept.setdefault(network, OrderedDict())

    def __call__(self, values: npt.NDArray[Any], compute: Callable[[], Answer]) -> Answer:
        """The answer about `values`: a kept one, or that of `compute`, which must not be changed by who gets it."""
        return self.many([values], lambda _: [compute()])[0]

    def many(
        self,
        inputs: Sequence[npt.NDArray[Any]],
        compute: Callable[[Sequence[npt.NDArray[Any]]], Sequence[Answer]],
    ) -> list[Answer]:
        """An answer about each input: `compute` is asked once, about all those of which none is kept."""
        keys = [hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).digest() for values in inputs]
        with self._lock:
            found: dict[bytes, Answer] = {key: self._answers[key] for key in keys if key in self._answers}
            for key in found:
                self._answers.move_to_end(key)
        new = {key: values for key, values in zip(keys, inputs, strict=True) if key not in found}
        if new:
            found.update(zip(new, compute(list(new.values())), strict=True))
            with self._lock:
                self._answers.update((key, found[key]) for key in new)
                while len(self._answers) > self._answers_max:
                    self._answers.popitem(last=False)
        return [found[key] for key in keys]
