"""The worker actor: one process around one analyzer, for as many videos as come."""

from __future__ import annotations

import importlib.util
from typing import Any

from pipeline.analyzer import Options, Profile
from pipeline.blocks import from_table
from pipeline.registry import AnalyzerClass
from pipeline.results import Upstream
from pipeline.worker import AnalyzerWorker, Outcome


class WorkerActor:
    """Loads its analyzer when it is created, so that Ray's restart of a dead actor loads it again.

    Args:
        analyzer_class: what to run.
        options: its settings.
        device: ``cpu`` or ``cuda:0`` (Ray shows each actor only the GPU that it was given).
        profile: which weights.
        gpu_share: the fraction of the GPU's memory that this process may take; Ray itself does not enforce it.
    """

    def __init__(
        self, analyzer_class: AnalyzerClass, options: Options, device: str, profile: Profile, gpu_share: float = 0.0
    ) -> None:
        if gpu_share > 0:
            _cap_gpu_memory(gpu_share)
        self._worker = AnalyzerWorker(analyzer_class, options, device, profile)
        self._loaded = self._worker.load()

    def load(self) -> Outcome:
        """How loading went."""
        return self._loaded

    def analyze(self, *tables: Any) -> list[Outcome]:
        """Outcomes of chunks, given as references to their blocks."""
        return self._worker.analyze([from_table(table) for table in tables])

    def summarize(self, parts: list[Any], upstream: Upstream) -> Outcome:
        """The outcome of the report."""
        return self._worker.summarize(parts, upstream)


def _cap_gpu_memory(share: float) -> None:
    if importlib.util.find_spec("torch") is None:
        return  # the analyzer's library is another one, which has to keep to `gpu_gb` by itself
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(min(1.0, share))
