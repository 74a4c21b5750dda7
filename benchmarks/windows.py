"""97 windows of a 49 s video: one by one as transformers' documentation does it, against the engine's batches.

    python -m benchmarks.windows [--runs 3] [--tokens 48] [--places 64]

A Qwen2-VL of random weights (`tests/full/checkpoints/vlm.py`, size ``bench``: four layers 128 wide, vision four layers
64 wide, in the real 2B's proportion of one to the other) on one CPU thread. Every way
answers the same windows with the same number of new tokens, greedily and in float32. The ways are run in turn, several
times, and compared by their medians, of wall time and of CPU time (which a busy machine disturbs less):

    one by one   the published processor, then `generate`, window after window
    own          the engine, window after window, nothing shared: our preprocessing and decode loop
    shared       the same, half seconds encoded once for the windows that overlap on them
    batched      the same, all windows at once: what the analyzer does
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from analyzers.models.hub import LocalModel, ModelOptions
from analyzers.models.vision_language import SCENE_TEXT
from analyzers.models.vlm.engine import Engine, Figures
from analyzers.models.vlm.family import Request
from analyzers.models.vlm.qwen import PIXELS_MIN, QwenFamily, load_qwen
from analyzers.models.vlm.windows import DESCRIBE, Window, windows_of
from analyzers.qwen2_vl_temporal import PROMPT
from pipeline.types import FrameBatch

DURATION_S: Final = 49
HEIGHT, WIDTH = 597, 336
"""Of an upright reel in the DESCRIBE view."""


def video() -> list[FrameBatch]:
    """49 s at 4 fps of moving blobs: no two frames are alike, as in a real video."""
    rng = np.random.default_rng(5)
    low = rng.integers(0, 255, (DURATION_S * 4, 20, 12, 3), np.uint8)
    frames = low.repeat(HEIGHT // 20 + 1, 1).repeat(WIDTH // 12, 2)[:, :HEIGHT, :WIDTH]
    batches = []
    for second in range(DURATION_S):
        start, after = max(0, second * 4 - (DESCRIBE.lead_in if second else 0)), second * 4 + 4
        batches.append(
            FrameBatch("v", DESCRIBE, second, frames[start:after], np.arange(start, after) / 4,
                       second == DURATION_S - 1, second + 1.0)
        )  # fmt: skip
    return batches


def one_by_one(model: Any, processor: Any, text: str, windows: Sequence[Window], places: int, tokens: int) -> list[str]:
    """The batch-one loop."""
    import torch

    answers = []
    size = {"shortest_edge": PIXELS_MIN, "longest_edge": places * 28 * 28}
    messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}]
    for window in windows:
        chat = processor.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        frames = np.concatenate([piece.frames for piece in window.pieces])
        given = processor(text=[chat], videos=[frames], return_tensors="pt", do_sample_frames=False, size=size,
                          cap_pixels_per_frame=False).to(model.device)  # fmt: skip
        with torch.inference_mode():
            made = model.generate(**given, do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens)
        new = made[0, given["input_ids"].shape[1] :]
        answers.append(processor.tokenizer.decode(new, skip_special_tokens=True))
    return answers


def engine_way(
    family: QwenFamily, batches: Sequence[FrameBatch], text: str, tokens: int, *, share: bool, together: bool
) -> tuple[list[str], Figures]:
    """The engine, with the memory of one run only, from chunks to texts."""
    from analyzers.models.vlm.engine import ANSWERS, FEATURES

    FEATURES.clear()
    ANSWERS.clear()
    engine = Engine(family, share=share)
    requests = [Request(text, window.pieces, tokens, tokens) for batch in batches for window in windows_of(batch)]
    if together:
        return engine.answer(requests), engine.figures
    return [engine.answer([request])[0] for request in requests], engine.figures


def measure(runs: int, tokens: int, places: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median wall and CPU seconds by way; prints each run."""
    import torch
    import transformers

    from tests.full.checkpoints.vlm import write_qwen2_vl

    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        path = write_qwen2_vl(Path(folder) / "qwen2_vl", "bench")
        local = LocalModel(path, "qwen2_vl bench", "local", "none", random_weights=True)
        family, setup = load_qwen(local, "cpu", ModelOptions(model=str(path)), places * 28 * 28)
        model = transformers.Qwen2VLForConditionalGeneration.from_pretrained(path).eval()
        processor = transformers.AutoProcessor.from_pretrained(path)
    batches, text = video(), f"{PROMPT} {SCENE_TEXT}"
    windows = [window for batch in batches for window in windows_of(batch)]
    prompt = family.prompt(Request(text, windows[0].pieces))
    print(
        f"{len(windows)} windows, {len(prompt)} prompt tokens ({int(prompt.places.sum())} of pictures), {tokens} new; "
        f"parameters: vision {family.vision_parameters / 1e6:.2f} M, decoder {family.decoder_parameters / 1e6:.2f} M; "
        f"{setup.precision}, {torch.get_num_threads()} thread, torch {torch.__version__}, "
        f"transformers {transformers.__version__}"
    )
    figures: dict[str, Figures] = {}

    def run(name: str, share: bool, together: bool) -> list[str]:
        answers, figures[name] = engine_way(family, batches, text, tokens, share=share, together=together)
        return answers

    ways: dict[str, Callable[[], list[str]]] = {
        "one by one": lambda: one_by_one(model, processor, text, windows, places, tokens),
        "own": lambda: run("own", share=False, together=False),
        "shared": lambda: run("shared", share=True, together=False),
        "batched": lambda: run("batched", share=True, together=True),
    }
    wall_s: dict[str, list[float]] = {name: [] for name in ways}
    cpu_s: dict[str, list[float]] = {name: [] for name in ways}
    one_by_one(model, processor, text, windows[:2], places, tokens)
    answers: dict[str, list[str]] = {}
    for number in range(runs):
        for name, way in ways.items():
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            answers[name] = way()
            wall_s[name].append(time.perf_counter() - began_s)
            cpu_s[name].append(time.process_time() - began_cpu_s)
        said = ", ".join(f"{name} {wall_s[name][-1]:.2f} ({cpu_s[name][-1]:.2f})" for name in ways)
        print(f"run {number + 1}, seconds (of CPU): {said}", flush=True)
    wall = {name: statistics.median(some) for name, some in wall_s.items()}
    cpu = {name: statistics.median(some) for name, some in cpu_s.items()}
    same = sum(a == b for a, b in zip(answers["shared"], answers["batched"], strict=True))
    print(f"batched and single answers alike: {same} of {len(windows)}")
    print(f"batched: {figures['batched']}")
    return wall, cpu


def tell(what: str, seconds: dict[str, float]) -> None:
    """Print the ratio and where it comes from."""
    slow, own, shared, batched = (seconds[name] for name in ("one by one", "own", "shared", "batched"))
    print(f"{what}: " + ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()))
    print(f"  batched is {slow / batched:.1f} times faster than one by one")
    steps = (("own preprocessing and loop", slow, own), ("sharing", own, shared), ("batching", shared, batched))
    for name, before, after in steps:
        saved = 100 * (before - after) / (slow - batched)
        print(f"  {name}: {before / after:.2f} times, {saved:.0f} % of the time saved")


def main() -> None:
    """Print medians, the ratio and where it comes from."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=48, help="new tokens per window")
    parser.add_argument("--places", type=int, default=64, help="bound on the places of a half second")
    chosen = parser.parse_args()
    wall, cpu = measure(chosen.runs, chosen.tokens, chosen.places)
    tell("wall", wall)
    tell("CPU (of all threads)", cpu)


if __name__ == "__main__":
    main()
