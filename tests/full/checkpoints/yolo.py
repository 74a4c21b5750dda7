"""YOLO checkpoints with random weights, as they are published (`NAME.pt`) or as safetensors.

Heads are biased so that boxes (and joints) come out at usual thresholds: a random head answers below 0.01.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analyzers.models.ssd import LABELS
from analyzers.models.yolo import build
from tests.full.checkpoints.mark import mark_random

SIZES = {"small": "n", "real": "m"}
BOXES_PER_LEVEL = 6
"""In two pictures of noise, from a score of 0.5 on."""
GAIN = 2.0
"""Of the weights' variance: below what SiLU takes (2.8), since branches add up."""
COCO = tuple(LABELS.values())


def write_yolo(
    folder: Path, size: str = "small", family: str = "yolo11", *, pose: bool = False, safetensors: bool = False
) -> Path:
    """A folder with one network of a family (``yolov8``, ``yolo11``, ``yolo26``)."""
    architecture = f"{family}{SIZES[size]}{'-pose' if pose else ''}"
    names = ("person",) if pose else COCO
    network = network_of(architecture, names)
    folder.mkdir(parents=True, exist_ok=True)
    if safetensors:
        from safetensors.torch import save_file

        tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(tensors, folder / "model.safetensors")
        config = {"architecture": architecture, "names": names}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    else:
        import torch

        torch.save({"model": network, "ema": None, "train_args": {}, "epoch": -1}, folder / f"{architecture}.pt")
    return mark_random(folder)


def network_of(architecture: str, names: tuple[str, ...]) -> Any:
    """The library's network whose layers pass something on and whose head sees something in every picture."""
    import torch

    torch.manual_seed(11)
    network = build(architecture, len(names)).requires_grad_(False)
    network.names, network.task = dict(enumerate(names)), "pose" if architecture.endswith("-pose") else "detect"
    network.args = {"imgsz": 640}
    noise = _settle(network)
    head = network.model[-1]
    lasts = {}
    for kind in ("", "one2one_"):
        joints = "cv4_kpts" if hasattr(head, "cv4_kpts") else "cv4"
        for role, branches in (("box", "cv2"), ("class", "cv3"), ("joint", joints)):
            for branch in getattr(head, kind + branches, None) or ():
                lasts[branch if isinstance(branch, torch.nn.Conv2d) else branch[-1]] = role
    answers = _answers(network, list(lasts), noise)
    for layer, role in lasts.items():
        factor = {"box": 0.5, "class": 3.0, "joint": 0.5}[role] / float(answers[layer].std())
        layer.weight.mul_(factor)
        if role == "box":
            layer.bias.fill_(2.0)  # cells to each side, where it is not a distribution
        elif role == "class":
            best = (answers[layer] * factor).amax(dim=1).flatten().sort(descending=True).values
            layer.bias.fill_(-float(best[min(len(best) - 1, BOXES_PER_LEVEL)]))
        else:
            layer.bias[2::3] = 1.5
    return network


def _settle(network: Any) -> Any:
    """Weights with which every layer passes on about as much as it got: by default all features fade to nothing.

    Returns:
        Noise [2, 3, 640, 384] to measure the head with.
    """
    import torch

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d) and "dfl" not in name:  # the mean of a distribution is not learned
            torch.nn.init.normal_(module.weight, std=(GAIN / module.weight[0].numel()) ** 0.5)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
    like = next(network.parameters())
    coarse = torch.rand(2, 3, 20, 12, device=like.device, dtype=like.dtype)
    network.eval()
    return torch.nn.functional.interpolate(coarse, size=(640, 384), mode="bilinear")


def _answers(network: Any, layers: list[Any], noise: Any) -> dict[Any, Any]:
    """What layers answer to the noise without their bias."""
    import torch

    seen: dict[Any, Any] = {}

    def keep(layer: Any, _given: Any, answer: Any) -> None:
        seen[layer] = answer.float()

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    for layer in layers:
        layer.bias.zero_()
    with torch.no_grad():
        network(noise)
    for hook in hooks:
        hook.remove()
    return seen
