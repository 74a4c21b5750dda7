"""Measures what a run uses: CPU of the machine, and what machine it is."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any, Protocol

import psutil

REPORTED_PACKAGES = (
    *("reelscope", "ray", "av", "numpy", "opencv-python-headless", "onnxruntime", "ctranslate2"),
    *("torch", "transformers", "ultralytics", "easyocr"),
)


class GpuFigures(Protocol):
    """What a GPU monitor says at the end of a run (actors/monitor.py has one)."""

    gpu_util: float | None
    gpu_samples: int
    gpu_mem_peak_gb: float | None


class Meter:
    """CPU use of the whole machine between `start` and now."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()
        self.cores = psutil.cpu_count() or 1

    def cpu_util(self) -> float | None:
        """Share of the machine's core time that was not idle; None before the clock has ticked."""
        now = psutil.cpu_times()
        total = sum(now) - sum(self._before)
        idle = now.idle + getattr(now, "iowait", 0.0) - self._before.idle - getattr(self._before, "iowait", 0.0)
        return min(1.0, max(0.0, 1 - idle / total)) if total > 0 else None


def host() -> dict[str, Any]:
    """The machine in a few words; nothing that identifies its user."""
    return {
        "cores": psutil.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Installed versions of what answers depend on."""
    found = {}
    for package in REPORTED_PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed
    return found
