"""Watches the GPUs during a run by NVML: utilization and memory of each, and the memory of each process."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psutil

INTERVAL_S = 0.2
"""Shorter samples see NVML's own averaging window (1/6 s to 1 s) and no more."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at all GPUs.

    Args:
        at_s: since the monitor was entered.
        utilization: of each GPU, 0..1: the share of NVML's window in which a kernel ran.
        used_gb: memory taken on each GPU, by anybody.
    """

    at_s: float
    utilization: tuple[float, ...]
    used_gb: tuple[float, ...]


class GpuMonitor:
    """Samples every GPU of this machine in a thread between entering and leaving. Without a GPU it does nothing.

    Attributes:
        samples: what was seen, in order.
    """

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self.samples: list[Sample] = []
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._process_peak_bytes: dict[int, int] = {}
        self._titles: dict[int, str] = {}

    def __enter__(self) -> Self:
        nvml, handles = _open()
        if handles:
            self._thread = threading.Thread(target=self._watch, args=(nvml, handles), daemon=True, name="gpu-monitor")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @staticmethod
    def available() -> bool:
        """Whether there is a GPU with its driver."""
        return bool(_open()[1])

    @staticmethod
    def names() -> list[str]:
        """What each GPU is called; empty without one."""
        nvml, handles = _open()
        return [str(nvml.nvmlDeviceGetName(handle)) for handle in handles]

    @staticmethod
    def glance() -> Sample | None:
        """All GPUs as they are now; None without one, or where they do not answer."""
        nvml, handles = _open()
        return _sample(nvml, handles, 0.0) if handles else None

    def figures(self) -> dict[str, Any]:
        """Fields of `RunFigures`: mean utilization 0..1 over GPUs and samples, their count, peak memory in GB."""
        if not self.samples:
            return {}
        means = [sum(sample.utilization) / len(sample.utilization) for sample in self.samples]
        return {
            "gpu_util": sum(means) / len(means),
            "gpu_samples": len(self.samples),
            "gpu_mem_peak_gb": max(sum(sample.used_gb) for sample in self.samples),
        }

    def process_memory_gb(self) -> dict[str, float]:
        """Peak GPU memory of each process in GB, over all GPUs, by its title and id.

        Empty where the driver does not tell, as in a container without the host's process ids.
        """
        return {
            f"{self._titles.get(pid, 'process')} [{pid}]": peak / 1e9 for pid, peak in self._process_peak_bytes.items()
        }

    def _watch(self, nvml: Any, handles: list[Any]) -> None:
        start_s = time.perf_counter()
        while True:  # once at least, however short the run is
            self._look(nvml, handles, time.perf_counter() - start_s)
            if self._stop.wait(self._interval_s):
                return

    def _look(self, nvml: Any, handles: list[Any], at_s: float) -> None:
        sample = _sample(nvml, handles, at_s)
        if sample is None:
            return  # a device that does not answer now may do so the next time
        self.samples.append(sample)
        taken: dict[int, int] = {}
        for handle in handles:
            try:
                processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            except nvml.NVMLError:
                continue  # not told to this user
            for process in processes:
                taken[process.pid] = taken.get(process.pid, 0) + (process.usedGpuMemory or 0)
        for pid, count in taken.items():
            self._process_peak_bytes[pid] = max(self._process_peak_bytes.get(pid, 0), count)
            if pid not in self._titles:
                self._titles[pid] = _title(pid)


def _sample(nvml: Any, handles: list[Any], at_s: float) -> Sample | None:
    try:
        utilization = tuple(nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100 for handle in handles)
        used_gb = tuple(nvml.nvmlDeviceGetMemoryInfo(handle).used / 1e9 for handle in handles)
    except nvml.NVMLError:
        return None
    return Sample(at_s, utilization, used_gb)


def _open() -> tuple[Any, list[Any]]:
    """NVML and its devices; none without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return pynvml, [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return pynvml, []


def _title(pid: int) -> str:
    """What a process calls itself."""
    try:
        process = psutil.Process(pid)
        return (process.cmdline() or [process.name()])[0]
    except psutil.Error:
        return "process"
