"""Opens TensorFlow Lite networks (`.tflite`) on LiteRT for one CPU thread.

network = LiteNetwork(store.path("mediapipe_selfie_segmentation", "selfie_segmentation.tflite"))
mask = network(picture)["activation_10"]        # one input: the array alone; several: {name: array}
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class LiteNetwork:
    """A loaded network, its tensors allocated once. One caller at a time.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no TensorFlow Lite network, or needs operations that LiteRT does not have.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"there is no network {path}")
        litert: Any = importlib.import_module("ai_edge_litert.interpreter")
        try:
            self._interpreter: Any = litert.Interpreter(model_path=str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{path.name} is no network that LiteRT runs: {error}") from error
        self._inputs = {entry["name"]: entry for entry in self._interpreter.get_input_details()}
        self._outputs = {entry["name"]: entry["index"] for entry in self._interpreter.get_output_details()}
        self.inputs: dict[str, tuple[int, ...]] = {n: tuple(map(int, e["shape"])) for n, e in self._inputs.items()}
        """Shape of each input by name."""
        self.outputs: tuple[str, ...] = tuple(self._outputs)
        """Names of the outputs in the network's order."""

    def __call__(self, values: Array | Mapping[str, Array]) -> dict[str, npt.NDArray[np.float32]]:
        """All outputs by name, as copies.

        Args:
            values: the arrays by input name, or the array of the only input; with or without the batch axis of 1.
                They are cast to the network's own type (whole numbers where its input is uint8).

        Raises:
            ValueError: an input is missing, unknown or of another shape.
        """
        given = values if isinstance(values, Mapping) else dict.fromkeys(list(self._inputs)[:1], values)
        if given.keys() != self._inputs.keys():
            raise ValueError(f"the network's inputs are {sorted(self._inputs)}, not {sorted(given)}")
        for name, value in given.items():
            entry, shape = self._inputs[name], self.inputs[name]
            if value.shape not in (shape, shape[1:]):
                raise ValueError(f"{name} must be {list(shape)}, got {list(value.shape)}")
            self._interpreter.set_tensor(entry["index"], np.ascontiguousarray(value.reshape(shape), entry["dtype"]))
        self._interpreter.invoke()
        return {
            name: np.asarray(self._interpreter.get_tensor(index), np.float32) for name, index in self._outputs.items()
        }
