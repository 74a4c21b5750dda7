"""Examines the machine: what is missing, and what would help."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from analyzers.models.hub_store import HubEntry, HubStore
from analyzers.models.store import ModelStore
from cluster.plan import Machine, gpu_sizes_gb, plan_for
from pipeline.errors import PlanError
from pipeline.registry import discover, specs_of
from pipeline.settings import Settings
from serve_app.models import THERE, chosen_hub_models

DISK_FREE_MIN_BYTES = 1_000_000_000
MEMORY_MIN_BYTES = 6_000_000_000
LIBRARIES = {"torch": True, "transformers": True, "huggingface_hub": True, "ultralytics": True, "bitsandbytes": False}
"""Of the extra `full`, and whether nothing works without; bitsandbytes is for 8 and 4 bit only."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `needed` means that nothing works without it."""

    what: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = True


def examine(settings: Settings) -> list[Finding]:
    """Look at the interpreter, memory, shared memory, disk, weights and GPUs."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    memory = psutil.virtual_memory()
    findings = [
        Finding("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or later"),
        Finding(
            "memory",
            memory.available >= MEMORY_MIN_BYTES,
            f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f}",
            f"free {MEMORY_MIN_BYTES / 1e9:.0f} GB, or choose fewer analyzers",
            needed=False,
        ),
        _shared_memory(settings),
        _disk("model store", settings.models_dir),
    ]
    entries = ModelStore(settings.models_dir).entries()
    findings.extend(
        Finding(f"weights {entry.model.name}", entry.state == "present", entry.state, "reelscope models fetch")
        for entry in entries
        if entry.model.profile == "embedded" or settings.profile == "full"
    )
    sizes = gpu_sizes_gb()
    found = ", ".join(f"{size:.0f} GB" for size in sizes) or "none"
    remedy = "the full profile wants a GPU and its driver; the embedded profile needs none"
    findings.append(Finding("GPU", bool(sizes), found, remedy, needed=settings.profile == "full"))
    if settings.profile == "full":
        findings += _full_profile(settings, this_machine(gpus_gb=sizes or tuple(settings.ray.logical_gpus_gb)))
    return findings


def _full_profile(settings: Settings, machine: Machine) -> list[Finding]:
    """Its libraries, its hub models, and whether the analyzers fit the GPUs."""
    findings = []
    for library, needed in LIBRARIES.items():
        there = importlib.util.find_spec(library) is not None
        version = importlib.metadata.version(library) if there else "missing"
        findings.append(Finding(library, there, version, "pip install 'reelscope[full]'", needed=needed))
    if importlib.util.find_spec("torch") is not None and machine.gpus_gb:
        import torch

        seen = bool(torch.cuda.is_available())
        remedy = "install the torch build for your driver: this one was built without CUDA or for a newer driver"
        findings.append(Finding("torch on the GPU", seen, "works" if seen else "torch sees no GPU", remedy))
    chosen = chosen_hub_models(settings)
    entries = [entry for entry in HubStore(settings.models_dir).entries() if entry.model.name in chosen]
    findings += [_weights(entry) for entry in entries]
    classes = {name: cls for name, cls in discover().items() if name not in settings.disabled}
    remedy = "reelscope plan --profile full (says what to set)"
    try:
        plan = plan_for(specs_of(classes, settings), machine, settings)
        free = ", ".join(f"{room:.1f}" for room in plan.free_gb())
        findings.append(Finding("plan", True, f"fits; GB free on each GPU: {free}" if free else "on the CPU: slow"))
    except PlanError as error:
        findings.append(Finding("plan", False, str(error), remedy))
    return findings


def _weights(entry: HubEntry) -> Finding:
    model = entry.model
    remedy = f"reelscope models fetch {model.name} ({model.bytes / 1e9:.1f} GB), or set `model` to a folder"
    found = f"{entry.state} {entry.detail}".strip()
    return Finding(f"weights {model.name}", entry.state in THERE, found, remedy)


def this_machine(cpus: float | None = None, gpus_gb: tuple[float, ...] | None = None) -> Machine:
    """This machine as the plan sees it, or another with the given figures."""
    cores = float(len(os.sched_getaffinity(0)))
    return Machine(cpus=cpus or cores, gpus_gb=gpu_sizes_gb() if gpus_gb is None else gpus_gb)


def _shared_memory(settings: Settings) -> Finding:
    wanted = settings.ray.object_store_bytes
    shm = Path("/dev/shm")
    free = shutil.disk_usage(shm).free if shm.is_dir() else 0
    return Finding(
        "shared memory",
        free >= wanted,
        f"{free / 1e9:.1f} GB in {shm}",
        f"give {shm} {wanted / 1e9:.1f} GB (in a container: --shm-size), or lower ray.object_store_bytes",
        needed=False,
    )


def _disk(what: str, folder: Path) -> Finding:
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free, writable = shutil.disk_usage(existing).free, os.access(existing, os.W_OK)
    return Finding(
        what,
        writable and free >= DISK_FREE_MIN_BYTES,
        f"{folder}, {free / 1e9:.0f} GB free" + ("" if writable else ", not writable"),
        "free some space, or choose another folder (--models-dir, REELSCOPE_MODELS_DIR)",
    )
