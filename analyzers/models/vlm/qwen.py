"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: half seconds of two frames, each encoded once; rotary positions in t, h and w.

Qwen2-VL (Wang et al. 2024, arXiv:2409.12191), Qwen2.5-VL (Bai et al. 2025, arXiv:2502.13923), Qwen3-VL (Qwen team
2025, arXiv:2511.21631). Two frames are one step of the temporal grid; the vision tower attends within a step only, so
that a step's features are the same in every window that holds it. Resizing, normalizing and patching are ours and agree
with the published processors to rounding (tests/full/test_qwen.py), without loading them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import numpy as np

from analyzers.models.hub import LocalModel, ModelOptions
from analyzers.models.torch_runtime import Runtime, load_pretrained, load_processor, require, runtime, unusable
from analyzers.models.vlm.family import Family, Features, Piece, Prepared, Prompt, Request, without_special
from analyzers.models.vlm.windows import PIECE_S

CLASSES: Final = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
}
"""transformers' class of each `model_type`; the published ids are in the manifest."""
PIXELS_MIN: Final = 56 * 56
"""A smaller frame is enlarged to this, as the published processors do."""
VIDEO: Final = "<|video_pad|>"
PROMPTS_KEPT: Final = 64
"""Prompts that are remembered: the windows of a video have one in common."""
ASPECT_MAX: Final = 200
"""The published processors refuse pictures that are longer than this many widths."""


