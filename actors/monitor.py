"""Watches the GPUs during a run by NVML, and the machine's processes for benchmarks."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

INTERVAL_S = 0.2
"""Shorter samples see NVML's own averaging window (1/6 s to 1 s) and no more."""


class GpuMonitor:
    """Samples every GPU of this machine in a thread between entering and leaving. Without a GPU it does nothing."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._utilizations: list[float] = []
        self._peak_bytes = 0

    def __enter__(self) -> Self:
        import pynvml

        try:
            pynvml.nvmlInit()
            handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError:
            return self  # no driver: there is nothing to watch
        if handles:
            self._thread = threading.Thread(target=self._watch, args=(pynvml, handles), daemon=True, name="gpu-monitor")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def figures(self) -> dict[str, Any]:
        """Fields of `RunFigures`: mean utilization 0..1 over GPUs and samples, their count, peak memory in GB."""
        if not self._utilizations:
            return {}
        return {
            "gpu_util": sum(self._utilizations) / len(self._utilizations),
            "gpu_samples": len(self._utilizations),
            "gpu_mem_peak_gb": self._peak_bytes / 1e9,
        }

    def _watch(self, nvml: Any, handles: list[Any]) -> None:
        while not self._stop.wait(self._interval_s):
            rates = [nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100 for handle in handles]
            self._utilizations.append(sum(rates) / len(rates))
            used = sum(nvml.nvmlDeviceGetMemoryInfo(handle).used for handle in handles)
            self._peak_bytes = max(self._peak_bytes, used)
