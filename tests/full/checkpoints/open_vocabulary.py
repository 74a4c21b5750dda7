"""OWLv2 and Grounding DINO with random weights, and tokenizers of the queries' words, as the hub's folders look."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from analyzers.methods.goods import QUERIES
from analyzers.models.open_vocabulary import PROMPT
from tests.full.checkpoints.mark import mark_random

NAMES = tuple(name for names in QUERIES.values() for name in names)
EXPECTED_SCORE_LOGIT = -1.0
"""Where random heads are set to answer: some boxes above any usual score, most below."""


def write_owlv2(folder: Path, size: str = "small") -> Path:
    """`google/owlv2-base-patch16-ensemble`, or as much of it as a test needs."""
    import torch
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    torch.manual_seed(5)
    real = size == "real"
    layers: dict[str, Any] = {} if real else {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {} if real else {"num_attention_heads": 4}
    tokenizer = _clip_tokenizer()
    text = (
        {"vocab_size": 49408}
        if real
        else {
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        }
    )
    pixels, patch = (960, 16) if real else (480, 60)  # less, and the processor's blur would take seconds a picture
    config = Owlv2Config(
        text_config=layers | heads | text,
        vision_config=layers | heads | {"image_size": pixels, "patch_size": patch},
        projection_dim=512 if real else 64,
    )
    network = Owlv2ForObjectDetection(config)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(0, (1.5 / module.in_features) ** 0.5)
        network.class_head.logit_shift.bias.fill_(EXPECTED_SCORE_LOGIT)
        network.class_head.logit_scale.bias.fill_(1.0)
        network.box_head.dense2.bias.copy_(torch.tensor([0.0, 0.0, 1.5, 1.5]))
    network.save_pretrained(folder)
    processor = Owlv2ImageProcessor(size={"height": pixels, "width": pixels})
    Owlv2Processor(processor, tokenizer).save_pretrained(folder)
    return mark_random(folder)


def write_grounding_dino(folder: Path, size: str = "small") -> Path:
    """`IDEA-Research/grounding-dino-tiny`, or as much of it as a test needs."""
    import torch
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(5)
    real = size == "real"
    words = sorted({word for name in NAMES for word in re.findall(r"\w+", name.lower())})
    vocabulary = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, "?": 1029, ".": 1012}
    free = (number for number in range(1, 3000) if number not in vocabulary.values())
    vocabulary |= {word: next(free) for word in words}
    stages = ["stage2", "stage3", "stage4"]
    backbone = (
        SwinConfig(window_size=7, image_size=224, out_features=stages)
        if real
        else SwinConfig(embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), window_size=4, image_size=64)
    )
    backbone.out_features = stages
    small: dict[str, Any] = {"encoder_layers": 1, "decoder_layers": 2, "d_model": 32, "num_queries": 30}
    small |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    bert = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=BertConfig(vocab_size=30522 if real else 3000, **({} if real else bert)),
        **({} if real else small),
    )
    network = GroundingDinoForObjectDetection(config)
    network.save_pretrained(folder)
    edges = {"shortest_edge": 800, "longest_edge": 1333} if real else {"shortest_edge": 96, "longest_edge": 160}
    tokenizer = BertTokenizer(vocab=vocabulary)
    GroundingDinoProcessor(GroundingDinoImageProcessor(size=edges), tokenizer).save_pretrained(folder)
    return mark_random(folder)


def _clip_tokenizer() -> Any:
    """CLIP's tokenizer with a vocabulary learned from the queries; 0 is the padding, as in OWLv2's."""
    from tokenizers import Tokenizer, models, trainers
    from transformers import CLIPTokenizer

    like = CLIPTokenizer().backend_tokenizer
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = like.normalizer, like.pre_tokenizer
    special = ["!", "<|startoftext|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator([PROMPT.format(name) for name in NAMES], trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    return CLIPTokenizer(vocab=learned["vocab"], merges=merges, pad_token="!", model_max_length=16)
