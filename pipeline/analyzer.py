"""The base of every analyzer. An analyzer is one idea about video; it knows nothing of Ray, queues or other videos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from pipeline.results import ModelInfo, Report, Upstream
from pipeline.types import AnalyzerSpec, Item

ProfileName = Literal["embedded", "full"]
Part = TypeVar("Part")
ReportT = TypeVar("ReportT", bound=Report[Any, Any])


@dataclass(frozen=True, slots=True)
class Profile:
    """Which weights are used.

    Args:
        name: ``embedded`` (from packages, offline, CPU) or ``full`` (hub weights, GPU).
        models_dir: the model store.
    """

    name: ProfileName
    models_dir: Path


class Options(BaseModel):
    """Base of an analyzer's own settings (`[analyzers.NAME]` in the configuration file)."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Analyzer(ABC, Generic[Part, ReportT]):
    """One kind of insight.

    A subclass is written `class CameraAnalysis(Analyzer[CameraPart, CameraReport])` and sets `spec`. `Part` is what
    one item becomes: small (1 MB pickled at most) and independent of other items, since one instance serves many videos
    and items of one video may go to several instances. What must be known about the chunk before comes from the view's
    `lead_in`; what needs the whole video happens in `summarize`.

    A subclass with settings of its own names their model in `options_model`; they are in `self.options`.
    """

    spec: ClassVar[AnalyzerSpec]
    options_model: ClassVar[type[Options]] = Options
    report_model: ClassVar[type[Report[Any, Any]]]
    tiles: ClassVar[bool] = False
    """Whether segments follow each other without a gap from the first to the last moment of what was read."""
    model: ModelInfo
    """Which model or method answers; `load` sets it."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options if options is not None else self.options_model()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "spec" not in cls.__dict__:
            return  # an abstract base between Analyzer and concrete ones
        if not isinstance(cls.spec, AnalyzerSpec):
            raise TypeError(f"{cls.__name__}.spec must be an AnalyzerSpec, got {type(cls.spec).__name__}")
        report = cls._report_argument()
        if report is None:
            raise TypeError(
                f"{cls.__name__} must name its part and report types: class {cls.__name__}(Analyzer[MyPart, MyReport])"
            )
        cls.report_model = report
        if cls.spec.needs is not None and cls.analyze is Analyzer.analyze and cls.analyze_many is Analyzer.analyze_many:
            raise TypeError(f"{cls.__name__} needs {cls.spec.needs} and so must define analyze or analyze_many")

    @classmethod
    def _report_argument(cls) -> type[Report[Any, Any]] | None:
        for base in cls.__mro__:
            for parent in getattr(base, "__orig_bases__", ()):
                origin = get_origin(parent)
                if isinstance(origin, type) and issubclass(origin, Analyzer):
                    candidate = get_args(parent)[-1]
                    if isinstance(candidate, type) and issubclass(candidate, Report):
                        return candidate
        return None

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """What this analyzer needs under a profile and its own settings.

        By default `spec`. One whose model of the full profile needs more (GPU memory, a view, larger batches) returns
        `dataclasses.replace(cls.spec, ...)`; name and version stay. Called without any weights at hand.
        """
        return cls.spec

    def load(self, device: str, profile: Profile) -> None:
        """Import heavy libraries and read weights, once per worker; set `self.model`.

        Args:
            device: ``cpu`` or ``cuda:0``.
            profile: which weights.

        Raises:
            NotApplicable: the profile has no weights for this analyzer; it will be skipped.
            ModelUnavailable: weights that should be there are not.
        """
        raise NotImplementedError(f"{type(self).__name__} must define load and set self.model")

    def analyze(self, item: Any) -> Part:
        """Turn one `FrameBatch` or `AudioTrack` into a part. Must not write to it and must not remember it."""
        raise NotImplementedError(f"{type(self).__name__} reads no view")

    def analyze_many(self, items: Sequence[Item]) -> list[Part]:
        """Parts of up to `spec.batch` items of any videos, in their order."""
        return [self.analyze(item) for item in items]

    @abstractmethod
    def summarize(self, parts: Sequence[Part], upstream: Upstream) -> ReportT:
        """Make the report from all parts of one video, in order, and the reports it depends on.

        Raises:
            NotApplicable: this video has nothing to report on; the result is `skipped` with the reason.
        """
