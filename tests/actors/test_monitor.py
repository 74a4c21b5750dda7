"""The GPU monitor, over an NVML that the test plays."""

# ruff: noqa: N802 - the functions are called as in NVML

from __future__ import annotations

import os
import sys
import types
from types import SimpleNamespace
from typing import Any

import pytest

from actors.monitor import GpuMonitor
from pipeline.results import RunFigures


class FakeNvml(types.ModuleType):
    """Two GPUs: utilization rises by ten points a look, this process takes 2 GB on one and 1 GB on the other."""

    class NVMLError(Exception):
        pass

    def __init__(self, gpus: int = 2, *, tells_processes: bool = True, breaks_at: int | None = None) -> None:
        super().__init__("pynvml")
        self.gpus, self.tells_processes, self.breaks_at, self.looks = gpus, tells_processes, breaks_at, 0

    def nvmlInit(self) -> None:
        if self.gpus == 0:
            raise self.NVMLError("driver not loaded")

    def nvmlDeviceGetCount(self) -> int:
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:
        return f"card {handle}"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        self.looks += handle == 0
        if self.looks == self.breaks_at:
            raise self.NVMLError("lost for a moment")
        return SimpleNamespace(gpu=min(100, 10 * self.looks + handle))

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=(3 + handle) * 10**9, total=24 * 10**9)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        if not self.tells_processes:
            raise self.NVMLError("not permitted")
        return [
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=(2 - handle) * 10**9),
            SimpleNamespace(pid=2**22 + 7, usedGpuMemory=None),
        ]


def watched(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, looks: int) -> GpuMonitor:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monitor = GpuMonitor(interval_s=0.001)
    with monitor:
        while nvml.gpus and nvml.looks < looks:
            pass
    return monitor


def test_samples_are_kept_per_gpu_and_the_run_gets_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = watched(FakeNvml(), monkeypatch, 3)
    assert len(monitor.samples) >= 3
    assert monitor.samples[0].utilization == (0.10, 0.11)
    assert monitor.samples[1].utilization == (0.20, 0.21)
    assert monitor.samples[0].used_gb == (3.0, 4.0)
    assert monitor.samples[0].at_s < monitor.samples[1].at_s
    figures = monitor.figures()
    assert figures["gpu_samples"] == len(monitor.samples)
    assert figures["gpu_mem_peak_gb"] == 7.0
    mean = sum(sum(sample.utilization) / 2 for sample in monitor.samples) / len(monitor.samples)
    assert figures["gpu_util"] == pytest.approx(mean)
    assert set(figures) <= set(RunFigures.model_fields)


def test_memory_is_told_per_process_over_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = watched(FakeNvml(), monkeypatch, 2).process_memory_gb()
    mine = next(name for name in memory if name.endswith(f"[{os.getpid()}]"))
    assert memory[mine] == 3.0
    assert memory[f"process [{2**22 + 7}]"] == 0.0, "one that cannot be seen from here, of unknown size"


def test_a_driver_that_hides_processes_still_gives_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = watched(FakeNvml(tells_processes=False), monkeypatch, 2)
    assert monitor.samples
    assert monitor.process_memory_gb() == {}


def test_a_look_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = watched(FakeNvml(breaks_at=2), monkeypatch, 4)
    assert [sample.utilization[0] for sample in monitor.samples[:2]] == [0.10, 0.30]


def test_a_short_run_has_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(FakeNvml(), monkeypatch, 1).samples


def test_without_a_driver_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = watched(FakeNvml(gpus=0), monkeypatch, 0)
    assert (monitor.samples, monitor.figures(), monitor.process_memory_gb()) == ([], {}, {})
    assert (GpuMonitor.available(), GpuMonitor.names()) == (False, [])


def test_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    assert GpuMonitor.available()
    assert GpuMonitor.names() == ["card 0", "card 1"]
