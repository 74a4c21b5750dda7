"""qwen2_vl_temporal: one description per 1 s window, every 0.5 s, and the whole told from them.

Qwen2-VL (Wang et al. 2024, arXiv:2409.12191), and by `model` its successors Qwen2.5-VL and Qwen3-VL. The embedded
profile has no weights for it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, NamedTuple

from pydantic import Field

from analyzers.models.hub import LocalModel, find
from analyzers.models.vision_language import Look, VisionLanguage, VisionLanguageOptions
from analyzers.models.vlm.decode import PREFILL_TOKENS_MAX
from analyzers.models.vlm.engine import FEATURES_BYTES_MAX, PATCHES_MAX
from analyzers.models.vlm.family import Family
from analyzers.models.vlm.qwen import load_qwen
from analyzers.models.vlm.windows import DESCRIBE, windows_of
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch

PROMPT: Final = (
    "This is one second of a video. In one short sentence, say who or what is seen, what happens in it, and how the "
    "camera moves if it does. Name only what is visible."
)


class Shape(NamedTuple):
    """Widths that decide how much a batch takes beside the weights, from the public configs."""

    layers: int
    key_heads: int
    hidden: int
    intermediate: int


SHAPES: Final = {
    "qwen2_vl_2b_instruct": Shape(28, 2, 1536, 8960),
    "qwen2_vl_7b_instruct": Shape(28, 4, 3584, 18944),
    "qwen2_5_vl_7b_instruct": Shape(28, 4, 3584, 18944),
    "qwen3_vl_2b_instruct": Shape(28, 8, 2048, 6144),
    "qwen3_vl_8b_instruct": Shape(36, 8, 4096, 12288),
}
LARGEST: Final = Shape(36, 8, 4096, 18944)
"""Assumed of a folder of the user's own."""
_HEAD_WIDTH: Final = 128
_VISION_HIDDEN, _VISION_INTERMEDIATE = 1280, 5120
_BYTES: Final = 2
"""Of a number in half precision."""


class Qwen2VLTemporalOptions(VisionLanguageOptions):
    """Settings of qwen2_vl_temporal; see `VisionLanguageOptions`."""

    model: str = "qwen2_vl_2b_instruct"
    prompt: str = Field(PROMPT, min_length=1, max_length=2000)


class Qwen2VLTemporal(VisionLanguage):
    """Describes the windows that end in a chunk of `DESCRIBE`."""

    spec = AnalyzerSpec("qwen2_vl_temporal", "1", SCAN)
    options_model = Qwen2VLTemporalOptions
    full_view = DESCRIBE
    full_batch: ClassVar[int] = 64

    @classmethod
    def activations_gb(cls, options: Any) -> float:
        """Keys and values of a full batch, the feed-forward layers of one prefill call and of one call of the vision
        tower (three widths in flight and six of the hidden states), and the features that are remembered."""
        known = find(options.model)
        shape = SHAPES.get(known.name, LARGEST) if known is not None else LARGEST
        cache = options.tokens_per_batch * shape.layers * 2 * shape.key_heads * _HEAD_WIDTH
        prefill = PREFILL_TOKENS_MAX * (3 * shape.intermediate + 6 * shape.hidden)
        vision = min(PATCHES_MAX, options.tokens_per_batch) * (3 * _VISION_INTERMEDIATE + 6 * _VISION_HIDDEN)
        return float((cache + prefill + vision) * _BYTES + FEATURES_BYTES_MAX) / 1e9

    def make_family(self, model: LocalModel, device: str) -> Family:
        """See `VisionLanguage.make_family`."""
        options = self._options()
        family, setup = load_qwen(model, device, options, options.pixels_max)
        import transformers

        self.model = setup.info(model, f"transformers {transformers.__version__}, {setup.attention}")
        return family

    def looks(self, item: FrameBatch) -> list[Look]:
        """One look per window."""
        return [Look(window.start_s, window.end_s, window.pieces) for window in windows_of(item)]
