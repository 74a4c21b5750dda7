"""How the analyzers share a machine: CPU shares and GPU memory, checked before anything starts.

Ray only keeps books on CPUs and GPUs. The plan says which process runs on which GPU, with how much of its memory: CPU
shares are scaled down so that all actors and the decode reservation start even on two cores; `gpu_gb` becomes a
fraction of one device's memory, and what does not fit is an error (cluster/advice.py says which settings would).
The rules for GPUs:

1. Analyzers of one group of `together_on_gpu` share a process; the CUDA context is counted once.
2. Processes are placed largest first, each on the GPU with the most free memory, so that the GPUs share the work. Where
   that does not fit all of them, each goes to the first GPU that has room (first fit, which packs tighter).
3. With several GPUs, the analyzers of `replicate` then get one more replica on each GPU that has none yet and room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import PlanError
from pipeline.settings import Settings
from pipeline.types import GPU_CONTEXT_GB, AnalyzerSpec

# Ray's resource arithmetic has four digits; shares are rounded down to it so that their sum still fits.
_DIGITS = 10_000
# Of a GPU's memory, what the driver and allocators' fragments take is not ours to plan with.
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
    """One analyzer's part: its replicas, and per replica the CPU share, threads and GPU memory in GB.

    `gpus` holds the device of each replica; it is empty on the CPU.
    """

    replicas: int
    cpus: float
    threads: int
    gpu_gb: float = 0.0
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Process:
    """One worker process: its analyzers, their CPU shares together, and its part of one GPU (`gpu` None: of none)."""

    names: tuple[str, ...]
    cpus: float
    gpu: int | None = None
    gpu_gb: float = 0.0
    gpu_fraction: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The shares by analyzer name, the CPUs that each decode stream reserves, and the processes.

    Processes are in the order in which they are started: those that take most of a GPU first.
    """

    machine: Machine
    shares: dict[str, Share]
    decode_cpus: float
    processes: tuple[Process, ...]

    def free_gb(self) -> tuple[float, ...]:
        """What is left to plan with on each GPU, in GB."""
        free = [size * GPU_USABLE for size in self.machine.gpus_gb]
        for process in self.processes:
            if process.gpu is not None:
                free[process.gpu] -= process.gpu_gb
        return tuple(free)


@dataclass(frozen=True)
class _Unit:
    """A process that wants a place on a GPU."""

    names: tuple[str, ...]
    gpu_gb: float

    @property
    def label(self) -> str:
        return " + ".join(self.names)


def plan_for(specs: Mapping[str, AnalyzerSpec], machine: Machine, settings: Settings) -> Plan:
    """Fit the analyzers to the machine as the settings wish; `make_plan` says how and what it raises.

    A number of replicas that `[plan.NAME]` states is not raised.
    """
    ray = settings.ray
    fixed = {name for name, override in settings.plan.items() if override.replicas is not None}
    return make_plan(
        specs.values(),
        machine,
        ray.decode_cpus,
        ray.together,
        together_on_gpu=ray.together_on_gpu,
        replicate=[name for name in ray.replicate if name not in fixed],
    )


def make_plan(
    specs: Iterable[AnalyzerSpec],
    machine: Machine,
    decode_cpus: float = 1.0,
    together: Sequence[Sequence[str]] = (),
    *,
    together_on_gpu: Sequence[Sequence[str]] = (),
    replicate: Sequence[str] = (),
) -> Plan:
    """Fit the analyzers to the machine.

    Args:
        specs: those to run.
        machine: what there is.
        decode_cpus: the share each decode stream would like.
        together: names that share a process if they need no GPU and no replicas; names not in `specs` are ignored.
        together_on_gpu: the same for those that need one.
        replicate: names that get more replicas where there are more GPUs, the most important first.

    Raises:
        PlanError: the GPU analyzers do not fit; the message says which and by how much.
    """
    specs = sorted(specs, key=lambda spec: spec.name)
    decode_cpus = decode_share(machine, decode_cpus)
    on_gpu = {spec.name: spec for spec in specs if spec.gpu_gb > 0} if machine.gpus_gb else {}
    placed = _place(_units(on_gpu, together_on_gpu), machine)
    placed += _more_replicas(on_gpu, placed, machine, replicate)
    replicas = {spec.name: spec.replicas for spec in specs}
    replicas |= {name: sum(name in unit.names for unit, _ in placed) for name in on_gpu}
    asked = sum(spec.cpus * replicas[spec.name] for spec in specs)
    scale = min(1.0, (machine.cpus - decode_cpus) / asked) if asked else 1.0
    shares = {}
    for spec in specs:
        cpus = math.floor(spec.cpus * scale * _DIGITS) / _DIGITS
        shares[spec.name] = Share(
            replicas=replicas[spec.name],
            cpus=cpus,
            threads=max(1, math.floor(cpus)),
            gpu_gb=spec.gpu_gb if spec.name in on_gpu else 0.0,
            gpus=tuple(device for unit, device in placed if spec.name in unit.names),
        )
    # One that wants a GPU keeps a process of its own where there is none: it would hold up the small ones.
    small = [spec.name for spec in specs if spec.replicas == 1 and not spec.gpu_gb]
    on_cpu = [spec.name for spec in specs if spec.name not in on_gpu]
    processes = [
        Process(
            unit.names,
            _total(shares[name].cpus for name in unit.names),
            device,
            unit.gpu_gb,
            fraction(unit.gpu_gb, machine.gpus_gb[device]),
        )
        for unit, device in sorted(placed, key=lambda place: (-place[0].gpu_gb, place[0].names, place[1]))
    ]
    for names in _groups(on_cpu, small, together):
        cpus = _total(shares[name].cpus for name in names)
        processes += [Process(names, cpus)] * replicas[names[0]]
    return Plan(machine, shares, decode_cpus, tuple(processes))


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


