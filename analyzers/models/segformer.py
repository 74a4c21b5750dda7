"""SegFormer: which class each part of a picture belongs to, as shares of the picture.

Xie et al., SegFormer, NeurIPS 2021; model card nvidia/segformer-b2-finetuned-ade-512-512. The picture is squeezed to
the processor's square (512 px), as in training; the network answers for a quarter of that, and shares are counted
there: enlarging 150 maps to the picture's size costs 120 MB a picture and moves borders by less than a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from analyzers.models.hub import LocalModel, ModelOptions, gpu_gb
from analyzers.models.torch_runtime import load_pretrained, load_processor, require, runtime, unusable

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

PICTURE_GB: Final = 0.25
"""Of activations in 16 bit, counted from shapes where the most is alive, the decode head at 128x128 cells: four maps of
768 channels (100 MB), the same joined (100 MB), the fused one (25 MB) and 150 classes (5 MB), with a tenth to spare."""
NAME_CHARS_MAX: Final = 100


class SegFormerOptions(ModelOptions):
    """`batch_size`: pictures of one call. Fewer take less memory and keep a large GPU less busy."""

    batch_size: int = Field(16, ge=1, le=256)
    quantize: Literal["none"] = "none"


def needed_gb(options: SegFormerOptions) -> float:
    """GPU memory of a process with this model and its largest call, in GB."""
    return gpu_gb(options, options.batch_size * PICTURE_GB * (2.0 if options.precision == "float32" else 1.0))


class SegFormer:
    """A network that is ready.

    Args:
        model: which files.
        device: ``cpu`` or ``cuda:0``.
        options: precision, and pictures of one call.

    Raises:
        ModelUnavailable: a library is missing; files are missing, damaged or of another network.
    """

    def __init__(self, model: LocalModel, device: str, options: SegFormerOptions) -> None:
        require("transformers")
        setup = runtime(device, options)
        self._batch_size = options.batch_size
        import transformers

        self._setup = setup
        self._processor = load_processor(transformers.SegformerImageProcessor, model)
        self._network = load_pretrained(
            transformers.SegformerForSemanticSegmentation, model, setup, attn_implementation="sdpa"
        )
        labels = self._network.config.id2label
        self.names: tuple[str, ...] = tuple(str(labels[number]).strip()[:NAME_CHARS_MAX] for number in sorted(labels))
        if "person" not in self.names:
            raise unusable(model, "none of its classes is called person: it was not trained on ADE20K")
        self.info = setup.info(model, f"transformers {transformers.__version__}")

    def __call__(self, pictures: Sequence[Picture]) -> list[Floats]:
        """The share of each class of `names` in each RGB picture [H, W, 3], float32 [classes] that make 1."""
        shares: list[Floats] = []
        for start in range(0, len(pictures), self._batch_size):
            shares += list(self._ask(pictures[start : start + self._batch_size]))
        return shares

    def _ask(self, pictures: Sequence[Picture]) -> Floats:
        """The same [N, classes] of so many as fit one call."""
        import torch

        with torch.inference_mode():
            cells: Any = self._logits(pictures).argmax(dim=1).flatten(1)
            counts = torch.zeros(len(cells), len(self.names), device=cells.device)
            counts.scatter_add_(1, cells, torch.ones_like(cells, dtype=counts.dtype))
            return np.asarray((counts / cells.shape[1]).cpu().numpy(), np.float32)

    def _logits(self, pictures: Sequence[Picture]) -> Any:
        """[N, classes, H / 4, W / 4]."""
        import torch

        planes = [torch.tensor(picture).permute(2, 0, 1) for picture in pictures]
        given = self._processor(
            images=planes, input_data_format="channels_first", device=self._setup.device, return_tensors="pt"
        )
        return self._network(pixel_values=given["pixel_values"].to(self._setup.device, self._setup.dtype)).logits
