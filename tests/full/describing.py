"""What the tests of video_llava and blip2 share: chunks of pictures, damaged checkpoints, memory that runs out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyzers.models.vlm import engine as engine_module
from analyzers.models.vlm.windows import DESCRIBE
from pipeline.results import VideoFacts
from pipeline.types import FrameBatch
from tests.analyzers.frames import batches

FACTS: Final = VideoFacts(source="made", sha256="0" * 64, bytes=0, duration_s=1.0)
FPS: Final = DESCRIBE.fps


def noise(count: int, height: int = 96, width: int = 54, seed: int = 1) -> npt.NDArray[np.uint8]:
    """Pictures [N, H, W, 3] that have nothing in common."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def chunks(duration_s: float, video_id: str = "v", seed: int = 1) -> list[FrameBatch]:
    """Chunks of a video whose every picture is another."""
    assert FPS is not None
    count = max(1, int(duration_s * FPS))
    return of_frames(noise(count, seed=seed), duration_s, video_id)


def of_frames(frames: npt.NDArray[np.uint8], duration_s: float, video_id: str = "v") -> list[FrameBatch]:
    """Chunks of these frames, four a second."""
    assert FPS is not None
    made = batches(frames, [number / FPS for number in range(len(frames))], duration_s, DESCRIBE)
    return [replace(chunk, video_id=video_id) for chunk in made]


def without_tensor(folder: Path, name: str) -> None:
    """Take one tensor out of a checkpoint."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def changed(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change one file of settings."""
    file = folder / name
    said = json.loads(file.read_text(encoding="utf-8"))
    change(said)
    file.write_text(json.dumps(said), encoding="utf-8")


def copied(folder: Path, to: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(folder, to))


def memory_for(rows_max: int, monkeypatch: Any) -> list[int]:
    """From now on decoding more rows than this runs out of memory. Returns how many rows were tried."""
    import torch

    decode, tried = engine_module.decode, list[int]()

    def limited(family: Any, rows: Sequence[Any], *more: Any, **named: Any) -> Any:
        tried.append(len(rows))
        if len(rows) > rows_max:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return decode(family, rows, *more, **named)

    monkeypatch.setattr(engine_module, "decode", limited)
    return tried


def forget() -> None:
    """Empty what the process remembers of pictures and answers, so that a test sees work and not memory."""
    engine_module.FEATURES.clear()
    engine_module.ANSWERS.clear()
