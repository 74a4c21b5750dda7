"""Runs TensorFlow's SSD MobileNet v2 (frozen graph of 2018-03-29) on onnxruntime, in half the time of OpenCV's runtime.

The graph's convolutions are rewritten as an ONNX network while loading; the boxes are decoded here as the model's
pipeline.config says: anchors of six layers, box coder with the factors 10, 10, 5, 5, sigmoid scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyzers.models.onnx import open_model, wire_fields
from analyzers.models.recall import Recall

INPUT_PX: Final = 300
GRIDS: Final = (19, 10, 5, 3, 2, 1)
"""Cells along each side of the six layers that predict boxes."""
SCALE_MIN, SCALE_MAX = 0.2, 0.95
RATIOS: Final = (1.0, 2.0, 0.5, 3.0, 1 / 3)
CODER: Final = (10.0, 10.0, 5.0, 5.0)
"""y, x, height, width."""
CLASSES: Final = 91
"""With the background, which is the first."""
SAME_PICTURE_LEVELS: Final = 1.0
"""Largest mean difference (of 255) in any of 10x10 blocks of the network's input at which the last answer is kept."""
BLOCK_PX: Final = 30
NOISE_CORRELATION: Final = 0.5
"""Neighbouring pixels of natural pictures correlate above 0.9, of noise near 0. Below this there is no picture."""

Floats = npt.NDArray[np.float32]

# fmt: off
LABELS: Final = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck",
    9: "boat", 10: "traffic light", 11: "fire hydrant", 13: "stop sign", 14: "parking meter", 15: "bench",
    16: "bird", 17: "cat", 18: "dog", 19: "horse", 20: "sheep", 21: "cow", 22: "elephant", 23: "bear", 24: "zebra",
    25: "giraffe", 27: "backpack", 28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee",
    35: "skis", 36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove",
    41: "skateboard", 42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass", 47: "cup", 48: "fork",
    49: "knife", 50: "spoon", 51: "bowl", 52: "banana", 53: "apple", 54: "sandwich", 55: "orange", 56: "broccoli",
    57: "carrot", 58: "hot dog", 59: "pizza", 60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant",
    65: "bed", 67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote", 76: "keyboard",
    77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink", 82: "refrigerator", 84: "book",
    85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear", 89: "hair drier", 90: "toothbrush",
}
"""COCO's category ids (with their gaps) and names: mscoco_label_map.pbtxt of the model's repository."""
# fmt: on


class SsdMobileNet:
    """Boxes and class scores of 1917 anchors.

    Args:
        path: the frozen graph.

    Raises:
        ValueError: it is another network.
    """

    def __init__(self, path: Path) -> None:
        heads = [
            f"BoxPredictor_{n}/{kind}/BiasAdd" for n in range(6) for kind in ("BoxEncodingPredictor", "ClassPredictor")
        ]
        graph = _Graph(_read_nodes(bytearray(path.read_bytes())), source="Preprocessor/sub")
        outputs = [graph.convert(head) for head in heads]
        self._session = open_model(graph.model(outputs))
        self._outputs = outputs
        self._anchors = anchors()
        self._recall = Recall(str(path))

    def __call__(self, picture: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Boxes [1917, 4] (x0, y0, x1, y1 in 0..1, unclipped) and scores [1917, 91] of an RGB picture [300, 300, 3]."""
        return self._recall(picture, lambda: self._ask(picture))

    def _ask(self, picture: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        planes = picture.astype(np.float32).transpose(2, 0, 1)[None] * np.float32(2 / 255) - np.float32(1)
        answers = self._session.run(self._outputs, {"picture": np.ascontiguousarray(planes)})
        rows = [np.asarray(a, np.float32).transpose(0, 2, 3, 1) for a in answers]
        codes = np.concatenate([a.reshape(-1, 4) for a in rows[0::2]])
        logits = np.concatenate([a.reshape(-1, CLASSES) for a in rows[1::2]])
        return decode(codes, self._anchors), 1 / (1 + np.exp(-logits))


@cache
def shared_ssd(path: Path) -> SsdMobileNet:
    """The network of this file, read once per process: several analyzers use it; calls do not disturb each other."""
    return SsdMobileNet(path)


def anchors() -> Floats:
    """Centre y, centre x, height, width of each anchor, [1917, 4], in the network's order."""
    scales = [SCALE_MIN + (SCALE_MAX - SCALE_MIN) * n / 5 for n in range(6)] + [1.0]
    boxes = []
    for layer, cells in enumerate(GRIDS):
        shapes = [(scales[layer], ratio) for ratio in RATIOS] + [((scales[layer] * scales[layer + 1]) ** 0.5, 1.0)]
        if layer == 0:
            shapes = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
        for row in range(cells):
            for column in range(cells):
                middle = ((row + 0.5) / cells, (column + 0.5) / cells)
                boxes += [(*middle, scale / ratio**0.5, scale * ratio**0.5) for scale, ratio in shapes]
    return np.array(boxes, np.float32)


def decode(codes: Floats, around: Floats) -> Floats:
    """Boxes x0, y0, x1, y1 from the network's codes and the anchors they are relative to."""
    scaled = codes / np.array(CODER, np.float32)
    middle = scaled[:, :2] * around[:, 2:] + around[:, :2]
    half = np.exp(scaled[:, 2:]) * around[:, 2:] / 2
    return np.asarray(np.concatenate([middle - half, middle + half], axis=1)[:, [1, 0, 3, 2]], np.float32)


# --- its input --------------------------------------------------------------------------------------------------------


def input_of(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """An RGB picture squeezed to the network's square, [300, 300, 3]."""
    import cv2

    how = cv2.INTER_AREA if min(frame.shape[:2]) >= INPUT_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (INPUT_PX, INPUT_PX), interpolation=how), np.uint8)


