"""The vision-language engine on one device, against the loop of one window at a time (for benchmarks/gpu.py)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from analyzers.models.vlm.engine import ANSWERS, FEATURES, Engine, operations
from analyzers.models.vlm.family import Request
from analyzers.models.vlm.windows import DESCRIBE, windows_of
from analyzers.qwen2_vl_temporal import Qwen2VLTemporal, Qwen2VLTemporalOptions
from benchmarks.measure import Row, median
from benchmarks.windows import one_by_one
from pipeline.analyzer import Profile
from pipeline.media import decode
from pipeline.types import FrameBatch

NEW_TOKENS: Final = 48
SINGLE_WINDOWS: Final = 12
"""So many windows are timed one by one, and the ratio is of seconds per window: all of them would take minutes."""
MATRIX: Final = {"cuda": 8192, "cpu": 1024}
"""Side of the matrix product that stands for the most that a device can do."""


def compare(folder: Path, clip: Path, device: str, runs: int = 3) -> list[Row]:
    """Describe every window of a clip with one checkpoint, batched and one by one.

    Args:
        folder: a Qwen2-VL checkpoint.
        clip: what is looked at.
        device: ``cpu`` or ``cuda:0``.
        runs: how often each way is timed; medians are given.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    options = Qwen2VLTemporalOptions(model=str(folder))
    analyzer = Qwen2VLTemporal(options)
    analyzer.load(device, Profile("full", folder.parent))
    items = decode(clip, video_id="v", views=(DESCRIBE,))
    windows = [window for item in items if isinstance(item, FrameBatch) for window in windows_of(item)]
    requests = [Request(options.prompt, window.pieces, NEW_TOKENS, NEW_TOKENS) for window in windows]
    name, family = folder.name, analyzer.engine.family
    rows = [Row(f"{name}: windows of {len(family.prompt(requests[0]))} prompt tokens", len(windows))]
    _answer(Engine(family, tokens_per_batch=options.tokens_per_batch), requests)  # kernels are chosen, caches filled
    batched_s = []
    for _ in range(runs):
        engine = Engine(family, tokens_per_batch=options.tokens_per_batch)
        batched_s.append(_answer(engine, requests))
    figures, work = engine.figures, operations(family, engine.figures)
    most = _operations_a_second(device, family.dtype)
    rows += [
        Row(f"{name}: batched, all windows", median(batched_s), "s"),
        Row(f"{name}: batched, windows a second", len(windows) / median(batched_s)),
        Row(f"{name}: prefill, tokens a second", figures.prefill_tokens / max(figures.prefill_s, 1e-9)),
        Row(f"{name}: decoding, tokens a second", figures.decode_tokens / max(figures.decode_s, 1e-9)),
        Row(f"{name}: vision, patches a second", figures.vision_patches / max(figures.vision_s, 1e-9)),
        Row(f"{name}: half seconds encoded of those looked at", figures.pieces_encoded / max(figures.pieces, 1)),
        Row(f"{name}: waiting for the preparing thread", figures.waited_s, "s"),
        Row(f"{name}: a large matrix product here", most / 1e12, "TFLOP/s"),
        Row(f"{name}: share of that, prefill", work["prefill"] / max(figures.prefill_s, 1e-9) / most),
        Row(f"{name}: share of that, decoding", work["decode"] / max(figures.decode_s, 1e-9) / most),
        Row(f"{name}: share of that, all of it", sum(work.values()) / median(batched_s) / most),
    ]
    single = _loop(folder, device, family, options, windows, runs)
    ratio = single / (median(batched_s) / len(windows))
    rows.append(Row(f"{name}: one by one, seconds a window", single, "s"))
    # The bar is the issue's, for 97 windows on a CPU.
    bar = 8.0 if device == "cpu" and len(windows) >= 97 else None
    return [*rows, Row(f"{name}: batched is faster by", ratio, "x", bar, False)]


def _answer(engine: Engine, requests: Sequence[Request]) -> float:
    """Seconds for all requests, with nothing remembered of a run before."""
    FEATURES.clear()
    ANSWERS.clear()
    began_s = time.perf_counter()
    engine.answer(requests)
    _wait(engine.family.device)
    return time.perf_counter() - began_s


def _loop(folder: Path, device: str, family: Any, options: Any, windows: Sequence[Any], runs: int) -> float:
    """Median seconds per window of the published processor and `generate`, one window after another."""
    import torch
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        model = transformers.Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=dtype).to(device).eval()
        processor = transformers.AutoProcessor.from_pretrained(folder)
        some = windows[:SINGLE_WINDOWS]
        places = options.pixels_max // (28 * 28)
        one_by_one(model, processor, options.prompt, some[:2], places, NEW_TOKENS)
        taken_s = []
        for _ in range(runs):
            began_s = time.perf_counter()
            one_by_one(model, processor, options.prompt, some, places, NEW_TOKENS)
            _wait(device)
            taken_s.append((time.perf_counter() - began_s) / len(some))
    return median(taken_s)


def _operations_a_second(device: str, dtype: Any) -> float:
    """What a large matrix product of that type reaches, in operations a second."""
    import torch

    side = MATRIX["cuda" if device.startswith("cuda") else "cpu"]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    taken_s = []
    for _ in range(8):
        _wait(device)
        began_s = time.perf_counter()
        a @ b
        _wait(device)
        taken_s.append(time.perf_counter() - began_s)
    return float(2 * side**3 / median(taken_s[3:]))


def _wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
