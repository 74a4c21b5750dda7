"""blip2: a caption per segment.

BLIP-2 (Li et al. 2023, arXiv:2301.12597). The embedded profile has no weights for it.
"""

from __future__ import annotations

from analyzers.models.vision_language import VisionLanguage
from pipeline.types import SCAN, AnalyzerSpec


class Blip2(VisionLanguage):
    """Captions pictures of the SCAN view."""

    spec = AnalyzerSpec("blip2", "1", SCAN)
