"""What an open-vocabulary detector is asked for by default: goods that short videos advertise, and their groups.

Where COCO has the thing too, its name is COCO's, so that both finds become one product.
"""

from __future__ import annotations

from typing import Final

# fmt: off
QUERIES: Final[dict[str, tuple[str, ...]]] = {
    "carried": ("cell phone", "laptop", "tablet computer", "headphones", "camera", "wristwatch", "sunglasses",
                "handbag", "backpack", "suitcase", "shoe", "hat", "ring", "necklace", "book", "bottle", "cup",
                "teddy bear", "game controller"),
    "beauty": ("lipstick", "perfume bottle", "cream jar", "makeup palette", "nail polish", "hair drier", "toothbrush",
               "razor"),
    "food": ("drink can", "snack bag", "chocolate bar", "pizza", "burger", "donut", "cake", "pill bottle"),
    "household": ("vacuum cleaner", "coffee machine", "blender", "frying pan", "candle", "cardboard box"),
    "vehicle": ("car", "motorcycle", "bicycle", "electric scooter"),
}
# fmt: on
OTHER: Final = "other"
"""The group of names that are asked for by settings."""


def group_of(name: str) -> str:
    """The group of a thing."""
    return next((group for group, names in QUERIES.items() if name in names), OTHER)
