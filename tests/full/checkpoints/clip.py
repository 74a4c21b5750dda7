"""CLIP with random weights: the architecture of laion/CLIP-ViT-B-32-laion2B-s34B-b79K, small or in its own size.

``real`` is that repository's config: a vision transformer of 12 layers of 768 over 224 px in patches of 32, a text
transformer of 12 layers of 512 over 77 tokens, 512 numbers in common; 151 M parameters. The tokenizer is CLIP's own
class, with a byte-level vocabulary trained on the label prompts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from analyzers.models.clip import read_labels
from tests.full.checkpoints.mark import mark_random

SIZES: Final[dict[str, dict[str, Any]]] = {
    "small": {
        "text_config": {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": 24,
        },
        "vision_config": {
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": 64, "patch_size": 16,
        },
        "projection_dim": 32,
    },
    "real": {
        "text_config": {
            "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8,
            "max_position_embeddings": 77, "vocab_size": 49408, "hidden_act": "gelu",
        },
        "vision_config": {
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
            "image_size": 224, "patch_size": 32, "hidden_act": "gelu",
        },
        "projection_dim": 512,
    },
}  # fmt: skip
VOCABULARY: Final = 600
LOUD: Final = 8.0
"""Standard deviation of the random weights over transformers' own, so that other pictures give other answers."""


def write_clip(folder: Path, size: str = "small") -> Path:
    """A folder as the hub's repository looks: config, safetensors, tokenizer and preprocessor_config.json.

    Args:
        folder: made, if it is not there.
        size: ``small`` or ``real`` (605 MB; may be built under ``torch.device("cuda")`` in bfloat16).
    """
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    tokenizer = _tokenizer()
    sizes = {name: dict(value) if isinstance(value, dict) else value for name, value in SIZES[size].items()}
    text = {"vocab_size": len(tokenizer), "bos_token_id": tokenizer.bos_token_id} | sizes["text_config"]
    sizes["text_config"] = text | {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(**sizes)).eval()
    if size == "small":
        with torch.no_grad():
            for name, values in model.named_parameters():
                if values.ndim > 1 and "position" not in name:
                    values.mul_(LOUD)
    model.to("cpu").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    side = sizes["vision_config"]["image_size"]
    CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side}).save_pretrained(folder)
    return mark_random(folder)


def _tokenizer() -> Any:
    """CLIP's tokenizer with a vocabulary of its own, trained on what it will read."""
    from tokenizers import Tokenizer, models, trainers
    from transformers import CLIPTokenizer

    groups, templates = read_labels()
    texts = [template.format(label.prompt) for labels in groups.values() for label in labels for template in templates]
    like = CLIPTokenizer().backend_tokenizer
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = like.normalizer, like.pre_tokenizer
    special = ["<|startoftext|>", "<|endoftext|>"]
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=special, end_of_word_suffix="</w>", show_progress=False
        ),
    )
    learned = json.loads(tokenizer.to_str())["model"]
    return CLIPTokenizer(vocab=learned["vocab"], merges=[tuple(pair) for pair in learned["merges"]])
