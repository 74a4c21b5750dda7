"""The worker actor, without Ray: the cap on a GPU's memory, and several analyzers in one process."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors import worker
from actors.worker import WorkerActor
from pipeline.analyzer import Options, Profile
from pipeline.types import GPU_CONTEXT_GB
from tests import toys

PROFILE = Profile("full", Path("/nowhere"))


@pytest.fixture
def capped(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The fractions that a torch with one GPU of 24 GB was capped to."""
    fractions: list[float] = []
    cuda = SimpleNamespace(
        is_available=lambda: True,
        get_device_properties=lambda device: SimpleNamespace(total_memory=24 * 10**9),
        set_per_process_memory_fraction=fractions.append,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(worker.importlib.util, "find_spec", lambda name: name)
    return fractions


def actor(device: str, gpu_gb: float) -> WorkerActor:
    both: list[tuple[Any, Options]] = [(toys.Batches, Options()), (toys.Brightness, Options())]
    return WorkerActor(both, device, PROFILE, gpu_gb)


def test_torch_is_capped_once_for_all_analyzers_of_a_process_at_its_part_less_the_context(capped: list[float]) -> None:
    made = actor("cuda:0", 6.5)
    assert capped == [(6.5 - GPU_CONTEXT_GB) / 24]
    assert made.load("batches").ok
    assert made.load("brightness").ok


def test_what_runs_on_the_cpu_is_not_capped(capped: list[float]) -> None:
    actor("cpu", 0.0)
    actor("cpu", 6.5)  # a logical GPU: counted, and not there
    assert capped == []
