"""A child process may crash, hang or grow; its caller gets a typed error and nothing is left running."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from pipeline.errors import DecoderCrashed, MediaLimit
from pipeline.isolate import Child


def add(a: int, b: int) -> int:
    sys.stdout.write("noise on standard output")
    sys.stdout.flush()
    return a + b


def count(n: int) -> Iterator[bytes]:
    for number in range(n):
        yield bytes(100_000) + bytes([number])


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def crash_after_one() -> Iterator[int]:
    yield 1
    os._exit(3)


def hang() -> None:
    time.sleep(60)


def refuse() -> None:
    raise MediaLimit("size", 2, 1, "limits.x")


def blow_up() -> None:
    bytearray(20 * 1024**3)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = {process.pid for process in psutil.Process().children()}
    yield
    left = [process for process in psutil.Process().children() if process.pid not in before]
    assert not [process for process in left if "pipeline.isolate" in " ".join(process.cmdline())]


def result(function: object, *args: object, timeout_s: float = 20) -> object:
    child = Child(function, *args)  # type: ignore[arg-type]
    try:
        return child.result(timeout_s)
    finally:
        child.close()


def test_a_call_returns_its_value_whatever_it_prints() -> None:
    assert result(add, 2, 3) == 5


def test_a_generator_streams() -> None:
    child = Child(count, 20)
    assert [item[-1] for item in child.items(20)] == list(range(20))
    child.close()


def test_closing_early_ends_the_child() -> None:
    child = Child(count, 10_000)
    assert next(child.items(20))[-1] == 0
    child.close()


def test_typed_errors_come_through() -> None:
    with pytest.raises(MediaLimit, match=r"size is 2, the limit is 1 \(setting limits.x\)"):
        result(refuse)


def test_a_crash_is_an_error_that_names_the_signal() -> None:
    with pytest.raises(DecoderCrashed, match="SIGSEGV"):
        result(crash)


def test_a_crash_midway_keeps_what_came_before() -> None:
    child = Child(crash_after_one)
    items = child.items(20)
    assert next(items) == 1
    with pytest.raises(DecoderCrashed, match="exit code 3"):
        next(items)
    child.close()


def test_a_hang_ends_at_its_limit() -> None:
    with pytest.raises(DecoderCrashed, match="no answer for 2 s"):
        result(hang, timeout_s=2)


def test_memory_is_bounded() -> None:
    with pytest.raises(DecoderCrashed, match="bytes of memory"):
        result(blow_up)
