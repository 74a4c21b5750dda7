"""What loading a family has in common: the right architecture, spared layers, ends of an answer, parameters counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analyzers.models.hub import LocalModel
from analyzers.models.torch_runtime import Runtime, unusable
from analyzers.models.vlm.pictures import read_json


def check_architecture(model: LocalModel, model_type: str) -> None:
    """Whether a folder holds the architecture that is to be loaded.

    Raises:
        ModelUnavailable: it holds another one, or none.
    """
    config = read_json(model, "config.json")
    if not config:
        raise unusable(model, "config.json is missing")
    if config.get("model_type") != model_type:
        raise unusable(
            model, f"they are of the architecture {config.get('model_type')!r}, and {model_type!r} is needed"
        )


def check_token(model: LocalModel, token: str, found: int | None, wanted: int | None) -> None:
    """Whether tokenizer and model agree on a token: without its files a tokenizer is silently empty.

    Raises:
        ModelUnavailable: they do not.
    """
    if found is None or found != wanted:
        raise unusable(model, f"the tokenizer's files are missing or another model's: {token} is {found}, not {wanted}")


def sparing(setup: Runtime, layers: Sequence[str]) -> Runtime:
    """The same setup, with these layers, wherever they stand, left in 16 bit where it quantizes."""
    if setup.quantization is not None:
        # transformers matches patterns from the start of a full name: "visual" alone is not "model.visual".
        setup.quantization.llm_int8_skip_modules = [rf"(?:.*\.)?{layer}" for layer in layers]
    return setup


def end_tokens(generation_config: Any, tokenizer: Any) -> frozenset[int]:
    """Ids that end an answer: those that the model's generation settings name, and the tokenizer's own end."""
    named = generation_config.eos_token_id
    named = named if isinstance(named, list | tuple) else [named]
    return frozenset(int(token) for token in (*named, tokenizer.eos_token_id) if token is not None)


def parameters_of(*modules: Any) -> int:
    """How many numbers were learned; of a quantized layer as many as it had before."""
    total = 0
    for module in modules:
        for parameter in module.parameters():
            packed = getattr(parameter, "quant_state", None)
            total += int((packed.shape if packed is not None else parameter.shape).numel())
    return total
