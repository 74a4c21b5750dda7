"""video_llava: descriptions of the whole video and of its scenes.

LLaVA-NeXT-Video 7B (Zhang et al. 2024, LLaVA-NeXT). The embedded profile has no weights for it.
"""

from __future__ import annotations

from analyzers.models.vision_language import VisionLanguage
from pipeline.types import SCAN, AnalyzerSpec


class VideoLlava(VisionLanguage):
    """Describes the SCAN view as one video."""

    spec = AnalyzerSpec("video_llava", "1", SCAN)
