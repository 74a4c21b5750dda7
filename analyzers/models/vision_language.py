"""What the three vision-language analyzers share: their report, and that they say nothing without weights.

No package ships the weights of such a model, so the embedded profile has none: the result is `skipped`, and no other
analyzer and no figure counts it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.analyzer import Analyzer, Profile
from pipeline.errors import ModelUnavailable, NotApplicable
from pipeline.results import Report, Segment, Summary, Upstream
from pipeline.types import FrameBatch

NO_WEIGHTS = "no weights in this profile"


class DescriptionSegment(Segment):
    """A stretch of the video in words."""

    description: str


class DescriptionSummary(Summary):
    """The whole video in words."""

    description: str


class DescriptionReport(Report[DescriptionSegment, DescriptionSummary]):
    """What a vision-language model says about the video."""


class VisionLanguage(Analyzer[None, DescriptionReport]):
    """Base of the three."""

    def load(self, device: str, profile: Profile) -> None:
        """See `Analyzer.load`."""
        if profile.name == "embedded":
            raise NotApplicable(NO_WEIGHTS)
        raise ModelUnavailable(
            f"{self.spec.name} cannot load its model yet; leave it out with `disabled`, or use the embedded profile"
        )

    def analyze(self, item: FrameBatch) -> None:
        """Nothing can be said without weights."""
        raise NotApplicable(NO_WEIGHTS)

    def summarize(self, parts: Sequence[None], upstream: Upstream) -> DescriptionReport:
        """See `analyze`."""
        raise NotApplicable(NO_WEIGHTS)
