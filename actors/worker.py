"""The worker actor: one process around one analyzer, or a few small ones, for as many videos as come."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from pipeline.analyzer import Options, Profile
from pipeline.blocks import from_table
from pipeline.isolate import be_nice
from pipeline.registry import AnalyzerClass
from pipeline.results import Upstream
from pipeline.types import GPU_CONTEXT_GB
from pipeline.worker import AnalyzerWorker, Outcome


class WorkerActor:
    """Loads its analyzers when it is created, so that Ray's restart of a dead actor loads them again.

    Args:
        analyzers: what to run, and with which settings.
        device: ``cpu`` or ``cuda:0`` (Ray shows each actor only the GPU that it was given).
        profile: which weights.
        gpu_gb: how much of the GPU's memory this process may take, in GB; Ray itself does not enforce it.
        niceness: of this process, 0 to 19.
    """

    def __init__(
        self,
        analyzers: Sequence[tuple[AnalyzerClass, Options]],
        device: str,
        profile: Profile,
        gpu_gb: float = 0.0,
        niceness: int = 0,
    ) -> None:
        be_nice(niceness)
        if device != "cpu" and gpu_gb > 0:
            _cap_gpu_memory(gpu_gb)
        self._workers = {
            analyzer_class.spec.name: AnalyzerWorker(analyzer_class, options, device, profile)
            for analyzer_class, options in analyzers
        }
        self._loaded = {name: worker.load() for name, worker in self._workers.items()}

    def load(self, name: str) -> Outcome:
        """How loading that analyzer went."""
        return self._loaded[name]

    def analyze(self, name: str, positions: Sequence[int], *blocks: Any) -> list[Outcome]:
        """Outcomes of chunks, given as references to their groups' blocks and the positions in them."""
        return self._workers[name].analyze([from_table(*where) for where in zip(blocks, positions, strict=True)])

    def summarize(self, name: str, parts: list[Any], upstream: Upstream) -> Outcome:
        """The outcome of the report."""
        return self._workers[name].summarize(parts, upstream)


def _cap_gpu_memory(gpu_gb: float) -> None:
    """Make torch raise OutOfMemoryError at the planned figure, instead of taking memory from the processes beside it.

    The cap is one for all analyzers of this process. It does not hold back what torch does not allocate: the CUDA
    context, which is why that is taken off, and CTranslate2, which has no such limit.
    """
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.0, gpu_gb - GPU_CONTEXT_GB) * 1e9 / total))