@dataclass(eq=False)
class QwenFamily(Family):
    """One loaded Qwen-VL.

    Args:
        visual: the vision tower.
        model_type: a key of `CLASSES`.
        patch: side of a patch in pixels; `merge` x `merge` patches become one place.
        mean, std: of normalized colours, per channel, in 0..1.
        pixels_max: bound on a resized frame.
        video_token: the placeholder's id.
        temporal_step: how far apart in rotary positions the half seconds of one video are.
        deep: whether deepstack features come along.
    """

    visual: Any = None
    model_type: str = "qwen2_vl"
    patch: int = 14
    merge: int = 2
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    pixels_max: int = 256 * 28 * 28
    video_token: int = 0
    temporal_step: float = 1.0
    deep: bool = False
    _prompts: dict[Any, Prompt] = field(default_factory=dict, repr=False)

    frames_per_piece: ClassVar[int] = 2

    def grid_of(self, piece: Piece) -> tuple[int, int]:
        """Height and width in patches after resizing."""
        height, width = piece.frames.shape[1:3]
        rows, columns = resized(height, width, self.patch * self.merge, self.pixels_max)
        return rows // self.patch, columns // self.patch

    def places_of(self, piece: Piece) -> int:
        """See `Family.places_of`."""
        rows, columns = self.grid_of(piece)
        return rows * columns // self.merge**2

    def prepare(self, piece: Piece) -> Prepared:
        """Patches float32 [rows x columns, 3 x 2 x patch x patch] in the order of merged blocks; uint8 for a GPU."""
        import torch

        rows, columns = self.grid_of(piece)
        size = (rows * self.patch, columns * self.patch)
        frames = torch.from_numpy(np.ascontiguousarray(piece.frames)).permute(0, 3, 1, 2)
        if tuple(frames.shape[2:]) != size:
            frames = torch.nn.functional.interpolate(frames, size, mode="bicubic", antialias=True)
        block = (rows // self.merge, self.merge, self.patch, columns // self.merge, self.merge, self.patch)
        patches = frames.reshape(2, 3, *block).permute(2, 5, 3, 6, 1, 0, 4, 7).reshape(rows * columns, -1)
        # A GPU gets bytes and normalizes them itself: a quarter of the copy.
        values = patches if self.device.startswith("cuda") else self._normalized(patches)
        return Prepared(values, rows * columns, (rows, columns))

    def _normalized(self, patches: Any) -> Any:
        import torch

        by_channel = patches.to(torch.float32).reshape(len(patches), 3, -1)
        mean = torch.tensor(self.mean, device=patches.device) * 255.0
        std = torch.tensor(self.std, device=patches.device) * 255.0
        return by_channel.sub_(mean[:, None]).div_(std[:, None]).reshape(len(patches), -1)

    def encode(self, prepared: Sequence[Prepared]) -> list[Features]:
        """See `Family.encode`: pieces of one size, side by side as one-step videos."""
        import torch

        count = len(prepared)
        values = torch.cat([one.values for one in prepared]).to(self.device)
        if values.dtype == torch.uint8:
            values = self._normalized(values)
        grid = torch.tensor([(1, *cast(tuple[int, int], prepared[0].group))] * count, device=self.device)
        found = self.visual(values.to(self.dtype), grid_thw=grid, return_dict=True)
        places = found.pooler_output.chunk(count)
        deeper = [level.chunk(count) for level in found.deepstack_features] if self.deep else []
        # Cloned: a view would keep the whole call's features alive for as long as one piece is remembered.
        return [
            Features(places[number].clone(), tuple(level[number].clone() for level in deeper))
            for number in range(count)
        ]

    def prompt(self, request: Request) -> Prompt:
        """The chat template's words around the pieces as one video, with positions as the model's own code gives."""
        grids = [tuple(side // self.merge for side in self.grid_of(piece)) for piece in request.pieces]
        known = self._prompts.get((request.text, *grids))
        if known is not None:
            return known
        if len(self._prompts) >= PROMPTS_KEPT:
            self._prompts.clear()
        made = self._prompts[request.text, *grids] = self._prompt(request, grids)
        return made

    def _prompt(self, request: Request, grids: Sequence[tuple[int, ...]]) -> Prompt:
        content: list[dict[str, str]] = [{"type": "video"}] if request.pieces else []
        content.append({"type": "text", "text": without_special(request.text, self.tokenizer)})
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        if request.pieces:
            text = text.replace(VIDEO, self._video_text(grids), 1)
        ids = np.array(self.tokenizer(text, add_special_tokens=False)["input_ids"], np.int64)
        places = ids == self.video_token
        positions, after = self._positions(places, grids)
        return Prompt(ids, places, positions, after)

    def _video_text(self, grids: Sequence[tuple[int, ...]]) -> str:
        counts = [rows * columns for rows, columns in grids]
        if self.model_type != "qwen3_vl":
            return VIDEO * sum(counts)
        # Qwen3-VL reads the time of each step: the mean of its two frames', at four frames a second.
        return "".join(
            f"<{PIECE_S * number + PIECE_S / 4:.1f} seconds><|vision_start|>{VIDEO * count}<|vision_end|>"
            for number, count in enumerate(counts)
        )

    def _positions(self, places: Any, grids: Sequence[tuple[int, ...]]) -> tuple[Any, int]:
        """Rotary positions [3, L] in t, h, w: text counts on, the places of a step share t and spread over h and w."""
        positions = np.zeros((3, len(places)), np.int64)
        steps = list(enumerate(grids))
        at, current = 0, 0
        while at < len(places):
            if not places[at]:
                positions[:, at] = current
                at, current = at + 1, current + 1
                continue
            # One video in Qwen2-VL and Qwen2.5-VL; one per step in Qwen3-VL, whose time is in the text.
            together = steps[:1] if self.model_type == "qwen3_vl" else steps
            steps = steps[len(together) :]
            for number, (rows, columns) in together:
                count = rows * columns
                time = 0 if self.model_type == "qwen3_vl" else int(number * self.temporal_step)
                positions[0, at : at + count] = current + time
                positions[1, at : at + count] = current + np.repeat(np.arange(rows), columns)
                positions[2, at : at + count] = current + np.tile(np.arange(columns), rows)
                at += count
            current += max(max(grid) for _, grid in together)
        return positions, int(positions.max()) + 1

    def hidden(
        self, embeds: Any, mask: Any, positions: Any, cache: Any, places: Any = None, deeper: tuple[Any, ...] = ()
    ) -> Any:
        """See `Family.hidden`."""
        more = {"visual_pos_masks": places, "deepstack_visual_embeds": list(deeper)} if deeper else {}
        return self.language_model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            **more,
        ).last_hidden_state


def resized(height: int, width: int, factor: int, pixels_max: int, pixels_min: int = PIXELS_MIN) -> tuple[int, int]:
    """The size, in multiples of `factor`, closest to a picture's within the bounds (the published `smart_resize`)."""
    if max(height, width) > ASPECT_MAX * min(height, width):
        raise ValueError(f"a picture may be at most {ASPECT_MAX} times as long as wide, got {width}x{height}")
    rows, columns = round(height / factor) * factor, round(width / factor) * factor
    if rows * columns > pixels_max:
        shrink = math.sqrt(height * width / pixels_max)
        rows = max(factor, math.floor(height / shrink / factor) * factor)
        columns = max(factor, math.floor(width / shrink / factor) * factor)
    elif rows * columns < pixels_min:
        grow = math.sqrt(pixels_min / (height * width))
        rows, columns = math.ceil(height * grow / factor) * factor, math.ceil(width * grow / factor) * factor
    return rows, columns


def load_qwen(model: LocalModel, device: str, options: ModelOptions, pixels_max: int) -> tuple[QwenFamily, Runtime]:
    """Load a Qwen-VL of any of the three generations from its folder.

    Args:
        model: where its files are.
        device: ``cpu`` or ``cuda:0``.
        options: precision and quantization; the vision tower stays in 16 bit.
        pixels_max: bound on a resized frame.

    Raises:
        ModelUnavailable: files are missing, damaged or of another architecture, or a library is not installed.
    """
    setup = runtime(device, options)
    require("transformers")
    import transformers

    model_type = str(_json(model, "config.json").get("model_type"))
    if model_type not in CLASSES:
        raise unusable(model, f"model_type is {model_type!r}, and one of {', '.join(CLASSES)} is needed")
    colours = _colours(model)
    if setup.quantization is not None:
        # Matched from the start of a full name: "visual" alone is not "model.visual", and would be quantized.
        setup.quantization.llm_int8_skip_modules = [r"(?:.*\.)?visual", r"(?:.*\.)?lm_head"]
    loaded = load_pretrained(getattr(transformers, CLASSES[model_type]), model, setup)
    tokenizer = load_processor(transformers.AutoTokenizer, model)
    if not getattr(tokenizer, "chat_template", None):
        tokenizer.chat_template = _json(model, "chat_template.json").get("chat_template")
    visual = loaded.model.visual
    visual.patch_embed = _linear(visual.patch_embed.proj)
    config, vision, ends = loaded.config, loaded.config.vision_config, loaded.generation_config.eos_token_id
    if ends is None:
        ends = tokenizer.eos_token_id
    decoder = loaded.model.language_model
    family = QwenFamily(
        tokenizer=tokenizer,
        language_model=decoder,
        head=loaded.lm_head,
        embeddings=decoder.embed_tokens,
        end_tokens=frozenset(ends if isinstance(ends, list | tuple) else [ends]),
        device=device,
        dtype=setup.dtype,
        vision_parameters=sum(weight.numel() for weight in visual.parameters()),
        decoder_parameters=sum(weight.numel() for weight in decoder.parameters())
        - decoder.embed_tokens.weight.numel()
        + loaded.lm_head.weight.numel(),
        identity=f"{model.folder}@{model.revision} {setup.precision} {pixels_max} px",
        visual=visual,
        model_type=model_type,
        patch=int(vision.patch_size),
        merge=int(vision.spatial_merge_size),
        mean=colours[0],
        std=colours[1],
        pixels_max=pixels_max,
        video_token=int(config.video_token_id),
        temporal_step=float(getattr(vision, "tokens_per_second", 1 / PIECE_S)) * PIECE_S,
        deep=model_type == "qwen3_vl",
    )
    return family, setup


def _linear(convolution: Any) -> Any:
    """A convolution whose kernel is as large as its input, as the matrix product that it is: many times faster."""
    import torch

    weight = convolution.weight
    linear = torch.nn.Linear(weight[0].numel(), len(weight), bias=convolution.bias is not None, device="meta")
    linear.weight = torch.nn.Parameter(weight.detach().reshape(len(weight), -1), requires_grad=False)
    if convolution.bias is not None:
        linear.bias = torch.nn.Parameter(convolution.bias.detach(), requires_grad=False)
    return linear


def _colours(model: LocalModel) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that the checkpoint's own preprocessor file names."""
    present = [name for name in ("video_preprocessor_config.json", "preprocessor_config.json")
               if (Path(model.folder) / name).is_file()]  # fmt: skip
    if not present:
        raise unusable(model, "preprocessor_config.json is missing")
    settings = _json(model, present[0])
    try:
        return tuple(map(float, settings["image_mean"])), tuple(map(float, settings["image_std"]))
    except (KeyError, TypeError, ValueError) as error:
        raise unusable(model, f"{present[0]} names no image_mean and image_std") from error


def _json(model: LocalModel, name: str) -> dict[str, Any]:
    try:
        content = json.loads((Path(model.folder) / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unusable(model, f"{name}: {error}") from error
    if not isinstance(content, dict):
        raise unusable(model, f"{name} is not an object")
    return content
