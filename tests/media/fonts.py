"""Fonts with umlauts for captions in test clips, from pinned font packages (Pillow's own default has none)."""

from __future__ import annotations

from functools import cache
from typing import Final

from PIL import ImageFont

from tests.media.packages import package_file

FACES: Final = {
    "regular": "SourceSansPro-Regular.ttf",
    "bold": "SourceSansPro-Bold.ttf",
    "heavy": "Manrope-ExtraBold.ttf",
}
"""Face by name; all cover Latin with umlauts, accents, the sharp s and the euro sign."""


@cache
def font(size_px: int, face: str = "bold") -> ImageFont.FreeTypeFont:
    """A scalable font of that size in pixels per em.

    Raises:
        KeyError: there is no such face.
        pipeline.errors.ModelUnavailable: its package cannot be fetched.
    """
    return ImageFont.truetype(str(package_file(FACES[face])), size_px)
