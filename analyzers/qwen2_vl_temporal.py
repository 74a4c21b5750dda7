"""qwen2_vl_temporal: one description per 1 s window, every 0.5 s.

Qwen2-VL (Wang et al. 2024, arXiv:2409.12191). The embedded profile has no weights for it.
"""

from __future__ import annotations

from analyzers.models.vision_language import VisionLanguage
from pipeline.types import SCAN, AnalyzerSpec


class Qwen2VLTemporal(VisionLanguage):
    """Describes windows of the SCAN view."""

    spec = AnalyzerSpec("qwen2_vl_temporal", "1", SCAN)
