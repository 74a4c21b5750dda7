"""BLIP-2 with OPT for the engine (Li et al. 2023, arXiv:2301.12597; model card Salesforce/blip2-opt-2.7b).

A picture becomes 32 vectors (ViT-g/14, then a Q-Former that asks it 32 questions), which stand before the words. OPT
goes on from there: it continues a text, and follows no instruction. It has learned absolute positions, counted from the
first token that is not padding, so every row brings its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from analyzers.models.hub import LocalModel, ModelOptions
from analyzers.models.torch_runtime import load_pretrained, load_processor, require, runtime, unusable
from analyzers.models.vlm.family import Family, Features, Piece, Prepared, Prompt, Request
from analyzers.models.vlm.loading import check_architecture, check_token, end_tokens, parameters_of, sparing
from analyzers.models.vlm.pictures import PictureFormat, read_format
from pipeline.results import ModelInfo

KEPT_WHOLE: Final = ["vision_model", "qformer", "language_projection", "lm_head"]
"""Layers that are not quantized: errors in them reach every word."""


@dataclass(eq=False, kw_only=True)
class Blip2Opt(Family):
    """The loaded model.

    Args:
        model: transformers' `Blip2ForConditionalGeneration` around OPT.
        pictures: what its tower takes.
        patches: places of the tower, with the class token.
        queries: places of a picture in the prompt.
        image_token: id of the placeholder.
        tokens_max: positions that OPT has learned.
    """

    model: Any
    pictures: PictureFormat
    patches: int
    queries: int
    image_token: int
    tokens_max: int

    def places_of(self, piece: Piece) -> int:
        """One for each query of the Q-Former, whatever the picture."""
        return self.queries

    def prepare(self, piece: Piece) -> Prepared:
        """Levels of one square picture, uint8 [1, 3, S, S]."""
        return Prepared(self.pictures.square(piece.frames), self.patches, group=())

    def encode(self, prepared: Sequence[Prepared]) -> list[Features]:
        """Places [Q, D] of each picture, by the model's own `get_image_features`."""
        import torch

        levels = torch.cat([one.values for one in prepared])
        pixels = self.pictures.normalized(levels, self.device, self.dtype)
        with torch.inference_mode():
            found = self.model.get_image_features(pixels, return_dict=True).pooler_output
        # Copies: a view would keep the whole call in memory for as long as one of its pictures is remembered.
        return [Features(places.clone()) for places in found]

    def prompt(self, request: Request) -> Prompt:
        """The places of the picture, OPT's beginning, and the text that is to be continued."""
        text = request.text.replace("<image>", "")
        said = np.asarray(self.tokenizer(text).input_ids, np.int64)
        places = np.full(self.queries * len(request.pieces), self.image_token, np.int64)
        ids = np.concatenate([places, said])
        if len(ids) + request.new_tokens_max > self.tokens_max:
            raise ValueError(
                f"{len(ids)} tokens of prompt and {request.new_tokens_max} new ones are more than {self.tokens_max}, "
                "which this model has learned"
            )
        return Prompt(ids, np.arange(len(ids)) < len(places), np.arange(len(ids), dtype=np.int64)[None], len(ids))


def load_blip2(model: LocalModel, options: ModelOptions, device: str) -> tuple[Blip2Opt, ModelInfo]:
    """The model of a local folder, as the options ask for it.

    Args:
        model: its files.
        options: precision and quantization.
        device: ``cpu`` or ``cuda:0``.

    Raises:
        ModelUnavailable: files are missing, damaged, or another architecture's.
    """
    require("transformers")
    setup = runtime(device, options)
    # The Q-Former has no such kernel, and transformers refuses the whole model for it.
    setup = replace(setup, attention="sdpa")
    from transformers import AutoTokenizer, Blip2ForConditionalGeneration

    check_architecture(model, "blip-2")
    pictures = read_format(model, "image", "stretch")
    tokenizer = load_processor(AutoTokenizer, model)
    loaded = load_pretrained(Blip2ForConditionalGeneration, model, sparing(setup, KEPT_WHOLE))
    config = loaded.config
    if not config.use_decoder_only_language_model or config.text_config.model_type != "opt":
        raise unusable(model, f"its language model is {config.text_config.model_type!r}, and OPT is needed")
    check_token(model, "the beginning", tokenizer.bos_token_id, config.text_config.bos_token_id)
    vision = config.vision_config
    if vision.image_size != pictures.size_px:
        raise unusable(model, f"its tower takes {vision.image_size} px and its processor gives {pictures.size_px} px")
    image_token = config.image_token_index
    language = loaded.language_model
    family = Blip2Opt(
        tokenizer=tokenizer,
        language_model=language.model.decoder,
        head=language.lm_head,
        embeddings=language.get_input_embeddings(),
        end_tokens=end_tokens(language.generation_config, tokenizer),
        device=device,
        dtype=setup.dtype,
        vision_parameters=parameters_of(loaded.vision_model),
        decoder_parameters=parameters_of(language.model.decoder),
        identity=f"{model.folder.resolve()} {model.revision} {setup.precision} {device}",
        model=loaded,
        pictures=pictures,
        patches=(vision.image_size // vision.patch_size) ** 2 + 1,
        queries=int(config.num_query_tokens),
        image_token=int(image_token if image_token is not None else tokenizer.pad_token_id),
        tokens_max=int(config.text_config.max_position_embeddings),
    )
    return family, setup.info(model, backend=f"transformers {version('transformers')}")
