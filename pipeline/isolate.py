"""Runs a function or generator in a child process that may crash, hang or eat memory without hurting this one.

The child is a fresh interpreter (not a fork, and it does not import the caller's main module), so this works from
notebooks, threads and event loops. Results come back pickled over a pipe that nothing else writes to.
"""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from pipeline.errors import DecoderCrashed, ReelscopeError

MEMORY_BYTES_MAX: Final = 8 * 1024**3
"""Address space of a child. Lower: large pictures fail. Higher: a hostile file can push others out of memory."""
_LENGTH_BYTES: Final = 8
_ITEM, _END, _ERROR = "item", "end", "error"


def be_nice(niceness: int) -> None:
    """Raise this process's niceness to that of 0 to 19; lowering it would need a privilege."""
    os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))


class Child:
    """One call in a child process: `Child(function, *args, **kwargs)`.

    The function must be importable by its module and name, its arguments and results must pickle.
    """

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._name = function.__name__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.isolate"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the parent, which then closes its children
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipe: IO[bytes] = self._process.stdout
        try:
            self._process.stdin.write(pickle.dumps((function.__module__, function.__qualname__, args, kwargs)))
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it died at once; reading its answer says so with its exit code

    def result(self, timeout_s: float) -> Any:
        """The function's return value.

        Raises:
            DecoderCrashed: the child died, or did not answer in `timeout_s`.
            ReelscopeError, ...: whatever the function raised.
        """
        return self._receive(timeout_s)[1]

    def items(self, timeout_s: float) -> Iterator[Any]:
        """What the generator yields; each next item may take `timeout_s`. Raises as `result`."""
        while True:
            kind, value = self._receive(timeout_s)
            if kind == _END:
                return
            yield value

    def close(self) -> None:
        """End the child, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._pipe.close()

    def _receive(self, timeout_s: float) -> tuple[str, Any]:
        deadline = time.monotonic() + timeout_s
        header = self._read(_LENGTH_BYTES, deadline, timeout_s)
        kind, value = pickle.loads(self._read(int.from_bytes(header, "little"), deadline, timeout_s))
        if kind == _ERROR:
            raise value
        return kind, value

    def _read(self, count: int, deadline: float, timeout_s: float) -> bytearray:
        buffer = bytearray(count)
        view, position = memoryview(buffer), 0
        descriptor = self._pipe.fileno()
        while position < count:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.close()
                raise DecoderCrashed(f"{self._name} gave no answer for {timeout_s:g} s and was stopped")
            received = os.readv(descriptor, [view[position:]])
            if received == 0:
                raise DecoderCrashed(f"{self._name} ended without an answer ({self._ending()})")
            position += received
        return buffer

    def _ending(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        return f"signal {signal.Signals(-code).name}"


def _serve() -> None:
    """The child's side: read one call, answer, end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not end up between the answers

    def send(kind: str, value: Any) -> None:
        body = pickle.dumps((kind, value), protocol=5)
        for piece in (len(body).to_bytes(_LENGTH_BYTES, "little"), body):
            view = memoryview(piece)
            while view:
                view = view[answers.write(view) :]

    module_name, qualified_name, args, kwargs = pickle.load(sys.stdin.buffer)
    try:
        target: Any = __import__(module_name, fromlist=["_"])
        for attribute in qualified_name.split("."):
            target = getattr(target, attribute)
        outcome = target(*args, **kwargs)
        if isinstance(outcome, Iterator):
            for item in outcome:
                send(_ITEM, item)
        else:
            send(_ITEM, outcome)
        send(_END, None)
    except BrokenPipeError:
        os._exit(0)  # the caller has gone or lost interest
    except MemoryError:
        send(_ERROR, DecoderCrashed(f"needed more than {MEMORY_BYTES_MAX} bytes of memory"))
    except ReelscopeError as error:
        send(_ERROR, error)
    except Exception as error:
        send(_ERROR, DecoderCrashed(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    _serve()
