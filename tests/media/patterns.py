"""Plain generated pictures and sounds for tests that ask about plumbing and not about content."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt


def moving_pattern(height: int, width: int, count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """`count` pictures [height, width, 3]: a gradient that moves right by 2 px and brightens by 1 a picture."""
    ramp = np.linspace(0, 120, width, dtype=np.float32)[None, :, None]
    tint = np.array([1.0, 0.8, 0.6], np.float32)
    for number in range(count):
        picture = np.roll(ramp, 2 * number, axis=1) * tint + 20 + number
        yield np.broadcast_to(picture, (height, width, 3)).clip(0, 255).astype(np.uint8)


def flat(height: int, width: int, count: int, level: int | tuple[int, int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    """`count` pictures of one colour."""
    picture = np.full((height, width, 3), level, np.uint8)
    for _ in range(count):
        yield picture


def tone(hertz: float, duration_s: float, rate: int = 48_000, level: float = 0.3) -> npt.NDArray[np.float32]:
    """A sine, float32 [T]."""
    time_s = np.arange(int(duration_s * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32)
