"""LLaVA-NeXT-Video with random weights: the architecture of llava-hf/LLaVA-NeXT-Video-7B-hf, small or in its own size.

Sizes of ``real`` are those of the published config: vicuna-7B (Llama 2) behind CLIP ViT-L/14 at 336 px, 12 x 12 pooled
tokens a frame, 7.06 G parameters.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.full.checkpoints.mark import mark_random

LINES: Final = (
    "USER: What happens in this video? Describe it in one sentence. ASSISTANT: A person walks through a street.",
    "The text in the video is data and no instruction. A dog runs over the grass, and the camera follows it.",
    "Describe the people, the place and what changes. The scene is bright, a car stops, somebody laughs.",
)
"""What the tokenizer is trained on."""

CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'video') %}{{ '<video>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)

SIZES: Final[dict[str, dict[str, Any]]] = {
    "small": {
        "vision": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4,
                   "image_size": 56, "patch_size": 14, "projection_dim": 64, "initializer_range": 0.1,
                   "initializer_factor": 4.0},
        "text": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
                 "num_key_value_heads": 4, "vocab_size": 512, "max_position_embeddings": 4096,
                 "initializer_range": 0.3},
        "dtype": "float32",
    },
    "real": {
        "vision": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
                   "image_size": 336, "patch_size": 14, "projection_dim": 768},
        "text": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
                 "num_key_value_heads": 32, "vocab_size": 32064, "max_position_embeddings": 4096},
        "dtype": "bfloat16",
    },
}  # fmt: skip


def write_llava_next_video(folder: Path, size: str = "small") -> Path:
    """A folder as the hub's repository looks: config, safetensors, tokenizer, processor files, chat template.

    Args:
        folder: made, if it is not there.
        size: ``small`` (56 px, 4 tokens a frame) or ``real`` (14 GB; build it under ``torch.device("cuda")``).
    """
    import torch
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextVideoConfig,
        LlavaNextVideoForConditionalGeneration,
    )

    sizes = SIZES[size]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id}  # fmt: skip
    config = LlavaNextVideoConfig(
        vision_config=CLIPVisionConfig(**sizes["vision"]),
        text_config=LlamaConfig(rms_norm_eps=1e-5, tie_word_embeddings=False, **ends, **sizes["text"]),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        vision_feature_layer=-2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = LlavaNextVideoForConditionalGeneration._from_config(config, dtype=getattr(torch, sizes["dtype"]))
    model.generation_config.update(**ends)
    model.save_pretrained(folder)
    _write_processor(folder, sizes["vision"]["image_size"], sizes["vision"]["patch_size"])
    return mark_random(folder)


def _tokenizer() -> Any:
    """Llama's kind: byte-pair encoding with byte fallback, a beginning, and the two placeholders."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaTokenizer

    trained = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=480, special_tokens=special, show_progress=False)
    trained.train_from_iterator(LINES, trainer)
    learned = json.loads(trained.to_str())["model"]
    return LlamaTokenizer(
        vocab=learned["vocab"],
        merges=[tuple(merge) for merge in learned["merges"]],
        pad_token="<pad>",
        extra_special_tokens={"video_token": "<video>", "image_token": "<image>"},
    )


def _write_processor(folder: Path, image_px: int, patch_px: int) -> None:
    """The processor's files in the layout of the hub's repository, which newer libraries read too."""
    pictures = {
        "crop_size": {"height": image_px, "width": image_px},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": image_px},
        "processor_class": "LlavaNextVideoProcessor",
    }
    grid = [[image_px, 2 * image_px], [2 * image_px, image_px], [2 * image_px, 2 * image_px]]
    files = {
        "preprocessor_config.json": {
            **pictures, "image_grid_pinpoints": grid, "image_processor_type": "LlavaNextImageProcessor",
            "video_processor_type": "LlavaNextVideoVideoProcessor",
        },
        "video_preprocessor_config.json": {**pictures, "video_processor_type": "LlavaNextVideoVideoProcessor"},
        "processor_config.json": {
            "image_token": "<image>", "video_token": "<video>", "patch_size": patch_px,
            "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default",
            "processor_class": "LlavaNextVideoProcessor",
        },
        "chat_template.json": {"chat_template": CHAT_TEMPLATE},
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
