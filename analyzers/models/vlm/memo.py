"""A bounded memory of answers to the same question, for all analyzers of a process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """The latest values by key; the oldest leave when the sum of sizes exceeds the bound.

    Args:
        bytes_max: bound on that sum.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max, self._bytes = bytes_max, 0
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """The sum of sizes."""
        return self._bytes

    def get(self, key: Hashable) -> Value | None:
        """The value, or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Value, nbytes: int) -> None:
        """Keep a value of that size; one larger than the bound is not kept."""
        with self._lock:
            old = self._kept.pop(key, None)
            self._bytes += nbytes - (old[1] if old is not None else 0)
            self._kept[key] = (value, nbytes)
            while self._bytes > self._bytes_max:
                self._bytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0
