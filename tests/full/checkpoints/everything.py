"""A model store for the full profile: every hub model with random weights, and the packaged weights beside them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

from analyzers.models.store import ModelStore

CHECKPOINTS: Final = "tests.full.checkpoints"

# name in the store: (module, function, arguments when small, arguments at its published size)
Writer = tuple[str, str, dict[str, Any], dict[str, Any]]
SMALL: Final[dict[str, Any]] = {"size": "small"}
REAL: Final[dict[str, Any]] = {"size": "real"}
WRITERS: Final[dict[str, Writer]] = {
    "qwen2_vl_2b_instruct": ("vlm", "write_qwen2_vl", SMALL, {"size": "2b"}),
    "llava_next_video_7b": ("llava", "write_llava_next_video", SMALL, REAL),
    "blip2_opt_2_7b": ("blip2", "write_blip2", SMALL, REAL),
    "yolo11m": ("yolo", "write_yolo", SMALL, REAL),
    "yolo11m-pose": ("yolo", "write_yolo", SMALL | {"pose": True}, REAL | {"pose": True}),
    "segformer_b2_ade": ("segformer", "write_segformer", SMALL, REAL),
    "owlv2_base": ("open_vocabulary", "write_owlv2", SMALL, REAL),
    "clip_vit_b_32": ("clip", "write_clip", SMALL, REAL),
    "whisper_large_v3_turbo": ("whisper", "write_whisper", SMALL, REAL),
    "wav2vec2_base_superb_er": ("wav2vec2", "write_wav2vec2", SMALL, REAL),
    "ast_audioset": ("ast", "write_ast", SMALL, REAL),
    "insightface_buffalo_l": ("insightface", "write_insightface", SMALL, REAL),
}
"""The models that the full profile's analyzers use by default."""
MORE_AT_REAL_SIZE: Final[dict[str, Writer]] = {
    "qwen2_vl_7b_instruct": ("vlm", "write_qwen2_vl", SMALL, {"size": "7b"}),
}


def write_everything(models_dir: Path, size: str, *, more: bool = False) -> Path:
    """Fill a model store. What is there already stays; packaged weights are links to those of the usual store.

    Args:
        models_dir: made if it is not there.
        size: ``small`` or ``real`` (35 GB, built on the GPU if there is one).
        more: also those that the default settings do not use.
    """
    models_dir.mkdir(parents=True, exist_ok=True)
    for model in ModelStore().entries():
        link = models_dir / model.model.name
        if model.state == "present" and model.folder.parent == ModelStore().models_dir and not link.exists():
            link.symlink_to(model.folder)
    for name, (module, function, small, real) in (WRITERS | (MORE_AT_REAL_SIZE if more else {})).items():
        folder, part = models_dir / name, models_dir / f".{name}.part"
        if folder.exists():
            continue
        write: Callable[..., Path] = getattr(importlib.import_module(f"{CHECKPOINTS}.{module}"), function)
        with _on_gpu(size):
            write(part, **(real if size == "real" else small))
        part.rename(folder)
    return models_dir


def _on_gpu(size: str) -> AbstractContextManager[Any]:
    """Seven billion random numbers take minutes on a CPU."""
    import torch

    return torch.device("cuda") if size == "real" and torch.cuda.is_available() else nullcontext()
