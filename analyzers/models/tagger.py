"""What names sounds by AudioSet's classes: YAMNet in the embedded profile, a larger tagger in the full one.

Both answer in YAMNet's numbering of 521 classes, every `yamnet.HOP_S`, so that an analyzer's tables serve both. They
differ in how much sound one answer is about (`patch_s`), and in the scale of their scores (see ast_tagger).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from pydantic import Field

from analyzers.models import yamnet
from analyzers.models.hub import ModelOptions, gpu_gb
from analyzers.models.yamnet import Samples, Scores
from pipeline.analyzer import Options, Profile, ProfileName
from pipeline.results import ModelInfo
from pipeline.types import AnalyzerSpec

PATCH_GB: Final = 0.02
"""GPU memory of one patch in a batch of AST in 16 bit, counted from shapes: 1214 tokens with a state of 768 (2 MB, a
few at a time) and the feed-forward's 3072 (7.5 MB); SDPA keeps no attention scores. Not measured."""
VIDEOS_AT_ONCE: Final = 8


class Tagger(Protocol):
    """A loaded model.

    Attributes:
        names: of the 521 classes.
        patch_s: how much sound a row of scores is about.
    """

    names: tuple[str, ...]
    patch_s: float

    def scores_many(self, sounds: Sequence[Samples]) -> list[Scores]:
        """For each sound at 16 kHz [N, 521] scores; row i is `i * HOP_S` to `i * HOP_S + patch_s`."""
        ...

    def scores_at(self, wanted: Sequence[tuple[Samples, Sequence[int]]]) -> list[Scores]:
        """For each sound [len(starts), 521]: what is heard in the patch that begins with each sample number."""
        ...


class TagOptions(ModelOptions):
    """Settings of an analyzer that names sounds. All are the full profile's."""

    model: str = Field("ast_audioset", description="an audio spectrogram transformer with AudioSet's classes")
    batch_size: int = Field(64, ge=1, le=1024, description="patches of sound that go through the model at once")
    score_shift: float = Field(
        0.6,
        ge=-5,
        le=5,
        description="added to the model's logits, since the thresholds were set for YAMNet's scores",
    )


def tag_spec(spec: AnalyzerSpec, profile: ProfileName, options: Options) -> AnalyzerSpec:
    """What an analyzer that names sounds needs under a profile."""
    if profile != "full" or not isinstance(options, TagOptions):
        return spec
    return replace(spec, gpu_gb=gpu_gb(options, PATCH_GB * options.batch_size), batch=VIDEOS_AT_ONCE)


def load_tagger(profile: Profile, device: str, options: TagOptions, analyzer: str) -> tuple[Tagger, ModelInfo]:
    """The profile's tagger, and what to say of it in a report.

    Raises:
        ModelUnavailable: the weights are not there, or cannot be used.
    """
    if profile.name == "embedded":
        return yamnet.load(profile)
    from analyzers.models.ast_tagger import load_ast

    return load_ast(profile, device, options, analyzer)
