"""Whisper with random weights in CTranslate2's format: the architecture of large-v3-turbo, small or in its own size.

Sizes of ``real`` are those of the published config of openai/whisper-large-v3-turbo: 32 encoder and 4 decoder layers of
1280, 128 mel bands, 51866 tokens; 809 M parameters. It is made as transformers' model and converted by CTranslate2's
own loader, so the arrays lie where those of a real checkpoint do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.full.checkpoints.mark import mark_random

LINES: Final = ("And so, my fellow Americans: ask not what your country can do for you.\n", "Guten Tag, die Küche.\n")
"""What the tokenizer is trained on."""
LANGUAGES_OF_V3: Final = 100
TIMESTAMPS: Final = 1501
SIZES: Final[dict[str, dict[str, Any]]] = {
    "small": {
        "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "num_mel_bins": 128,
        "init_std": 0.3,
    },
    "real": {
        "d_model": 1280, "encoder_layers": 32, "decoder_layers": 4, "encoder_attention_heads": 20,
        "decoder_attention_heads": 20, "encoder_ffn_dim": 5120, "decoder_ffn_dim": 5120, "num_mel_bins": 128,
    },
}  # fmt: skip
REAL_VOCABULARY: Final = 51866


def write_whisper(folder: Path, size: str = "small") -> Path:
    """A folder as mobiuslabsgmbh/faster-whisper-large-v3-turbo looks: model.bin, config, tokenizer, preprocessor.

    Args:
        folder: made, if it is not there.
        size: ``small`` or ``real`` (1.6 GB in float16; may be built under ``torch.device("cuda")``).
    """
    import torch
    from ctranslate2.converters.transformers import WhisperLoader
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    tokens = _write_tokenizer(folder, REAL_VOCABULARY if size == "real" else None)
    first_language = tokens.index("<|en|>")
    torch.manual_seed(0)
    config = WhisperConfig(
        **SIZES[size],
        vocab_size=len(tokens),
        max_target_positions=448,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=first_language - 1,
    )
    model = WhisperForConditionalGeneration(config).eval().to("cpu", torch.float16 if size == "real" else torch.float32)
    with torch.no_grad():
        loader = WhisperLoader()
        spec = loader.get_model_spec(model)
        half = range(config.decoder_layers // 2, config.decoder_layers)
        spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
        spec.config.lang_ids = list(range(first_language, first_language + LANGUAGES_OF_V3))
        spec.config.alignment_heads = [[layer, head] for layer in half for head in range(2)]
        spec.register_vocabulary(tokens)
        spec.validate()
        spec.optimize(quantization="float16" if size == "real" else None)
        spec.save(str(folder))
    extractor = {"feature_size": 128, "sampling_rate": 16000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor), encoding="utf-8")
    return mark_random(folder)


def _write_tokenizer(folder: Path, size: int | None) -> list[str]:
    """tokenizer.json in the order of Whisper's: text, end, start, languages, tasks, 1501 times. Returns all tokens."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in _LANGUAGE_CODES)]
    special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    special.append("<|notimestamps|>")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        LINES, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    )
    if size is not None:
        filler = size - tokenizer.get_vocab_size() - len(special) - TIMESTAMPS
        tokenizer.add_tokens([f"filler{number}" for number in range(filler)])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([f"<|{number * 0.02:.2f}|>" for number in range(TIMESTAMPS)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
