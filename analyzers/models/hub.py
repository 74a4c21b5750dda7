"""Models of the full profile: which one an analyzer uses, where its files lie, and what it takes of a GPU.

An analyzer's options derive from `ModelOptions`. `model` is a name of the manifest, a hub id, or a folder:

    [analyzers.qwen2_vl_temporal]
    model = "qwen2_vl_7b_instruct"      # or "Qwen/Qwen2-VL-7B-Instruct", or "/models/my-own"
    quantize = "4bit"

A folder that holds a file `RANDOM_WEIGHTS` has learned nothing: every result says so, and no other analyzer uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from analyzers.models.hub_store import RANDOM_MARK, read_lock, wrong_file
from analyzers.models.manifest import HubModel, read_manifest
from pipeline.analyzer import Options
from pipeline.errors import ModelUnavailable
from pipeline.results import ModelInfo
from pipeline.types import GPU_CONTEXT_GB

Precision = Literal["auto", "float32", "float16", "bfloat16"]
Quantize = Literal["none", "8bit", "4bit"]

RANDOM_NOTE: Final = "random weights: the numbers are for speed and tests, and this is not an answer"

CONTEXT_GB: Final = GPU_CONTEXT_GB
BATCH_FIELDS: Final = frozenset({"tokens_per_batch", "batch_size"})
"""Settings that bound what a model computes at once: half of it takes half of the activations."""
_BYTES_OF: Final = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "auto": 2.0}
# With the scales of each block and the layers that stay in 16 bit (embeddings, head, vision tower).
_BYTES_OF_QUANTIZED: Final = {"8bit": 1.25, "4bit": 0.75}


class ModelOptions(Options):
    """Settings of an analyzer that has a model of the full profile.

    `precision` ``auto`` is bfloat16 where the GPU has it, else float16, and float32 on the CPU. `quantize` needs
    bitsandbytes; where it cannot be had the model runs unquantized and `model.note` says so.
    """

    model: str
    precision: Precision = "auto"
    quantize: Quantize = "none"


@dataclass(frozen=True)
class LocalModel:
    """A model whose files are on this machine.

    Args:
        folder: where they lie.
        id: the hub id, or for a folder of the user's own its name.
        revision: the commit of the hub; ``local`` for a user's own files, ``random`` for random weights.
        licence: SPDX where there is one; ``unknown`` for a user's own.
        random_weights: whether the folder is marked so.
        note: what a reader must know.
    """

    folder: Path
    id: str
    revision: str
    licence: str
    random_weights: bool = False
    note: str | None = None

    def info(self, *, backend: str, device: str, precision: str, note: str | None = None) -> ModelInfo:
        """The provenance that a result carries; `note` is added to what the model itself has to say."""
        notes = [text for text in (RANDOM_NOTE if self.random_weights else None, self.note, note) if text]
        return ModelInfo(
            id=self.id,
            revision=self.revision,
            backend=backend,
            device=device,
            precision=precision,
            licence=self.licence,
            note="; ".join(notes) or None,
            random_weights=self.random_weights,
        )


def find(choice: str) -> HubModel | None:
    """The manifest's entry of a model name or hub id; None for a folder, an unknown id, or one of several models."""
    hub = read_manifest().hub
    found = [model for model in hub if choice == model.name] or [model for model in hub if choice == model.id]
    return found[0] if len(found) == 1 else None


def locate(models_dir: Path, choice: str, analyzer: str) -> LocalModel:
    """Where a model's files are.

    Args:
        models_dir: the model store.
        choice: a name of the manifest, a hub id, or a folder.
        analyzer: who asks, for the message.

    Raises:
        ModelUnavailable: they are not there; the message says what to do.
    """
    known = find(choice)
    folder = models_dir / known.name if known is not None else Path(choice).expanduser()
    if not folder.is_dir() or not any(folder.iterdir()):
        if known is None:
            raise ModelUnavailable(
                f"{analyzer}: {choice} is neither a model of the manifest nor a folder; `reelscope models list` shows "
                "those there are"
            )
        raise ModelUnavailable(
            f"{analyzer}: {known.id} is not in the store {models_dir}; run `reelscope models fetch {known.name}` "
            f"({known.bytes / 1e9:.1f} GB), or set [analyzers.{analyzer}] model to a folder that has it"
        )
    if (folder / RANDOM_MARK).exists():
        return LocalModel(folder, f"random:{folder.name}", "random", "none", random_weights=True)
    lock = read_lock(folder) if known is not None else None
    if known is None or lock is None:
        return LocalModel(folder, folder.name, "local", "unknown", note=f"weights of the folder {folder.name}")
    if wrong := wrong_file(folder, lock, sums=False):
        raise ModelUnavailable(
            f"{analyzer}: {known.id} in {folder} is damaged: {wrong}; run `reelscope models fetch {known.name}`"
        )
    return LocalModel(folder, lock.id, lock.revision, known.licence, note=known.note or None)


def named_in(options: Options) -> list[HubModel]:
    """The hub models that an analyzer's settings name, in whatever field."""
    named = [find(value) for value in options.model_dump().values() if isinstance(value, str)]
    return [model for model in named if model is not None]


def smaller(analyzer: str, options: Options) -> list[tuple[int, dict[str, Any]]]:
    """Settings under which an analyzer takes less GPU memory, the mildest first (cluster/advice.py tries them).

    Each holds those before it. A folder of the user's own has no smaller model.

    Returns:
        What it costs (0 speed: half and a quarter of a batch; 1 quality: smaller models of the manifest, then 8 and 4
        bit of the smallest; 2 the GPU: one that has no hub model, but weights of a package, runs on a CPU too), and the
        settings by their dotted names.
    """
    choices: list[tuple[int, dict[str, Any]]] = []
    base: dict[str, Any] = {}
    known = find(options.model) if isinstance(options, ModelOptions) else None
    for divisor in (2, 4):
        for field in BATCH_FIELDS & type(options).model_fields.keys():
            bounds = [getattr(one, "ge", None) for one in type(options).model_fields[field].metadata]
            least = max((int(bound) for bound in bounds if bound is not None), default=1)
            base |= {f"analyzers.{analyzer}.{field}": max(least, int(getattr(options, field)) // divisor)}
            choices.append((0, dict(base)))
    while known is not None and known.smaller is not None:
        known = find(known.smaller)
        base |= {f"analyzers.{analyzer}.model": known.name if known is not None else ""}
        choices.append((1, dict(base)))
    if known is not None and known.quantizable and isinstance(options, ModelOptions):
        widths: dict[str, tuple[str, ...]] = {"none": ("8bit", "4bit"), "8bit": ("4bit",), "4bit": ()}
        choices += [(1, base | {f"analyzers.{analyzer}.quantize": width}) for width in widths[options.quantize]]
    if not isinstance(options, ModelOptions):
        choices.append((2, {f"plan.{analyzer}.gpu_gb": 0.0}))
    return choices


def gpu_gb(options: ModelOptions, activations_gb: float) -> float:
    """GPU memory of a process that holds this model, in GB of 10^9 bytes.

    Parameters times their width, plus what a full batch needs beside them (`activations_gb`: measured where a GPU was
    at hand, else counted from shapes), plus the context. A folder of the user's own counts with its files' size.
    """
    known = find(options.model)
    width = _BYTES_OF[options.precision] if options.quantize == "none" else _BYTES_OF_QUANTIZED[options.quantize]
    if known is not None:
        weights = known.parameters * width
    else:
        folder = Path(options.model).expanduser()
        files = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
        weights = files * width / 2.0
    return round(weights / 1e9 + activations_gb + CONTEXT_GB, 2)
