"""What areas of ADE20K's 150 classes tell about the setting (Zhou et al., Scene Parsing through ADE20K, CVPR 2017).

Classes of rooms and streets alike (wall, windowpane, door, table, chair, plant, painting, stairs, ...) tell
nothing. The map is by reasoning on the class names, not fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from analyzers.methods.surroundings import Evidence

# fmt: off
OUTDOOR_AREAS: Final = frozenset((
    "sky", "building", "tree", "road", "grass", "sidewalk", "earth", "mountain", "car", "water", "house", "sea",
    "field", "rock", "sand", "skyscraper", "grandstand", "path", "runway", "river", "bridge", "hill", "palm", "boat",
    "hovel", "bus", "truck", "tower", "streetlight", "airplane", "dirt track", "land", "van", "ship", "waterfall",
    "lake", "pier", "traffic light",
))
INDOOR_AREAS: Final = frozenset((
    "floor", "ceiling", "bed", "cabinet", "curtain", "sofa", "shelf", "rug", "armchair", "desk", "wardrobe", "bathtub",
    "chest of drawers", "counter", "sink", "fireplace", "refrigerator", "pool table", "pillow", "bookcase", "blind",
    "coffee table", "toilet", "countertop", "stove", "kitchen island", "swivel chair", "chandelier",
    "television receiver", "escalator", "ottoman", "buffet", "washer", "cradle", "oven", "dishwasher", "microwave",
    "hood", "shower", "radiator", "crt screen", "cushion",
))
# fmt: on
AREA_MIN: Final = 0.05
"""Share of the picture from which an area tells something, as of the sky in the embedded profile."""
PLANTS_MIN: Final = 0.15
"""Of trees, palms and grass: fewer stand in pots or behind windows."""
PLANTS: Final = frozenset(("tree", "palm", "grass"))


def evidence_of_classes(shares: Mapping[str, float]) -> list[Evidence]:
    """What the shares of one picture (class name to 0..1) say; strengths as `surroundings.evidence_of_areas`."""
    found = []
    for name, share in shares.items():
        if share < (PLANTS_MIN if name in PLANTS else AREA_MIN):
            continue
        if name in OUTDOOR_AREAS:
            found.append(Evidence("outdoor", name, min(0.9, 0.5 + share)))
        elif name in INDOOR_AREAS:
            found.append(Evidence("indoor", name, min(0.9, 0.5 + share)))
    return found
