"""Small analyzers with answers that can be computed by hand, and ones that misbehave on purpose."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pipeline.analyzer import Analyzer, Options, Profile
from pipeline.errors import NotApplicable
from pipeline.results import ModelInfo, Number, Report, Segment, Summary, Upstream
from pipeline.types import AUDIO, SCAN, THUMB, AnalyzerSpec, AudioTrack, FrameBatch


class ToySegment(Segment):
    value: Number


class ToySummary(Summary):
    total: Number
    upstream: list[str]


class ToyReport(Report[ToySegment, ToySummary]):
    pass


ToyPart = tuple[float, float, float]


class Toy(Analyzer[ToyPart, ToyReport]):
    def load(self, device: str, profile: Profile) -> None:
        self.model = ModelInfo(id="toy", revision="1", backend="numpy", device=device)

    def analyze(self, item: FrameBatch | AudioTrack) -> ToyPart:
        if isinstance(item, AudioTrack):
            return item.start_s, item.end_s, float(abs(item.samples).mean()) if len(item.samples) else 0.0
        return item.start_s, item.end_s, float(item.frames[item.lead_in :].mean())

    def summarize(self, parts: Sequence[ToyPart], upstream: Upstream) -> ToyReport:
        segments = [ToySegment(start=start, end=end, value=value) for start, end, value in parts]
        total = sum(part[2] for part in parts)
        return ToyReport(segments=segments, summary=ToySummary(total=total, upstream=sorted(upstream)))


class Brightness(Toy):
    spec = AnalyzerSpec("brightness", "1", SCAN)


class Frames(Toy):
    spec = AnalyzerSpec("frames", "1", THUMB)

    def analyze(self, item: Any) -> ToyPart:
        return item.start_s, item.end_s, float(len(item.frames))


class Sound(Toy):
    spec = AnalyzerSpec("sound", "1", AUDIO)


class Needs(Toy):
    spec = AnalyzerSpec("needs", "1", None, after=("brightness",))


class Uses(Toy):
    spec = AnalyzerSpec("uses", "1", None, after_if_ok=("brightness", "sound"))


class OnGpu(Toy):
    spec = AnalyzerSpec("big", "1", SCAN, gpu_gb=12.0)


class OnGpuToo(Toy):
    spec = AnalyzerSpec("small", "1", SCAN, gpu_gb=2.4)


class FailsOnChunk(Toy):
    spec = AnalyzerSpec("brightness", "1", SCAN)

    def analyze(self, item: Any) -> ToyPart:
        if item.index == 1:
            raise RuntimeError("the second chunk is bad")
        return super().analyze(item)


class FailsToLoad(Toy):
    spec = AnalyzerSpec("brightness", "1", SCAN)

    def load(self, device: str, profile: Profile) -> None:
        raise NotApplicable("no weights in this profile")


class FailsInSummary(Toy):
    spec = AnalyzerSpec("brightness", "1", SCAN)

    def summarize(self, parts: Sequence[ToyPart], upstream: Upstream) -> ToyReport:
        return "not a report"  # type: ignore[return-value]


class MarkerOptions(Options):
    folder: str = ""


class DiesOnce(Toy):
    """Its process ends on chunk 1 the first time that it sees it; a file remembers that it has."""

    spec = AnalyzerSpec("brightness", "1", SCAN)
    options_model: ClassVar[type[Options]] = MarkerOptions

    def analyze(self, item: Any) -> ToyPart:
        marker = Path(self.options.folder) / "died"  # type: ignore[attr-defined]
        if item.index == 1 and not marker.exists():
            marker.touch()
            os._exit(1)
        return super().analyze(item)


class DiesAlways(Toy):
    spec = AnalyzerSpec("brightness", "1", SCAN)

    def analyze(self, item: Any) -> ToyPart:
        if item.index == 1:
            os._exit(1)
        return super().analyze(item)


class Hangs(Toy):
    spec = AnalyzerSpec("brightness", "1", SCAN, timeout_s=0.5)

    def analyze(self, item: Any) -> ToyPart:
        time.sleep(3)
        return super().analyze(item)


class Slow(Toy):
    spec = AnalyzerSpec("slow", "1", SCAN)

    def analyze(self, item: Any) -> ToyPart:
        time.sleep(0.15)
        return super().analyze(item)


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


class Batches(Toy):
    """Takes at most two items at once before its memory runs out; remembers the sizes it was asked for."""

    spec = AnalyzerSpec("batches", "1", SCAN, batch=8)

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        self.sizes: list[int] = []

    def analyze_many(self, items: Sequence[Any]) -> list[ToyPart]:
        self.sizes.append(len(items))
        if len(items) > 2:
            raise OutOfMemoryError("CUDA out of memory")
        return [self.analyze(item) for item in items]
