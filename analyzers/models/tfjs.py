"""Rewrites a TensorFlow.js graph model (model.json and its weights) as an ONNX network, for onnxruntime.

The graph is TensorFlow's, with its constants in a binary file beside it (tfjs-converter, graph_model.ts and
io/types.ts: weights are listed in their order there, 16 bit floats where `quantization` says so). Four-dimensional
tensors are [N, H, W, C] in TensorFlow and become [N, C, H, W]; others stay as they are. Only the operations in
`_Graph.OPERATIONS` are known, each with the attributes it is checked for; anything else is refused, never guessed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

OPSET: Final = 17
IR_VERSION: Final = 8
DTYPES: Final[dict[str, npt.DTypeLike]] = {"float32": np.float32, "int32": np.int32}

Array = npt.NDArray[Any]


def convert(path: Path, outputs: Sequence[str]) -> bytearray:
    """A serialized ONNX network with those outputs; what they do not need is left out.

    Args:
        path: the model.json; its weights lie beside it.
        outputs: names of nodes.

    Raises:
        ValueError: the graph has an operation, attribute or shape that this does not know, or lacks a node.
    """
    model = json.loads(path.read_text(encoding="utf-8"))
    if model.get("format") != "graph-model":
        raise ValueError(f"{path.name} is no TensorFlow.js graph model but {model.get('format')!r}")
    graph = _Graph({node["name"]: node for node in model["modelTopology"]["node"]}, read_weights(path, model))
    return graph.model([graph.convert(name) for name in outputs])


def read_weights(path: Path, model: Mapping[str, Any]) -> dict[str, Array]:
    """The constants by name, as float32 or int32.

    Raises:
        ValueError: a kind of number that this does not know, or a weight file of another length than stated.
    """
    weights: dict[str, Array] = {}
    for group in model["weightsManifest"]:
        data = b"".join((path.parent / name).read_bytes() for name in group["paths"])
        at = 0
        for entry in group["weights"]:
            stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
            if entry["dtype"] not in DTYPES or stored not in (entry["dtype"], "float16"):
                raise ValueError(f"the weight {entry['name']} is {entry['dtype']}, stored as {stored}")
            kind = np.dtype(stored).newbyteorder("<")
            count = int(np.prod(entry["shape"], dtype=np.int64))
            if at + count * kind.itemsize > len(data):
                raise ValueError(f"the weights end within {entry['name']}")
            values = np.frombuffer(data, kind, count, at).reshape(entry["shape"])
            weights[entry["name"]] = values.astype(DTYPES[entry["dtype"]])
            at += count * kind.itemsize
        if at != len(data):
            raise ValueError(f"{len(data) - at} bytes of weights are left over")
    return weights


class _Graph:
    """Rewrites nodes, each after those it needs."""

    def __init__(self, nodes: Mapping[str, dict[str, Any]], weights: Mapping[str, Array]) -> None:
        self._source, self._weights = nodes, weights
        self._ranks: dict[str, int] = {}  # of the nodes that are rewritten
        self._inputs: list[Any] = []
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def convert(self, name: str) -> str:
        """Rewrite a node and all before it; its name."""
        name = name.removesuffix(":0")
        if name not in self._ranks:
            if name not in self._source:
                raise ValueError(f"the graph has no node {name}")
            node = self._source[name]
            if node["op"] not in self.OPERATIONS:
                raise ValueError(f"the graph's node {name} is a {node['op']}, which is not known here")
            self._ranks[name] = self.OPERATIONS[node["op"]](self, node)
        return name

    def model(self, outputs: Sequence[str]) -> bytearray:
        """The network of everything rewritten so far."""
        from onnx import TensorProto, helper

        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self._nodes, "tfjs", self._inputs, values, self._constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return bytearray(made.SerializeToString())

    # Each operation adds what it becomes and returns the rank of its answer.

    def _placeholder(self, node: dict[str, Any]) -> int:
        from onnx import TensorProto, helper

        sizes = [int(dim["size"]) for dim in node["attr"]["shape"]["shape"]["dim"]]
        if len(sizes) not in (2, 4):
            raise ValueError(f"the input {node['name']} has {len(sizes)} dimensions")
        sizes[0] = max(1, sizes[0])
        if len(sizes) == 4:
            sizes = [sizes[0], sizes[3], sizes[1], sizes[2]]
        self._inputs.append(helper.make_tensor_value_info(node["name"], TensorProto.FLOAT, sizes))
        return len(sizes)

    def _convolution(self, node: dict[str, Any]) -> int:
        kernel = self._constant(node, 1)
        separate = node["op"] == "DepthwiseConv2dNative"
        strides, dilations = self._ints(node, "strides"), self._ints(node, "dilations", [1, 1, 1, 1])
        padding = self._text(node, "padding")
        self._need(node, self._text(node, "data_format", "NHWC") == "NHWC", "data_format")
        self._need(node, padding in ("SAME", "VALID"), "padding")
        self._need(node, self._ranks_of(node, 0) == 4 and kernel.ndim == 4, "shape")
        height, width, channels, count = kernel.shape
        if separate:  # [H, W, C, M], the answer's channels are C-major
            turned, groups = kernel.reshape(height, width, channels * count).transpose(2, 0, 1)[:, None], channels
        else:
            turned, groups = kernel.transpose(3, 2, 0, 1), 1
        self._add(
            node,
            "Conv",
            [node["input"][0], self._weight(node, turned)],
            strides=strides[1:3],
            dilations=dilations[1:3],
            group=groups,
            auto_pad="SAME_UPPER" if padding == "SAME" else "VALID",
        )
        return 4

    def _arithmetic(self, node: dict[str, Any]) -> int:
        """Add, Mul, Minimum, Maximum of two tensors, or of one and a constant (one number, or one per channel)."""
        kind = {"AddV2": "Add", "Minimum": "Min", "Maximum": "Max"}.get(node["op"], node["op"])
        rank = self._ranks_of(node, 0)
        constant = self._weights.get(node["input"][1])
        if constant is None:
            self._need(node, self._ranks_of(node, 1) == rank, "shape")
            self._add(node, kind, node["input"])
            return rank
        self._need(node, constant.ndim <= 1, "shape of its constant")
        if constant.ndim == 0 and kind in ("Min", "Max"):  # a runtime joins Clip with what is before it
            weight = self._weight(node, constant)
            self._add(node, "Clip", [node["input"][0], *([weight] if kind == "Max" else ["", weight])])
        else:
            values = constant.reshape(-1, 1, 1) if rank == 4 else constant
            self._add(node, kind, [node["input"][0], self._weight(node, values)])
        return rank

    def _same(self, node: dict[str, Any]) -> int:
        self._add(node, node["op"], node["input"][:1])
        return self._ranks_of(node, 0)

    def _softmax(self, node: dict[str, Any]) -> int:
        self._need(node, self._ranks_of(node, 0) == 2, "shape")
        self._add(node, "Softmax", node["input"][:1], axis=-1)
        return 2

    def _mean(self, node: dict[str, Any]) -> int:
        """The mean over height and width, which are dropped."""
        self._need(node, sorted(self._constant(node, 1).reshape(-1).tolist()) == [1, 2], "axes")
        self._need(node, self._ranks_of(node, 0) == 4 and not self._flag(node, "keep_dims"), "shape")
        self._add(node, "ReduceMean", node["input"][:1], axes=[2, 3], keepdims=0)
        return 2

    def _matrix(self, node: dict[str, Any]) -> int:
        """A matrix product; fused: plus a bias, and then a rectifier."""
        fused = self._texts(node, "fused_ops")
        self._need(node, fused in ([], ["BiasAdd"], ["BiasAdd", "Relu"]), "fused_ops")
        self._need(node, not self._flag(node, "transpose_a") and not self._flag(node, "transpose_b"), "transpose")
        self._need(node, self._ranks_of(node, 0) == 2, "shape")
        weights = [self._weight(node, self._constant(node, n + 1)) for n in range(2 if fused else 1)]
        self._add(node, "Gemm", [node["input"][0], *weights], to="/product" if "Relu" in fused else "")
        if "Relu" in fused:
            self._add(node, "Relu", [node["name"] + "/product"])
        return 2

    OPERATIONS: ClassVar[dict[str, Callable[[_Graph, dict[str, Any]], int]]] = {
        "Placeholder": _placeholder,
        "Conv2D": _convolution,
        "DepthwiseConv2dNative": _convolution,
        "Add": _arithmetic,
        "AddV2": _arithmetic,
        "Mul": _arithmetic,
        "Minimum": _arithmetic,
        "Maximum": _arithmetic,
        "Relu": _same,
        "Sigmoid": _same,
        "Softmax": _softmax,
        "Mean": _mean,
        "MatMul": _matrix,
        "_FusedMatMul": _matrix,
    }

    # What a node says and what is added.

    def _need(self, node: dict[str, Any], held: bool, what: str) -> None:
        if not held:
            raise ValueError(f"the graph's node {node['name']} ({node['op']}) has a {what} that is not known here")

    def _ranks_of(self, node: dict[str, Any], number: int) -> int:
        return self._ranks[self.convert(node["input"][number])]

    def _constant(self, node: dict[str, Any], number: int) -> Array:
        self._need(node, len(node["input"]) > number and node["input"][number] in self._weights, "variable weight")
        return self._weights[node["input"][number]]

    def _ints(self, node: dict[str, Any], key: str, default: Sequence[int] = ()) -> list[int]:
        listed = node.get("attr", {}).get(key, {}).get("list", {}).get("i", default)
        return [int(value) for value in listed]

    def _text(self, node: dict[str, Any], key: str, default: str = "") -> str:
        value = node.get("attr", {}).get(key, {}).get("s")
        return default if value is None else base64.b64decode(value).decode()

    def _texts(self, node: dict[str, Any], key: str) -> list[str]:
        listed = node.get("attr", {}).get(key, {}).get("list", {}).get("s", [])
        return [base64.b64decode(value).decode() for value in listed]

    def _flag(self, node: dict[str, Any], key: str) -> bool:
        return bool(node.get("attr", {}).get(key, {}).get("b", False))

    def _weight(self, node: dict[str, Any], values: Array) -> str:
        from onnx import numpy_helper

        name = f"{node['name']}/weight_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def _add(self, node: dict[str, Any], kind: str, inputs: Sequence[str], *, to: str = "", **attributes: Any) -> None:
        from onnx import helper

        self._nodes.append(helper.make_node(kind, list(inputs), [node["name"] + to], **attributes))
