"""How every torch model of the full profile is set up: device, precision, attention, quantization, strict loading.

Fallbacks are logged, and stand in the result's `model`. Nothing is fetched here, no code of a checkpoint runs, and a
checkpoint that lacks a tensor is refused: transformers would fill it with random numbers and go on.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analyzers.models.hub import LocalModel, ModelOptions
from pipeline.errors import ModelUnavailable
from pipeline.results import ModelInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """Where and how a model computes.

    Args:
        device: ``cpu`` or ``cuda:0``.
        dtype: the `torch.dtype` of weights and activations.
        precision: what `ModelInfo.precision` says, for example ``bfloat16`` or ``4bit bfloat16``.
        attention: transformers' name of the attention kernel.
        quantization: transformers' quantization config; None for plain weights.
        notes: which wishes could not be met.
    """

    device: str
    dtype: Any
    precision: str
    attention: str
    quantization: Any = None
    notes: tuple[str, ...] = field(default=())

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.device.startswith("cuda")

    def device_name(self) -> str:
        """What `ModelInfo.device` says: ``cpu``, or the GPU's name."""
        import torch

        return str(torch.cuda.get_device_name(self.device)) if self.on_gpu else "cpu"

    def info(self, model: LocalModel, backend: str) -> ModelInfo:
        """The provenance of a model that runs here."""
        note = "; ".join(self.notes) or None
        return model.info(backend=backend, device=self.device_name(), precision=self.precision, note=note)


def runtime(device: str, options: ModelOptions) -> Runtime:
    """Choose precision, attention and quantization, and set torch up for them.

    Args:
        device: ``cpu`` or ``cuda:0``.
        options: the analyzer's wishes.

    Raises:
        ModelUnavailable: torch is not installed.
    """
    require("torch")
    import torch

    on_gpu = device.startswith("cuda")
    notes: list[str] = []
    if on_gpu:
        torch.set_float32_matmul_precision("high")  # TF32, where float32 is used at all
        torch.backends.cudnn.allow_tf32 = True
    else:
        torch.set_num_threads(1)
    precision = options.precision
    if precision == "auto":
        precision = ("bfloat16" if torch.cuda.is_bf16_supported() else "float16") if on_gpu else "float32"
    quantization = None
    if options.quantize != "none":
        quantization = _quantization(options.quantize, getattr(torch, precision))
        if quantization is None:
            notes.append(f"{options.quantize} was asked for, and bitsandbytes is not installed: plain {precision}")
            logger.warning("%s", notes[-1])
    attention = "sdpa"
    if on_gpu and precision != "float32" and importlib.util.find_spec("flash_attn") is not None:
        attention = "flash_attention_2"
    said = precision if quantization is None else f"{options.quantize} {precision}"
    return Runtime(device, getattr(torch, precision), said, attention, quantization, tuple(notes))


def require(module: str) -> None:
    """Say in one line what to install.

    Raises:
        ModelUnavailable: a library of the extra `full` is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise ModelUnavailable(
            f"the full profile needs {module}: install the extra `full` (pip install 'reelscope[full]')"
        )


def load_pretrained(model_class: Any, model: LocalModel, setup: Runtime, **more: Any) -> Any:
    """A transformers model from a local folder, in `eval` mode on its device.

    Args:
        model_class: with `from_pretrained`.
        model: which files.
        setup: where and how.
        more: further arguments of `from_pretrained`.

    Raises:
        ModelUnavailable: files are missing or damaged, or are those of another architecture.
    """
    arguments: dict[str, Any] = {"dtype": setup.dtype, "attn_implementation": setup.attention} | more
    if setup.quantization is not None:
        arguments |= {"quantization_config": setup.quantization, "device_map": {"": setup.device}}
    from safetensors import SafetensorError

    try:
        loaded, found = model_class.from_pretrained(
            model.folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **arguments,
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        if "OutOfMemory" in type(error).__name__:
            raise  # the files are well
        raise unusable(model, str(error)) from error
    _check_complete(model, found)
    if setup.quantization is None:
        loaded = loaded.to(setup.device)
    return loaded.eval()


def load_processor(processor_class: Any, model: LocalModel, **more: Any) -> Any:
    """A tokenizer or processor from a local folder.

    Raises:
        ModelUnavailable: files are missing or damaged.
    """
    try:
        return processor_class.from_pretrained(model.folder, local_files_only=True, trust_remote_code=False, **more)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise unusable(model, str(error)) from error


def unusable(model: LocalModel, reason: str) -> ModelUnavailable:
    """The error about files that cannot be used, with the remedy."""
    first = next((line.strip() for line in reason.splitlines() if line.strip()), "no reason given")
    return ModelUnavailable(
        f"the files of {model.id} in {model.folder} cannot be used: {first[:300]}; remove the folder and run "
        "`reelscope models fetch`, or set `model` to a folder with a complete checkpoint in safetensors"
    )


def _check_complete(model: LocalModel, found: Mapping[str, Any]) -> None:
    missing = sorted(found.get("missing_keys", ()))
    mismatched = sorted(str(entry[0]) for entry in found.get("mismatched_keys", ()))
    if missing or mismatched:
        wrong = [f"{len(missing)} tensors are missing ({', '.join(missing[:3])})"] if missing else []
        wrong += [f"{len(mismatched)} have another shape ({', '.join(mismatched[:3])})"] if mismatched else []
        raise unusable(model, " and ".join(wrong))


def _quantization(quantize: str, dtype: Any) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        return None
    from transformers import BitsAndBytesConfig

    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
