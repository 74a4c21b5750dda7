"""LLaVA-NeXT-Video for the engine (Zhang et al. 2024, LLaVA-NeXT; model card llava-hf/LLaVA-NeXT-Video-7B-hf).

Every frame goes through CLIP alone, its 24 x 24 patches are averaged to 12 x 12 places and projected to the words'
space: frames share nothing, so a frame is encoded once, however many questions look at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from analyzers.models.hub import LocalModel, ModelOptions
from analyzers.models.torch_runtime import load_pretrained, load_processor, require, runtime, unusable
from analyzers.models.vlm.family import Family, Features, Piece, Prepared, Prompt, Request
from analyzers.models.vlm.loading import check_architecture, check_token, end_tokens, parameters_of, sparing
from analyzers.models.vlm.pictures import Fit, PictureFormat, read_format, read_json
from pipeline.results import ModelInfo

VICUNA_TEMPLATE: Final = "USER: <video>\n{text} ASSISTANT:"
"""How the model was asked while it learned, by its model card; used where the files have no chat template."""
KEPT_WHOLE: Final = ["vision_tower", "multi_modal_projector", "lm_head"]
"""Layers that are not quantized: small beside the decoder, and errors in them reach every word."""


@dataclass(eq=False, kw_only=True)
class LlavaNextVideo(Family):
    """The loaded model.

    Args:
        model: transformers' `LlavaNextVideoForConditionalGeneration`.
        pictures: what its tower takes.
        template: its chat template in Jinja; empty for `VICUNA_TEMPLATE`.
        patch_px: side of a patch.
        pool: patches of a side that become one place.
        video_token: id of the placeholder.
        tokens_max: positions that the decoder has learned.
    """

    model: Any
    pictures: PictureFormat
    template: str
    patch_px: int
    pool: int
    video_token: int
    tokens_max: int

    def places_of(self, piece: Piece) -> int:
        """The same for every picture: 144 at 336 px."""
        return (self.pictures.size_px // self.patch_px // self.pool) ** 2

    def prepare(self, piece: Piece) -> Prepared:
        """Levels of one square picture, uint8 [1, 3, S, S]."""
        side = self.pictures.size_px // self.patch_px
        return Prepared(self.pictures.square(piece.frames), side * side + 1, group=())

    def encode(self, prepared: Sequence[Prepared]) -> list[Features]:
        """Places [P, D] of each picture, by the model's own `get_video_features`."""
        import torch

        levels = torch.cat([one.values for one in prepared])
        pixels = self.pictures.normalized(levels, self.device, self.dtype)
        with torch.inference_mode():
            found = self.model.model.get_video_features(pixels.unsqueeze(0), return_dict=True).pooler_output[0]
        # Copies: a view would keep the whole call in memory for as long as one of its pictures is remembered.
        return [Features(places.clone()) for places in found.unflatten(0, (len(prepared), -1))]

    def prompt(self, request: Request) -> Prompt:
        """The chat template with one place per pooled patch of every frame."""
        text = request.text.replace("<video>", "").replace("<image>", "")
        if self.template:
            content = [{"type": "video"}] * bool(request.pieces) + [{"type": "text", "text": text}]
            words = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=True,
            )
        else:
            words = VICUNA_TEMPLATE.format(text=text)
            words = words if request.pieces else words.replace("<video>\n", "")
        said = np.asarray(self.tokenizer(words).input_ids, np.int64)
        places = sum(self.places_of(piece) for piece in request.pieces)
        ids = np.repeat(said, np.where(said == self.video_token, places, 1))
        if len(ids) + request.new_tokens_max > self.tokens_max:
            raise ValueError(
                f"{len(ids)} tokens of prompt and {request.new_tokens_max} new ones are more than {self.tokens_max}, "
                "which this model has learned; use fewer frames or a shorter prompt"
            )
        return Prompt(ids, ids == self.video_token, np.arange(len(ids), dtype=np.int64)[None], len(ids))


def load_llava_next_video(
    model: LocalModel, options: ModelOptions, device: str, fit: Fit = "crop"
) -> tuple[LlavaNextVideo, ModelInfo]:
    """The model of a local folder, as the options ask for it.

    Args:
        model: its files.
        options: precision and quantization.
        device: ``cpu`` or ``cuda:0``.
        fit: how a frame becomes square; the published processor crops.

    Raises:
        ModelUnavailable: files are missing, damaged, or another architecture's.
    """
    require("transformers")
    setup = runtime(device, options)
    from transformers import AutoTokenizer, LlavaNextVideoForConditionalGeneration

    check_architecture(model, "llava_next_video")
    pictures = read_format(model, "video", fit)
    tokenizer = load_processor(AutoTokenizer, model)
    loaded = load_pretrained(LlavaNextVideoForConditionalGeneration, model, sparing(setup, KEPT_WHOLE))
    vision, video_token = loaded.config.vision_config, int(loaded.config.video_token_index)
    check_token(model, "<video>", tokenizer.convert_tokens_to_ids("<video>"), video_token)
    if vision.image_size != pictures.size_px:
        raise unusable(model, f"its tower takes {vision.image_size} px and its processor gives {pictures.size_px} px")
    inner = loaded.model
    family = LlavaNextVideo(
        tokenizer=tokenizer,
        language_model=inner.language_model,
        head=loaded.lm_head,
        embeddings=inner.get_input_embeddings(),
        end_tokens=end_tokens(loaded.generation_config, tokenizer),
        device=device,
        dtype=setup.dtype,
        vision_parameters=parameters_of(inner.vision_tower, inner.multi_modal_projector),
        decoder_parameters=parameters_of(inner.language_model, loaded.lm_head)
        - parameters_of(inner.get_input_embeddings()),
        identity=f"{model.folder.resolve()} {model.revision} {setup.precision} {device} {fit}",
        model=loaded,
        pictures=pictures,
        template=_template(model),
        patch_px=int(vision.patch_size),
        pool=int(loaded.config.spatial_pool_stride),
        video_token=video_token,
        tokens_max=int(loaded.config.text_config.max_position_embeddings),
    )
    return family, setup.info(model, backend=f"transformers {version('transformers')}")


def _template(model: LocalModel) -> str:
    """The chat template of the files, wherever this kind of repository has kept it."""
    file = model.folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json"):
        found = read_json(model, name).get("chat_template")
        if isinstance(found, str):
            return found
    return ""
