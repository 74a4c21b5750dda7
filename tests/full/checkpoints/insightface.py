"""Networks with the inputs and outputs of InsightFace's buffalo_l, random: `det_10g.onnx`, `genderage.onnx`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from analyzers.models.insight_face import AGES, ANCHORS, DETECTOR, STRIDES
from tests.full.checkpoints.mark import mark_random

FRONTAL = (-1.5, -1.0, 1.5, -1.0, 0.0, 0.0, -1.0, 1.5, 1.0, 1.5) * ANCHORS
"""x, y of eyes, nose and corners of the mouth in cells: of a face that looks at the camera."""


def write_insightface(folder: Path, size: str = "small", *, normalizes: bool = False) -> Path:
    """Both files; with `normalizes` the age network takes bytes as they are, as those that came from MXNet do.

    There is no `real` size: the architectures are not published as code. `size` only widens the layers, about as much
    as SCRFD-10G computes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2)
    _save(_detector(rng, 8 if size == "small" else 224, 1 if size == "small" else 6), folder / DETECTOR)
    _save(_ages(rng, normalizes), folder / AGES)
    return mark_random(folder)


class _Builder:
    """Collects nodes and weights of a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, values: Any) -> str:
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        from onnx import helper

        out = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=name or out, **attributes))
        return out

    def conv(self, given: str, rng: Any, channels: tuple[int, int], bias: Any, gain: float, kernel: int = 1) -> str:
        shape = (channels[1], channels[0], kernel, kernel)
        weights = rng.normal(0, gain / (channels[0] * kernel * kernel) ** 0.5, shape).astype(np.float32)
        biases = np.broadcast_to(np.asarray(bias, np.float32), (channels[1],)).copy()
        pads = [kernel // 2] * 4
        return self.node("Conv", given, self.weight(weights), self.weight(biases), pads=pads)


def _detector(rng: Any, width: int, layers: int) -> Any:
    """Scores, distances and points of two anchors per cell of three strides, [N, 1], [N, 4], [N, 10], by stride."""
    from onnx import TensorProto, helper

    graph = _Builder()
    pooled = graph.node("AveragePool", "input.1", kernel_shape=[8, 8], strides=[8, 8])
    outputs: dict[str, list[str]] = {"score": [], "box": [], "point": []}
    for stride in STRIDES:
        if stride > STRIDES[0]:
            pooled = graph.node("AveragePool", pooled, kernel_shape=[2, 2], strides=[2, 2])
        hidden, channels = pooled, 3
        for _ in range(layers):
            hidden = graph.node("Relu", graph.conv(hidden, rng, (channels, width), 0.2, 2.0, 3))
            channels = width
        for kind, values, bias, gain in (("score", 1, -2.5, 2.0), ("box", 4, 4.0, 0.5), ("point", 10, FRONTAL, 0.1)):
            answer = graph.conv(hidden, rng, (channels, ANCHORS * values), bias, gain)
            if kind == "score":
                answer = graph.node("Sigmoid", answer)
            elif kind == "box":
                answer = graph.node("Relu", answer)
            rows = graph.node("Transpose", answer, perm=[0, 2, 3, 1])
            shape = graph.weight(np.array([-1, values], np.int64))
            outputs[kind].append(graph.node("Reshape", rows, shape))
    names = [*outputs["score"], *outputs["box"], *outputs["point"]]
    sizes = [1] * 3 + [4] * 3 + [10] * 3
    told = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        for name, size in zip(names, sizes, strict=True)
    ]
    given = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, "H", "W"])
    return helper.make_graph(graph.nodes, "det", [given], told, graph.weights)


def _ages(rng: Any, normalizes: bool) -> Any:
    """Female, male, age / 100 of faces [N, 3, 96, 96]."""
    from onnx import TensorProto, helper

    graph = _Builder()
    given = "data"
    if normalizes:
        taken = graph.node("Sub", given, graph.weight(np.float32(127.5)), name="_minus0")
        given = graph.node("Mul", taken, graph.weight(np.float32(1 / 128)), name="_mul0")
    hidden = graph.node("Relu", graph.conv(given, rng, (3, 16), 0.0, 1.5, 3))
    pooled = graph.node("GlobalAveragePool", graph.conv(hidden, rng, (16, 3), 0.4, 0.6))
    answer = graph.node("Flatten", pooled)
    told = helper.make_tensor_value_info(answer, TensorProto.FLOAT, ["N", 3])
    faces = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 96, 96])
    return helper.make_graph(graph.nodes, "age", [faces], [told], graph.weights)


def _save(graph: Any, path: Path) -> None:
    import onnx

    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
