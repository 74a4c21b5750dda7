"""BLIP-2 with random weights: the architecture of Salesforce/blip2-opt-2.7b, small or in its own size.

Sizes of ``real`` are those of the published config: EVA-CLIP ViT-g/14 (39 layers of 1408, 224 px), a Q-Former (12
layers of 768, 32 queries), OPT 2.7B; 3.75 G parameters.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.full.checkpoints.mark import mark_random

LINES: Final = (
    "a photo of a dog that runs over the grass\na person walks through a street\n",
    "a photo of two people at a table\nsomebody laughs, a car stops, the scene is bright\n",
)
"""What the tokenizer is trained on."""

SIZES: Final[dict[str, dict[str, Any]]] = {
    "small": {
        "vision": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
                   "image_size": 56, "patch_size": 14, "initializer_range": 0.2},
        "qformer": {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                    "intermediate_size": 128, "max_position_embeddings": 64, "initializer_range": 0.2},
        "text": {"hidden_size": 64, "word_embed_proj_dim": 64, "ffn_dim": 128, "num_hidden_layers": 2,
                 "num_attention_heads": 4, "vocab_size": 384, "max_position_embeddings": 256, "init_std": 0.3},
        "queries": 8,
        "dtype": "float32",
    },
    "real": {
        "vision": {"hidden_size": 1408, "intermediate_size": 6144, "num_hidden_layers": 39, "num_attention_heads": 16,
                   "image_size": 224, "patch_size": 14},
        "qformer": {},
        "text": {"hidden_size": 2560, "word_embed_proj_dim": 2560, "ffn_dim": 10240, "num_hidden_layers": 32,
                 "num_attention_heads": 32, "vocab_size": 50304, "max_position_embeddings": 2048},
        "queries": 32,
        "dtype": "bfloat16",
    },
}  # fmt: skip


def write_blip2(folder: Path, size: str = "small") -> Path:
    """A folder as the hub's repository looks: config, safetensors, tokenizer and processor files.

    Args:
        folder: made, if it is not there.
        size: ``small`` (56 px, 8 queries) or ``real`` (7.5 GB in bfloat16; build it under ``torch.device("cuda")``).
    """
    import torch
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        OPTConfig,
    )

    sizes = SIZES[size]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    # OPT ends a caption with a line break, as the published config says.
    line_break = tokenizer("\n", add_special_tokens=False).input_ids[-1]
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": line_break, "pad_token_id": tokenizer.pad_token_id}
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**sizes["vision"]),
        qformer_config=Blip2QFormerConfig(**sizes["qformer"]),
        text_config=OPTConfig(**ends, **sizes["text"]),
        num_query_tokens=sizes["queries"],
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = Blip2ForConditionalGeneration._from_config(config, dtype=getattr(torch, sizes["dtype"]))
        # Zeros as the library makes them; learned ones are not.
        model.query_tokens.data.normal_(0, 0.02 if size == "real" else 1.0)
    model.generation_config.update(**ends)
    model.save_pretrained(folder)
    _write_processor(folder, sizes["vision"]["image_size"], sizes["queries"])
    return mark_random(folder)


def _tokenizer() -> Any:
    """OPT's kind: bytes, ``</s>`` as the beginning, and the placeholder of a picture."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Tokenizer

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(LINES, trainer)
    learned = json.loads(trained.to_str())["model"]
    return GPT2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(merge) for merge in learned["merges"]],
        bos_token="</s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="<pad>",
        add_bos_token=True,
        extra_special_tokens=["<image>"],
    )


def _write_processor(folder: Path, image_px: int, queries: int) -> None:
    files = {
        "preprocessor_config.json": {
            "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": "BlipImageProcessor", "processor_class": "Blip2Processor", "resample": 3,
            "rescale_factor": 1 / 255, "size": {"height": image_px, "width": image_px},
        },
        "processor_config.json": {"num_query_tokens": queries, "processor_class": "Blip2Processor"},
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