def changed(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> bool:
    """Whether two network inputs [300, 300, 3] differ in any block by more than coding noise."""
    difference = np.abs(before.astype(np.int16) - after)
    blocks = difference.reshape(INPUT_PX // BLOCK_PX, BLOCK_PX, INPUT_PX // BLOCK_PX, BLOCK_PX, 3)
    return bool(blocks.mean(axis=(1, 3)).max() > SAME_PICTURE_LEVELS)


def is_picture(small: npt.NDArray[np.uint8]) -> bool:
    """Whether an RGB picture shows anything: not one plain colour, and not noise (the network sees umbrellas in it)."""
    light = small.astype(np.float32).mean(axis=2)
    light -= light.mean()
    variance = float((light * light).mean())
    if variance < 1.0:  # levels squared: nothing but rounding
        return False
    across, down = (light[:, 1:] * light[:, :-1]).mean(), (light[1:] * light[:-1]).mean()
    return bool(max(across, down) / variance >= NOISE_CORRELATION)


# --- TensorFlow's graph (graph.proto, node_def.proto, attr_value.proto, tensor.proto) ---------------------------------


@dataclass
class _Node:
    op: str = ""
    inputs: list[str] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)
    padding: str = ""
    value: Floats | None = None


def _read_nodes(data: bytearray) -> dict[str, _Node]:
    nodes = {}
    for number, _, start, end in wire_fields(data, 0, len(data)):
        if number != 1:
            continue
        node, name = _Node(), ""
        for part, _, first, last in wire_fields(data, start, end):
            if part == 1:
                name = data[first:last].decode()
            elif part == 2:
                node.op = data[first:last].decode()
            elif part == 3:
                node.inputs.append(data[first:last].decode().removesuffix(":0"))
            elif part == 5:
                _read_attribute(data, first, last, node)
        nodes[name] = node
    return nodes


def _read_attribute(data: bytearray, start: int, end: int, node: _Node) -> None:
    entry = {number: (first, last) for number, _, first, last in wire_fields(data, start, end)}
    key = data[slice(*entry[1])].decode()
    for number, _, first, last in wire_fields(data, *entry[2]):
        if key == "strides" and number == 1:
            packed = [data[a:b] for n, _, a, b in wire_fields(data, first, last) if n == 3]
            node.strides = [byte for numbers in packed for byte in numbers]
        elif key == "padding" and number == 2:
            node.padding = data[first:last].decode()
        elif key == "value" and number == 8 and node.op in ("", "Const"):
            node.value = _read_tensor(data, first, last)


def _read_tensor(data: bytearray, start: int, end: int) -> Floats | None:
    shape: list[int] = []
    content, kind = b"", 0
    for number, _, first, last in wire_fields(data, start, end):
        if number == 1:
            kind = first
        elif number == 2:
            dims = [(a, b) for n, _, a, b in wire_fields(data, first, last) if n == 2]
            shape = [next((a for n, _, a, _ in wire_fields(data, *dim) if n == 1), 0) for dim in dims]
        elif number in (4, 5):  # the bytes of all values, or the values one by one
            content += bytes(data[first:last])
    return np.frombuffer(content, np.float32).reshape(shape) if kind == 1 and content else None


# --- ONNX (onnx.proto3) -----------------------------------------------------------------------------------------------


_ARITHMETIC: Final[dict[str, Callable[..., Any]]] = {
    "Identity": np.positive,
    "Add": np.add,
    "Mul": np.multiply,
    "Sub": np.subtract,
    "Rsqrt": lambda value: 1 / np.sqrt(value),
}


class _Graph:
    """Rewrites what leads from the input to some outputs; other operations are refused."""

    def __init__(self, nodes: dict[str, _Node], source: str) -> None:
        self._nodes, self._source = nodes, source
        self._names: dict[str, str] = {source: "picture"}
        self._operations: list[bytes] = []
        self._weights: list[bytes] = []

    def convert(self, name: str) -> str:
        """Rewrite a node and all before it; its name in the new network."""
        if name in self._names:
            return self._names[name]
        if name not in self._nodes:
            raise ValueError(f"the graph has no node {name}: it is not SSD MobileNet v2")
        node = self._nodes[name]
        if node.op == "Identity":
            self._names[name] = self.convert(node.inputs[0])
            return self._names[name]
        inputs = [self.convert(node.inputs[0])]
        attributes = b""
        if node.op in ("Conv2D", "DepthwiseConv2dNative"):
            kernel = self._constant(node.inputs[1])
            if kernel is None:
                raise ValueError(f"the graph's node {name} has no fixed weights: it is not SSD MobileNet v2")
            separate = node.op != "Conv2D"
            turned = kernel.transpose(2, 3, 0, 1) if separate else kernel.transpose(3, 2, 0, 1)
            inputs.append(self._weight(turned.reshape(-1, 1, *kernel.shape[:2]) if separate else turned))
            attributes = _ints("strides", node.strides[1:3]) + _text(
                "auto_pad", f"{node.padding}_UPPER".replace("VALID_UPPER", "VALID")
            )
            attributes += _int("group", kernel.shape[2] if separate else 1)
            kind = "Conv"
        elif node.op == "Relu6":
            inputs += [self._weight(np.array(limit, np.float32)) for limit in (0, 6)]
            kind = "Clip"
        elif node.op in ("BiasAdd", "Add", "Mul"):
            other = self._constant(node.inputs[1])
            inputs.append(self.convert(node.inputs[1]) if other is None else self._weight(other.reshape(1, -1, 1, 1)))
            kind = "Mul" if node.op == "Mul" else "Add"
        else:
            raise ValueError(f"the graph's node {name} is a {node.op}: it is not SSD MobileNet v2")
        parts = b"".join(_bytes(1, each.encode()) for each in inputs)
        self._operations.append(parts + _bytes(2, name.encode()) + _bytes(4, kind.encode()) + attributes)
        self._names[name] = name
        return name

    def model(self, outputs: Sequence[str]) -> bytearray:
        """The serialized network with the input ``picture`` [1, 3, 300, 300]."""
        graph = b"".join(_bytes(1, operation) for operation in self._operations) + _bytes(2, b"ssd")
        graph += b"".join(_bytes(5, weight) for weight in self._weights)
        graph += _bytes(11, _value("picture", (1, 3, INPUT_PX, INPUT_PX)))
        graph += b"".join(_bytes(12, _value(name, ())) for name in outputs)
        return bytearray(_number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 13)))

    def _constant(self, name: str) -> Floats | None:
        """The value of a node that depends on no input (batch normalization is spelled out in such), else None."""
        node = self._nodes[name]
        if node.op == "Const":
            return node.value
        if node.op not in _ARITHMETIC:
            return None
        values = [self._constant(each) for each in node.inputs]
        known = [value for value in values if value is not None]
        return np.asarray(_ARITHMETIC[node.op](*known), np.float32) if len(known) == len(values) else None

    def _weight(self, values: Floats) -> str:
        name = f"weight_{len(self._weights)}"
        dims = b"".join(_number(1, size) for size in values.shape)
        raw = np.ascontiguousarray(values, np.float32).tobytes()
        self._weights.append(dims + _number(2, 1) + _bytes(8, name.encode()) + _bytes(9, raw))
        return name


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def _number(field_number: int, value: int) -> bytes:
    return _varint(field_number << 3) + _varint(value)


def _bytes(field_number: int, content: bytes) -> bytes:
    return _varint(field_number << 3 | 2) + _varint(len(content)) + content


def _attribute(name: str, kind: int, value: bytes) -> bytes:
    return _bytes(5, _bytes(1, name.encode()) + value + _number(20, kind))


def _int(name: str, value: int) -> bytes:
    return _attribute(name, 2, _number(3, value))


def _text(name: str, value: str) -> bytes:
    return _attribute(name, 3, _bytes(4, value.encode()))


def _ints(name: str, values: Iterable[int]) -> bytes:
    return _attribute(name, 7, b"".join(_number(8, value) for value in values))


def _value(name: str, shape: Sequence[int]) -> bytes:
    dims = _bytes(2, b"".join(_bytes(1, _number(1, size)) for size in shape)) if shape else b""
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, 1) + dims))
