"""The document: one typed report per analyzer, and the `VideoReport` around them.

The JSON schema of everything here is published under docs/schema/ (see pipeline/schema.py) and is versioned by
`SCHEMA_VERSION`. Times are seconds, boxes `[x0, y0, x1, y1]` in 0..1 of the upright picture, scores 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION: Final = "1.0"


def _rounded(digits: int) -> AfterValidator:
    def to_digits(value: float) -> float:
        if not math.isfinite(value):
            raise ValueError(f"must be finite, got {value}")
        return round(value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0

    return AfterValidator(to_digits)


Seconds = Annotated[float, _rounded(3), Field(description="seconds from the start of the video")]
Score = Annotated[float, Field(ge=-1e-6, le=1 + 1e-6), _rounded(4)]
"""0..1."""
Number = Annotated[float, _rounded(4)]
"""Any finite number, rounded to four digits after the point."""
Coordinate = Annotated[float, _rounded(4)]
Box = tuple[Coordinate, Coordinate, Coordinate, Coordinate]
"""`[x0, y0, x1, y1]` in 0..1 of the upright picture."""
Span = tuple[Seconds, Seconds]


class Document(BaseModel):
    """Base of everything in the report: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Segment(Document):
    """A stretch of time, `start` to `end`, half-open. Analyzers add their fields."""

    start: Seconds
    end: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> Segment:
        if self.end < self.start:
            raise ValueError(f"segment ends at {self.end} before it starts at {self.start}")
        return self


class Summary(Document):
    """What holds for the whole video. Analyzers add their fields."""


SegmentT = TypeVar("SegmentT", bound=Segment)
SummaryT = TypeVar("SummaryT", bound=Summary)


class Report(Document, Generic[SegmentT, SummaryT]):
    """One analyzer's answer: `segments` in order of `start`, that cover what it is responsible for, and `summary`."""

    segments: list[SegmentT]
    summary: SummaryT


class ModelInfo(Document):
    """Which model or method answered, so that nobody mistakes one for another.

    Args:
        id: the hub id, package file or name of the classical method.
        revision: the pinned version of that.
        backend: what executed it, for example ``onnxruntime``.
        device: ``cpu`` or the GPU's name.
        precision: of the arithmetic, for example ``int8``.
        licence: of the weights, SPDX where there is one.
        note: anything a reader must know.
        random_weights: nothing was learned: the numbers are for speed and tests, and the answer is not one.
    """

    id: str
    revision: str
    backend: str
    device: str = "cpu"
    precision: str = "float32"
    licence: str = "Apache-2.0"
    note: str | None = None
    random_weights: bool = False


class VideoFacts(Document):
    """What the file is, measured by reading it and not from its headers alone.

    `fps` is frames over duration (a mean: the rate may vary), `rotation` the clockwise turn in degrees that shows the
    picture upright; `width` and `height` are upright. `lost` lists the stretches that could not be decoded.
    """

    source: str
    sha256: str
    bytes: int
    duration_s: Seconds
    width: int = 0
    height: int = 0
    rotation: int = 0
    fps: Number = 0.0
    frames: int = 0
    video_codec: str | None = None
    audio_codec: str | None = None
    has_video: bool = True
    has_audio: bool = False
    bad_packets: int = 0
    lost: list[Span] = Field(default_factory=list)
    container: str = ""


class ErrorInfo(Document):
    """Why an analyzer failed."""

    type: str
    message: str


class Timing(Document):
    """Where an analyzer's time went, in seconds of the run's clock.

    `queued_s` is the sum over its chunks of waiting for a worker, `busy_s` the sum of working, `cpu_s` the CPU seconds
    of that work, `first_s` and `done_s` when its first chunk and its report were ready.
    """

    queued_s: Seconds = 0.0
    busy_s: Seconds = 0.0
    cpu_s: Seconds = 0.0
    first_s: Seconds | None = None
    done_s: Seconds | None = None
    chunks: int = 0


Status = Literal["ok", "failed", "skipped"]


class AnalyzerResult(Document):
    """One analyzer's outcome. `report` is there exactly when `status` is ``ok``."""

    name: str
    version: str
    status: Status
    reason: str | None = None
    error: ErrorInfo | None = None
    model: ModelInfo | None = None
    timing: Timing = Timing()
    report: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> AnalyzerResult:
        if (self.report is not None) != (self.status == "ok"):
            raise ValueError(f"{self.name}: a report and the status {self.status!r} do not go together")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"{self.name}: {self.status} needs a reason")
        return self

    @property
    def is_random(self) -> bool:
        """Whether the model, or one that it builds on, has learned nothing: the report is no answer."""
        return self.model is not None and self.model.random_weights


class SecondCoverage(Document):
    """How much of one second the report can tell again, each part 0..1."""

    second: int
    seen: Score
    heard: Score
    said: Score
    described: Score


class Coverage(Document):
    """What the field calls a reconstruction score; the formula is in docs/coverage.md."""

    score: Annotated[float, Field(ge=0, le=100), _rounded(1)]
    formula_version: str
    per_second: list[SecondCoverage]
    uncovered: list[Span]


class RunFigures(Document):
    """What the run cost.

    `overlap` is CPU seconds of decoding and analyzers over cores x wall, `decode_s` the decoder's CPU seconds,
    `first_chunk_s` when the first analyzer began its first chunk.
    """

    wall_s: Seconds
    rtf: Number
    speed_x: Number
    decode_s: Seconds
    decode_passes: int
    overlap: Number
    cpu_util: Score | None = None
    gpu_util: Score | None = None
    gpu_samples: int = 0
    gpu_mem_peak_gb: Number | None = None
    first_chunk_s: Seconds | None = None
    host: dict[str, Any]
    versions: dict[str, str]


class VideoReport(Document):
    """Everything about one video."""

    schema_version: str = SCHEMA_VERSION
    created_at: datetime
    profile: str
    video: VideoFacts
    analyzers: dict[str, AnalyzerResult]
    coverage: Coverage | None = None
    run: RunFigures

    def statuses(self) -> dict[str, int]:
        """How many analyzers ended ``ok``, ``failed`` and ``skipped``."""
        found = [result.status for result in self.analyzers.values()]
        return {status: found.count(status) for status in ("ok", "failed", "skipped")}


@dataclass(frozen=True)
class Upstream(Mapping[str, Any]):
    """What `Analyzer.summarize` may build on: reports of other analyzers by name, and the facts of the video.

    Args:
        video: the facts as probed, before decoding ended.
        reports: typed reports of the analyzers named in `after` (all there) and in `after_if_ok` (those that are ok).
        missing: for the others of `after_if_ok`, why they are not there.
    """

    video: VideoFacts
    reports: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.reports[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.reports)

    def __len__(self) -> int:
        return len(self.reports)
