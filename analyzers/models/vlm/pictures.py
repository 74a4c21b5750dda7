"""Frames as a fixed-size vision tower takes them: square, then normalized on the model's device.

The format is read from the checkpoint's processor files; resizing agrees with transformers' own processor to one level
of 255 (tests/full). Nothing here needs torchvision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from analyzers.models.hub import LocalModel
from analyzers.models.torch_runtime import unusable

Fit = Literal["crop", "pad", "stretch"]
"""``crop``: the short side fits and the middle stays; ``pad``: the long side fits, on the mean colour; ``stretch``."""

SIDE_PX_MAX: Final = 4096
"""No such tower takes more; a file that says so is not believed."""
_LEVELS: Final = 255.0
_FILTERS: Final = {2: "bilinear", 3: "bicubic"}
"""PIL's numbers of the resampling filters that such processors use."""


@dataclass(frozen=True)
class PictureFormat:
    """What a tower takes.

    Args:
        size_px: side of the square.
        short_px: the short side before the middle is cut out (``crop`` only), at least `size_px`.
        mean: of each channel, 0..1.
        std: of each channel.
        fit: how a picture becomes square.
        resample: ``bicubic`` or ``bilinear``.
    """

    size_px: int
    short_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: Fit
    resample: str = "bicubic"

    def square(self, frames: npt.NDArray[np.uint8]) -> Any:
        """A torch tensor uint8 [N, 3, S, S] of frames [N, H, W, 3]; those that are such squares already stay."""
        import torch

        size = self.size_px
        # A copy: frames are read-only, and torch has no such tensors.
        pixels = torch.from_numpy(np.array(frames, np.uint8, order="C")).permute(0, 3, 1, 2)
        height, width = pixels.shape[-2:]
        if (height, width) == (size, size):
            return pixels.contiguous()
        to = (size, size)
        if self.fit == "pad":
            to = _scaled(height, width, size, max(height, width))
        elif self.fit == "crop":
            to = _scaled(height, width, self.short_px, min(height, width))
        if to != (height, width):
            pixels = torch.nn.functional.interpolate(
                pixels.contiguous(), to, mode=self.resample, align_corners=False, antialias=True
            )
        if self.fit == "pad":
            return self._padded(pixels)
        top, left = (to[0] - size) // 2, (to[1] - size) // 2
        return pixels[:, :, top : top + size, left : left + size].contiguous()

    def normalized(self, pixels: Any, device: str, dtype: Any) -> Any:
        """Levels uint8 [N, 3, S, S] as the tower's input [N, 3, S, S], computed in float32 on the device."""
        import torch

        mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1) * _LEVELS
        std = torch.tensor(self.std, device=device).view(1, 3, 1, 1) * _LEVELS
        return ((pixels.to(device, non_blocking=True).float() - mean) / std).to(dtype)

    def _padded(self, pixels: Any) -> Any:
        import torch

        count, _, height, width = pixels.shape
        mean = (torch.tensor(self.mean) * _LEVELS).round().to(torch.uint8).view(1, 3, 1, 1)
        square = mean.repeat(count, 1, self.size_px, self.size_px)
        top, left = (self.size_px - height) // 2, (self.size_px - width) // 2
        square[:, :, top : top + height, left : left + width] = pixels
        return square


def _scaled(height: int, width: int, to: int, side: int) -> tuple[int, int]:
    return max(1, to * height // side), max(1, to * width // side)


def read_format(model: LocalModel, kind: Literal["image", "video"], fit: Fit) -> PictureFormat:
    """The format that a checkpoint's processor files ask for, in the order in which transformers reads them.

    Raises:
        ModelUnavailable: they are missing or say something else than a size, a mean and a deviation.
    """
    said = _said(model, kind)
    try:
        short_px = size_px = _side(said["size"])
        if fit != "stretch" and said.get("do_center_crop", True) and said.get("crop_size"):
            size_px = _side(said["crop_size"])
        mean, std = (tuple(float(value) for value in said[name]) for name in ("image_mean", "image_std"))
        resample = _FILTERS[int(said.get("resample", 3))]
        if len(mean) != 3 or len(std) != 3 or not 1 <= size_px <= short_px <= SIDE_PX_MAX:
            raise ValueError(f"{size_px} of {short_px} px, {len(mean)} channels")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unusable(model, f"the processor's files do not tell how pictures are normalized ({error})") from error
    return PictureFormat(size_px, short_px, mean, std, fit, resample)


def _side(size: Any) -> int:
    return int(size if isinstance(size, int) else size.get("shortest_edge") or size["height"])


def _said(model: LocalModel, kind: str) -> Mapping[str, Any]:
    whole = read_json(model, "processor_config.json")
    inside = whole.get(f"{kind}_processor")
    if isinstance(inside, dict):
        return inside
    names = (
        ["preprocessor_config.json"]
        if kind == "image"
        else ["video_preprocessor_config.json", "preprocessor_config.json"]
    )
    for name in names:
        found = read_json(model, name)
        if found:
            return found
    raise unusable(model, f"{names[-1]} is missing")


def read_json(model: LocalModel, name: str) -> dict[str, Any]:
    """A file of settings; empty where there is none.

    Raises:
        ModelUnavailable: it is not JSON.
    """
    file = model.folder / name
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise unusable(model, f"{name} is not JSON ({error})") from error
    return found if isinstance(found, dict) else {}