def shared_gb(gpu_gb: Iterable[float]) -> float:
    """GPU memory of one process with several analyzers: the context is there once."""
    return GPU_CONTEXT_GB + sum(max(0.0, one - GPU_CONTEXT_GB) for one in gpu_gb)


def _total(cpus: Iterable[float]) -> float:
    return round(sum(cpus), 4)


def _groups(names: Sequence[str], small: Sequence[str], together: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """One group per name, but for the small ones that share. A name in several groups belongs to the last."""
    group_of = {name: number for number, group in enumerate(together) for name in group if name in small}
    groups: dict[int, list[str]] = {}
    for name, number in group_of.items():
        groups.setdefault(number, []).append(name)
    return [(name,) for name in names if name not in group_of] + [tuple(group) for group in groups.values()]


def _units(specs: Mapping[str, AnalyzerSpec], together: Sequence[Sequence[str]]) -> list[_Unit]:
    """The processes that want a GPU, largest first."""
    single = [name for name, spec in specs.items() if spec.replicas == 1]
    units = []
    for names in _groups(list(specs), single, together):
        size = specs[names[0]].gpu_gb if len(names) == 1 else shared_gb(specs[name].gpu_gb for name in names)
        units += [_Unit(names, size)] * specs[names[0]].replicas
    return sorted(units, key=lambda unit: (-unit.gpu_gb, unit.names))


def _place(units: Sequence[_Unit], machine: Machine) -> list[tuple[_Unit, int]]:
    """The device of each: spread, or else packed."""
    spread = _put(units, machine, lambda fitting, free: max(fitting, key=lambda device: (free[device], -device)))
    packed = spread or _put(units, machine, lambda fitting, free: fitting[0])
    if packed is None:
        raise PlanError(_why_not(units, machine))
    return packed


def _put(
    units: Sequence[_Unit], machine: Machine, choose: Callable[[list[int], list[float]], int]
) -> list[tuple[_Unit, int]] | None:
    """Place one after another by a rule that chooses among the devices with room; None if one finds no room."""
    free = [size * GPU_USABLE for size in machine.gpus_gb]
    placed = []
    for unit in units:
        fitting = [device for device, room in enumerate(free) if room >= unit.gpu_gb]
        if not fitting:
            return None
        device = choose(fitting, free)
        free[device] -= unit.gpu_gb
        placed.append((unit, device))
    return placed


def _more_replicas(
    specs: Mapping[str, AnalyzerSpec],
    placed: Sequence[tuple[_Unit, int]],
    machine: Machine,
    replicate: Sequence[str],
) -> list[tuple[_Unit, int]]:
    """One more replica at a time for each of `replicate` in turn, on a GPU that has none of it and room."""
    free = [size * GPU_USABLE for size in machine.gpus_gb]
    has: dict[str, set[int]] = {}
    for unit, device in placed:
        free[device] -= unit.gpu_gb
        for name in unit.names:
            has.setdefault(name, set()).add(device)
    alone = [name for name in replicate if name in specs and any(unit.names == (name,) for unit, _ in placed)]
    more: list[tuple[_Unit, int]] = []
    growing = True
    while growing:
        growing = False
        for name in alone:
            size = specs[name].gpu_gb
            fitting = [device for device, room in enumerate(free) if room >= size and device not in has[name]]
            if fitting:
                device = max(fitting, key=lambda index: (free[index], -index))
                free[device] -= size
                has[name].add(device)
                more.append((_Unit((name,), size), device))
                growing = True
    return more


def _why_not(units: Sequence[_Unit], machine: Machine) -> str:
    """Which process found no room when they were packed, and how much is missing."""
    free = [size * GPU_USABLE for size in machine.gpus_gb]
    for unit in units:
        device = next((index for index, room in enumerate(free) if room >= unit.gpu_gb), None)
        if device is not None:
            free[device] -= unit.gpu_gb
            continue
        needed, usable = sum(one.gpu_gb for one in units), sum(size * GPU_USABLE for size in machine.gpus_gb)
        return (
            f"{unit.label} needs {unit.gpu_gb:.1f} GB of one GPU and the most that is left is {max(free):.1f} GB, "
            f"{unit.gpu_gb - max(free):.1f} GB too little (all together need {needed:.1f} of {usable:.1f} usable GB)"
        )
    raise AssertionError("everything fits")
