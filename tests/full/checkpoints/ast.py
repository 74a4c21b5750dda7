"""AST with random weights: the architecture of MIT/ast-finetuned-audioset-10-10-0.4593, small or in its own size.

Input (1024 frames of 128 bands), patches and the 527 classes are the published ones in both sizes; ``real`` has 12
layers of 768, 86.6 M parameters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from analyzers.models.ast_tagger import NOT_OF_YAMNET
from analyzers.models.store import ModelStore
from analyzers.models.yamnet import class_names
from tests.full.checkpoints.mark import mark_random

SIZES: Final[dict[str, dict[str, Any]]] = {
    "small": {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
        "initializer_range": 0.2,
    },
    "real": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}  # fmt: skip


def audioset_names() -> list[str]:
    """The 527 classes in AudioSet's order: YAMNet's, which lie in the store, and the six that it lacks."""
    names = list(class_names(ModelStore().path("yamnet", "class_map.csv")))
    for extra, (follows, _) in NOT_OF_YAMNET.items():
        names.insert(names.index(follows) + 1, extra)
    return names


def write_ast(folder: Path, size: str = "small") -> Path:
    """A folder as the hub's repository looks: config, safetensors, preprocessor_config.json.

    Args:
        folder: made, if it is not there.
        size: ``small`` or ``real`` (346 MB; may be built under ``torch.device("cuda")``).
    """
    import torch
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    names = audioset_names()
    config = ASTConfig(
        **SIZES[size], id2label=dict(enumerate(names)), label2id={name: number for number, name in enumerate(names)}
    )
    torch.manual_seed(0)
    model = ASTForAudioClassification(config).eval()
    with torch.no_grad():  # zeros at first, so that every patch would be the same
        for values in (
            model.audio_spectrogram_transformer.embeddings.position_embeddings,
            model.audio_spectrogram_transformer.embeddings.cls_token,
            model.audio_spectrogram_transformer.embeddings.distillation_token,
        ):
            values.normal_(0, config.initializer_range)
    model.to("cpu").save_pretrained(folder)
    ASTFeatureExtractor().save_pretrained(folder)
    return mark_random(folder)
