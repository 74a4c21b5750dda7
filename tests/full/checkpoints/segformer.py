"""A SegFormer of ADE20K's 150 classes with random weights, as the hub's repository looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tests.full.checkpoints.mark import mark_random

# fmt: off
CLASSES: Final = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed ", "windowpane", "grass", "cabinet", "sidewalk",
    "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water", "painting", "sofa",
    "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp",
    "bathtub", "railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter", "sand",
    "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool table",
    "pillow", "screen door", "stairway", "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower",
    "book", "hill", "bench", "countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar",
    "arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight",
    "booth", "television receiver", "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator",
    "ottoman", "bottle", "buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer",
    "plaything", "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven",
    "ball", "food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher",
    "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier",
    "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag",
)
# fmt: on
SIZES: Final[dict[str, dict[str, Any]]] = {
    "small": {"depths": (1, 1, 1, 1), "hidden_sizes": (16, 32, 64, 64), "num_attention_heads": (1, 2, 2, 4)}
    | {"decoder_hidden_size": 32},
    # As nvidia/segformer-b2-finetuned-ade-512-512.
    "real": {"depths": (3, 4, 6, 3), "hidden_sizes": (64, 128, 320, 512), "num_attention_heads": (1, 2, 5, 8)}
    | {"decoder_hidden_size": 768},
}


def write_segformer(folder: Path, size: str = "small", classes: tuple[str, ...] = CLASSES) -> Path:
    """Configuration, weights and processor; the classifier is wide, so that pictures show several classes."""
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(3)
    names = dict(enumerate(classes))
    config = SegformerConfig(id2label=names, label2id={name: k for k, name in names.items()}, **SIZES[size])
    network = SegformerForSemanticSegmentation(config)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
                module.weight.normal_(0, (1.5 / module.weight[0].numel()) ** 0.5)
    network.save_pretrained(folder)
    SegformerImageProcessor(
        size={"height": 512, "width": 512} if size == "real" else {"height": 128, "width": 128}
    ).save_pretrained(folder)
    return mark_random(folder)
