"""How the analyzers share a machine: CPU shares and GPU fractions, checked before anything starts.

Ray only keeps books on CPUs and GPUs. The plan turns what the specs ask for into fractions that fit: CPU shares are
scaled down so that all actors and the decode reservation start even on two cores; `gpu_gb` becomes a fraction of one
device's memory, and what does not fit is an error that says what would.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.errors import PlanError
from pipeline.types import AnalyzerSpec

# Ray's resource arithmetic has four digits; shares are rounded down to it so that their sum still fits.
_DIGITS = 10_000
# Of a GPU's memory, what the driver and the CUDA context of each process take is not ours to plan with.
GPU_USABLE = 0.94


@dataclass(frozen=True)
class Machine:
    """What there is to share: logical CPUs, and the memory in GB of each GPU.

    `logical_gpus` says that the GPUs are only counted and that models run on the CPU.
    """

    cpus: float
    gpus_gb: tuple[float, ...] = ()
    logical_gpus: bool = False


@dataclass(frozen=True)
class Share:
    """One analyzer's part: replicas, and per replica its CPU share, threads, GPU fraction and memory in GB."""

    replicas: int
    cpus: float
    threads: int
    gpu_fraction: float = 0.0
    gpu_gb: float = 0.0
    gpu_index: int | None = None


@dataclass(frozen=True)
class Plan:
    """The shares by analyzer name, the CPUs that each decode stream reserves, and who runs in which process."""

    machine: Machine
    shares: dict[str, Share]
    decode_cpus: float
    processes: tuple[tuple[str, ...], ...]


def make_plan(
    specs: Iterable[AnalyzerSpec],
    machine: Machine,
    decode_cpus: float = 1.0,
    together: Sequence[Sequence[str]] = (),
) -> Plan:
    """Fit the analyzers to the machine.

    Args:
        specs: those to run.
        machine: what there is.
        decode_cpus: the share each decode stream would like.
        together: names that share a process, where they need no GPU and no replicas; names not in `specs` are ignored.

    Raises:
        PlanError: the GPU analyzers do not fit; the message says by how much and what would help.
    """
    specs = sorted(specs, key=lambda spec: spec.name)
    decode_cpus = decode_share(machine, decode_cpus)
    on_gpu = [spec for spec in specs if spec.gpu_gb > 0] if machine.gpus_gb else []
    placed = _place(on_gpu, machine)
    asked = sum(spec.cpus * spec.replicas for spec in specs)
    scale = min(1.0, (machine.cpus - decode_cpus) / asked) if asked else 1.0
    shares = {}
    for spec in specs:
        cpus = math.floor(spec.cpus * scale * _DIGITS) / _DIGITS
        index = placed.get(spec.name)
        shares[spec.name] = Share(
            replicas=spec.replicas,
            cpus=cpus,
            threads=max(1, math.floor(cpus)),
            gpu_fraction=0.0 if index is None else fraction(spec.gpu_gb, machine.gpus_gb[index]),
            gpu_gb=0.0 if index is None else spec.gpu_gb,
            gpu_index=index,
        )
    return Plan(machine, shares, decode_cpus, _processes(shares, together))


def gpu_sizes_gb() -> tuple[float, ...]:
    """Memory of each GPU of this machine in GB; empty without a GPU or its driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return tuple(pynvml.nvmlDeviceGetMemoryInfo(handle).total / 1e9 for handle in handles)
    except pynvml.NVMLError:
        return ()


def decode_share(machine: Machine, wanted: float) -> float:
    """The CPU share of one decode stream: what is wanted, but at most a quarter of the machine."""
    return min(wanted, machine.cpus / 4)


def fraction(gpu_gb: float, device_gb: float) -> float:
    """The fraction of a device that is at least `gpu_gb`, in Ray's arithmetic."""
    return math.ceil(gpu_gb / device_gb * _DIGITS) / _DIGITS


def _processes(shares: dict[str, Share], together: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """One process per replica, but for those that share one."""
    small = {name for name, share in shares.items() if share.replicas == 1 and not share.gpu_fraction}
    group_of = {name: number for number, group in enumerate(together) for name in group if name in small}
    groups: dict[int, list[str]] = {}
    for name, number in group_of.items():
        groups.setdefault(number, []).append(name)
    alone = [(name,) for name, share in shares.items() if name not in group_of for _ in range(share.replicas)]
    return (*alone, *(tuple(names) for names in groups.values()))


def _place(specs: list[AnalyzerSpec], machine: Machine) -> dict[str, int]:
    """First fit, largest first. Returns the device of each (its first replica's)."""
    free = [size * GPU_USABLE for size in machine.gpus_gb]
    placed: dict[str, int] = {}
    for spec in sorted(specs, key=lambda spec: -spec.gpu_gb):
        for _ in range(spec.replicas):
            index = next((i for i, room in enumerate(free) if room >= spec.gpu_gb), None)
            if index is None:
                needed = sum(other.gpu_gb * other.replicas for other in specs)
                usable = sum(size * GPU_USABLE for size in machine.gpus_gb)
                raise PlanError(
                    f"{spec.name} needs {spec.gpu_gb:g} GB of one GPU and the most that is left is {max(free):.1f} GB "
                    f"(all together need {needed:.1f} of {usable:.1f} usable GB); choose fewer analyzers, fewer "
                    "replicas, or a smaller model in its settings"
                )
            free[index] -= spec.gpu_gb
            placed.setdefault(spec.name, index)
    return placed
