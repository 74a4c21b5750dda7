"""wav2vec 2.0 emotion models with random weights: of classes (base) and of dimensions (large), small or in own size.

Sizes of ``real`` are those of the published configs: superb/wav2vec2-base-superb-er (12 layers of 768, group norm, a
weighted sum of layers, four classes; 94.6 M parameters) and audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim (12
layers of 1024, layer norms; 165 M).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tests.full.checkpoints.mark import mark_random

_SMALL: Final[dict[str, Any]] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
    "conv_dim": [32] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "initializer_range": 0.3,
}  # fmt: skip
_BASE: Final[dict[str, Any]] = {
    "feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False, "use_weighted_layer_sum": True,
    "id2label": {0: "neu", 1: "hap", 2: "ang", 3: "sad"}, "label2id": {"neu": 0, "hap": 1, "ang": 2, "sad": 3},
}  # fmt: skip
_ROBUST: Final[dict[str, Any]] = {
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True, "vocab_size": None,
    "id2label": {0: "arousal", 1: "dominance", 2: "valence"}, "label2id": {"arousal": 0, "dominance": 1, "valence": 2},
}  # fmt: skip
SIZES: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "classes": {"small": {**_BASE, **_SMALL, "classifier_proj_size": 32}, "real": _BASE},
    "dimensions": {
        "small": {**_ROBUST, **_SMALL},
        "real": {
            **_ROBUST, "hidden_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 16,
            "intermediate_size": 4096,
        },
    },
}  # fmt: skip


def write_wav2vec2(folder: Path, size: str = "small", kind: str = "classes") -> Path:
    """A folder as the hub's repository looks: config, safetensors, preprocessor_config.json.

    Args:
        folder: made, if it is not there.
        size: ``small`` or ``real`` (378 or 660 MB; may be built under ``torch.device("cuda")``).
        kind: ``classes`` or ``dimensions``.
    """
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    from analyzers.models.wav2vec2 import _dimension_model

    torch.manual_seed(0)
    config = Wav2Vec2Config(**SIZES[kind][size])
    model_class = Wav2Vec2ForSequenceClassification if kind == "classes" else _dimension_model()
    model = model_class(config).eval()
    if kind == "dimensions":  # around the middle, as trained ones are
        torch.nn.init.constant_(model.classifier.out_proj.bias, 0.5)
        torch.nn.init.normal_(model.classifier.out_proj.weight, 0, 0.02)
    model.to("cpu").save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=kind == "dimensions")
    extractor.save_pretrained(folder)
    return mark_random(folder)
