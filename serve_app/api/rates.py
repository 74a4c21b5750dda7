"""Token buckets (as ITU-T I.371's): so many requests a minute, in bursts of at most as many. In memory only."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

NAMES_MAX = 4096
"""Buckets kept. Whoever comes from more addresses than that starts with a full one again."""


class RateLimit:
    """A bucket of `per_minute` tokens for each name, refilled evenly.

    Args:
        per_minute: size of a bucket, and what flows in within a minute.
        clock: seconds that never go back.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, name: str) -> float:
        """Seconds until `name` has a token; 0 if it has one."""
        return max(0.0, (1 - self._tokens(name)) * 60 / self.per_minute)

    def take(self, name: str) -> float:
        """Take a token; seconds to wait instead if there is none (0: it was taken)."""
        waiting_s = self.wait_s(name)
        if waiting_s == 0:
            self._buckets[name] = (self._tokens(name) - 1, self._clock())
            self._buckets.move_to_end(name)
            while len(self._buckets) > NAMES_MAX:
                self._buckets.popitem(last=False)
        return waiting_s

    def _tokens(self, name: str) -> float:
        tokens, at_s = self._buckets.get(name, (float(self.per_minute), self._clock()))
        return min(float(self.per_minute), tokens + (self._clock() - at_s) * self.per_minute / 60)
