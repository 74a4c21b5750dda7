"""What a picture shows, as a vector that texts can be compared with: CLIP (Radford et al. 2021) by transformers.

Weights: LAION's ViT-B/32, trained on LAION-2B. One model serves all analyzers of a process, and a picture is looked at
once for all of them. Preprocessing is the official CLIPImageProcessor's (torchvision, 8 bit, bicubic), for each of the
squares that cover a picture: the official one cuts out the middle, half of an upright video.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.models.hub import LocalModel, ModelOptions
from analyzers.models.recall import Recall

MODEL: Final = "clip_vit_b_32"
SQUARES_MAX: Final = 64
"""In one call. More: memory, see ACTIVATIONS_GB. Fewer: a GPU idles between small calls."""
ACTIVATIONS_GB: Final = 0.4
"""Counted, not measured: the 50 tokens of 768 numbers of 64 squares, some twenty such arrays alive at once, take
0.1 GB in 16 bit and the pictures 0.04; the texts, 128 of 77 tokens at once at loading, 0.2 GB."""
ANSWERS_KEPT: Final = 512
"""Of 2 kB each: analyzers that share a process may be minutes of video apart."""
TEXTS_MAX: Final = 128
"""In one call."""
COVER_MAX: Final = 4
"""Squares of one picture; strips that are longer are not seen in full."""
LABELS: Final = Path(__file__).with_name("clip_labels.json")

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Label(NamedTuple):
    """A name for reports (empty for "nothing of the kind") and what CLIP is asked."""

    name: str
    prompt: str


class ClipOptions(ModelOptions):
    """`model`: the CLIP of the full profile."""

    model: str = MODEL


class Clip:
    """The model on its device.

    Args:
        model: where its files are: config, safetensors, tokenizer and preprocessor_config.json.
        device: ``cpu`` or ``cuda:0``.
        options: precision and quantization.

    Raises:
        ModelUnavailable: transformers is not installed, or files are missing, damaged or of another architecture.
    """

    def __init__(self, model: LocalModel, device: str, options: ModelOptions) -> None:
        from analyzers.models.torch_runtime import load_pretrained, load_processor, require, runtime

        require("transformers")
        self.setup = runtime(device, options)
        import transformers

        processor = load_processor(transformers.CLIPImageProcessor, model)
        self._tokenizer = load_processor(transformers.CLIPTokenizer, model)
        self._network = load_pretrained(transformers.CLIPModel, model, self.setup)
        self.side_px = int(self._network.config.vision_config.image_size)
        self._width = int(self._network.config.projection_dim)
        self._mean, self._spread = list(processor.image_mean), list(processor.image_std)
        self._scale = float(self._network.logit_scale.exp().float().item())
        self._recall = Recall(f"{model.folder} {self.setup.device} {self.setup.precision}", ANSWERS_KEPT)
        self.info = self.setup.info(model, backend=f"transformers {transformers.__version__}")

    def look(self, pictures: Sequence[Pixels]) -> Floats:
        """A vector of length 1 for each RGB picture [H, W, 3]: [N, D]. Those just seen in this process are kept."""
        return np.asarray(self._recall.many(pictures, self._look), np.float32).reshape(len(pictures), self._width)

    def read(self, texts: Sequence[str]) -> Floats:
        """A vector of length 1 for each text: [N, D]."""
        import torch

        longest = int(self._network.config.text_config.max_position_embeddings)
        found = []
        for start in range(0, len(texts), TEXTS_MAX):
            some = list(texts[start : start + TEXTS_MAX])
            # One length for all, so that a text's vector does not depend on its neighbours.
            data = self._tokenizer(some, padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                answer = self._network.get_text_features(**data.to(self.setup.device)).pooler_output
                found.append(_unit(answer.float().cpu().numpy()))
        return np.concatenate(found)

    def likely(self, pictures: Floats, texts: Floats) -> Floats:
        """How likely each text [M, D] says what is in a picture [N, D], if one of them does: [N, M], rows sum to 1."""
        logits = self._scale * pictures @ texts.T
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)

    def _look(self, pictures: Sequence[npt.NDArray[Any]]) -> list[Floats]:
        """Each picture's vector: the mean of its squares'."""
        import torch

        cut = [squares(picture) for picture in pictures]
        flat = [square for some in cut for square in some]
        vectors: dict[int, Floats] = {}
        for side in dict.fromkeys(len(square) for square in flat):
            numbers = [n for n, square in enumerate(flat) if len(square) == side]
            for start in range(0, len(numbers), SQUARES_MAX):
                some = numbers[start : start + SQUARES_MAX]
                with torch.inference_mode():
                    data = self.prepare(np.stack([flat[n] for n in some])).to(self.setup.dtype)
                    answer = self._network.get_image_features(pixel_values=data).pooler_output
                    vectors.update(zip(some, _unit(answer.float().cpu().numpy()), strict=True))
        first, found = 0, []
        for parts in cut:
            found.append(_unit(np.mean([vectors[first + n] for n in range(len(parts))], axis=0)))
            first += len(parts)
        return found

    def prepare(self, square: Pixels) -> Any:
        """RGB squares [B, S, S, 3] as the network's input: a float32 tensor [B, 3, side, side] on the device."""
        import torch

        data = torch.from_numpy(square).permute(0, 3, 1, 2)
        sides = (self.side_px, self.side_px)
        small = torch.nn.functional.interpolate(data, sides, mode="bicubic", align_corners=False, antialias=True)
        levels = small.to(self.setup.device).float() / 255
        mean, spread = (torch.tensor(v, device=levels.device).view(1, 3, 1, 1) for v in (self._mean, self._spread))
        return (levels - mean) / spread


@cache
def shared_clip(model: LocalModel, device: str, options: ModelOptions) -> Clip:
    """The model of this folder, loaded once per process: several analyzers use it; calls do not disturb each other."""
    return Clip(model, device, options)


def squares(picture: Pixels) -> list[Pixels]:
    """The squares, as few as there can be, that cover a picture [H, W, 3] from end to end; two of a 9:16 one."""
    height, width = picture.shape[:2]
    side = min(height, width)
    count = min(COVER_MAX, -(-max(height, width) // side))
    starts = np.linspace(0, max(height, width) - side, count).round().astype(int)
    if height >= width:
        return [np.ascontiguousarray(picture[start : start + side]) for start in starts]
    return [np.ascontiguousarray(picture[:, start : start + side]) for start in starts]


def read_labels(path: Path = LABELS) -> tuple[dict[str, list[Label]], list[str]]:
    """The label groups by name, and the templates that their prompts are put into."""
    data = json.loads(path.read_text(encoding="utf-8"))
    groups = {
        name: [Label(*one) for one in group.items()] for name, group in data.items() if isinstance(group, Mapping)
    }
    return groups, list(data["templates"])


def prompts(clip: Clip, labels: Sequence[Label], templates: Sequence[str]) -> Floats:
    """A vector for each label: the mean over the templates, as in the paper (section 3.1.4)."""
    texts = [template.format(label.prompt) for label in labels for template in templates]
    return _unit(clip.read(texts).reshape(len(labels), len(templates), -1).mean(axis=1))


def _unit(vectors: npt.NDArray[Any]) -> Floats:
    """Vectors [..., D] scaled to length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), np.float32)
