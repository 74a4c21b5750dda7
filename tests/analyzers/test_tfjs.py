"""TensorFlow.js graphs as ONNX: each operation against numpy, the real network's answers, and refusals."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analyzers.models.age import FILE, MODEL, WEIGHTS
from analyzers.models.onnx import open_model
from analyzers.models.store import ModelStore
from analyzers.models.tfjs import convert, read_weights
from pipeline.settings import load_settings

Array = npt.NDArray[np.float32]
RNG = np.random.default_rng(7)


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def node(op: str, name: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
    return {"op": op, "name": name, "input": list(inputs), "attr": attributes}


def placeholder(*sizes: int) -> dict[str, Any]:
    dims = [{"size": str(size)} for size in sizes]
    return {"op": "Placeholder", "name": "x", "attr": {"shape": {"shape": {"dim": dims}}}}


def convolution(op: str, padding: str, stride: int) -> dict[str, Any]:
    strides = {"list": {"i": ["1", str(stride), str(stride), "1"]}}
    return node(op, "y", "x", "w", strides=strides, padding=text(padding), data_format=text("NHWC"))


def write(folder: Path, nodes: list[dict[str, Any]], weights: dict[str, npt.NDArray[Any]], half: bool = False) -> Path:
    """A graph model as the converter writes it, its weights in two files."""
    entries, data = [], b""
    for name, values in weights.items():
        entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "dtype": str(values.dtype)}
        if half and values.dtype == np.float32:
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
            values = values.astype(np.float16)
        entries.append(entry)
        data += values.tobytes()
    names = ["a.bin", "b.bin"]
    for name, part in zip(names, (data[: len(data) // 2], data[len(data) // 2 :]), strict=True):
        (folder / name).write_bytes(part)
    model = {
        "format": "graph-model",
        "modelTopology": {"node": [*(node("Const", name) for name in weights), *nodes]},
        "weightsManifest": [{"paths": names, "weights": entries}],
    }
    path = folder / "model.json"
    path.write_text(json.dumps(model), encoding="utf-8")
    return path


def run(path: Path, picture: Array, output: str = "y") -> Array:
    """The network's answer to a picture [N, H, W, C] or rows [N, C]; four dimensions come back as [N, H, W, C]."""
    session = open_model(convert(path, [output]))
    given = picture.transpose(0, 3, 1, 2) if picture.ndim == 4 else picture
    (answer,) = session.run(None, {"x": np.ascontiguousarray(given)})
    return np.asarray(answer.transpose(0, 2, 3, 1) if answer.ndim == 4 else answer, np.float32)


def convolved(picture: Array, kernel: Array, stride: int, same: bool, separate: bool) -> Array:
    """TensorFlow's convolution, written out. With SAME, an odd pixel of padding goes to the bottom and the right."""
    height, width = picture.shape[1:3]
    rows, columns = kernel.shape[:2]
    if same:
        tall = max(0, (-(-height // stride) - 1) * stride + rows - height)
        wide = max(0, (-(-width // stride) - 1) * stride + columns - width)
        pads = ((0, 0), (tall // 2, tall - tall // 2), (wide // 2, wide - wide // 2), (0, 0))
        picture = np.pad(picture, pads)
    out = []
    for y in range(0, picture.shape[1] - rows + 1, stride):
        for x in range(0, picture.shape[2] - columns + 1, stride):
            patch = picture[0, y : y + rows, x : x + columns]
            if separate:
                out.append(np.einsum("hwc,hwcm->cm", patch, kernel).reshape(-1))
            else:
                out.append(np.einsum("hwc,hwco->o", patch, kernel))
    tall = (picture.shape[1] - rows) // stride + 1
    return np.array(out, np.float32).reshape(
        1, tall, -1, kernel.shape[2] * kernel.shape[3] if separate else kernel.shape[3]
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("op", "shape"), [("Conv2D", (3, 3, 3, 5)), ("DepthwiseConv2dNative", (3, 3, 3, 2))])
def test_convolutions_are_tensorflows(
    tmp_path: Path, op: str, shape: tuple[int, ...], padding: str, stride: int
) -> None:
    picture = RNG.normal(size=(1, 8, 7, 3)).astype(np.float32)
    kernel = RNG.normal(size=shape).astype(np.float32)
    path = write(tmp_path, [placeholder(1, 8, 7, 3), convolution(op, padding, stride)], {"w": kernel})
    wanted = convolved(picture, kernel, stride, padding == "SAME", op != "Conv2D")
    np.testing.assert_allclose(run(path, picture), wanted, atol=1e-4)


ROW = np.array([-1.0, 0.5, 2.0], np.float32)
ARITHMETIC: list[tuple[str, npt.NDArray[np.float32], Callable[[Array], Array]]] = [
    ("Add", ROW, lambda x: x + ROW),
    ("Mul", ROW, lambda x: x * ROW),
    ("Minimum", np.array(0.5, np.float32), lambda x: np.minimum(x, np.float32(0.5))),
    ("Maximum", np.array(-0.5, np.float32), lambda x: np.maximum(x, np.float32(-0.5))),
]


@pytest.mark.parametrize(("op", "constant", "wanted"), ARITHMETIC)
@pytest.mark.parametrize("shape", [(1, 4, 5, 3), (2, 3)])
def test_arithmetic_with_a_constant_is_by_channel(
    tmp_path: Path, op: str, constant: Array, wanted: Callable[[Array], Array], shape: tuple[int, ...]
) -> None:
    x = RNG.normal(size=shape).astype(np.float32)
    path = write(tmp_path, [placeholder(*shape), node(op, "y", "x", "c")], {"c": constant})
    np.testing.assert_allclose(run(path, x), wanted(x), atol=1e-6)


def test_a_chain_of_limits_is_the_same_in_one(tmp_path: Path) -> None:
    x = np.linspace(-8, 8, 33, dtype=np.float32).reshape(11, 3)
    nodes = [
        placeholder(11, 3),
        node("Relu", "relu", "x"),
        node("Minimum", "min", "relu", "six"),
        node("Maximum", "y", "min", "half"),
        node("Minimum", "z", "y", "quarter"),
    ]
    numbers = {"six": np.array(6, np.float32), "half": np.array(0.5, np.float32), "quarter": np.array(0.25, np.float32)}
    path = write(tmp_path, nodes, numbers)
    np.testing.assert_allclose(run(path, x), np.maximum(np.minimum(np.maximum(x, 0), 6), 0.5))
    np.testing.assert_allclose(run(path, x, "z"), np.full_like(x, 0.25))


def test_a_head_of_mean_products_and_softmax_is_numpys(tmp_path: Path) -> None:
    picture = RNG.normal(size=(1, 4, 6, 3)).astype(np.float32)
    first, second = RNG.normal(size=(3, 8)).astype(np.float32), RNG.normal(size=(8, 5)).astype(np.float32)
    bias = RNG.normal(size=8).astype(np.float32)
    fused = {"list": {"s": [text("BiasAdd")["s"], text("Relu")["s"]]}}
    nodes = [
        placeholder(-1, 4, 6, 3),
        node("Mean", "mean", "x", "axes", keep_dims={"b": False}),
        node("_FusedMatMul", "hidden", "mean", "first", "bias", fused_ops=fused),
        node("MatMul", "logits", "hidden", "second"),
        node("Softmax", "y", "logits"),
        node("Sigmoid", "z", "logits"),
    ]
    axes = np.array([1, 2], np.int32)
    path = write(tmp_path, nodes, {"axes": axes, "first": first, "second": second, "bias": bias})
    logits = np.maximum(picture.mean(axis=(1, 2)) @ first + bias, 0) @ second
    shares = np.exp(logits - logits.max())
    np.testing.assert_allclose(run(path, picture), shares / shares.sum(), atol=1e-5)
    np.testing.assert_allclose(run(path, picture, "z"), 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_weights_of_16_bits_are_read_as_such(tmp_path: Path) -> None:
    values = {"w": RNG.normal(size=(2, 3)).astype(np.float32), "n": np.array([4, 5], np.int32)}
    path = write(tmp_path, [], values, half=True)
    read = read_weights(path, json.loads(path.read_text()))
    np.testing.assert_array_equal(read["w"], values["w"].astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(read["n"], values["n"])
    assert [str(values.dtype) for values in (read["w"], read["n"])] == ["float32", "int32"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (node("Tanh", "y", "x"), "is a Tanh"),
        (node("Add", "y", "x", "square"), "shape of its constant"),
        (node("Mean", "y", "x", "one"), "axes"),
        (convolution("Conv2D", "EXPLICIT", 1), "padding"),
        (node("_FusedMatMul", "y", "x", "square", fused_ops={"list": {"s": [text("Elu")["s"]]}}), "fused_ops"),
        (node("Relu", "other", "x"), "no node y"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, wrong: dict[str, Any], reason: str) -> None:
    weights = {
        "square": np.eye(3, dtype=np.float32),
        "one": np.array([1], np.int32),
        "w": np.ones((3, 3, 3, 3), np.float32),
    }
    path = write(tmp_path, [placeholder(1, 4, 4, 3), wrong], weights)
    with pytest.raises(ValueError, match=reason):
        convert(path, ["y"])


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [placeholder(1, 3)], {"w": np.ones(4, np.float32)})
    (tmp_path / "b.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="end within w"):
        convert(path, ["x"])
    (tmp_path / "b.bin").write_bytes(bytes(20))
    with pytest.raises(ValueError, match="left over"):
        convert(path, ["x"])


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text('{"format": "layers-model"}', encoding="utf-8")
    with pytest.raises(ValueError, match="layers-model"):
        convert(path, ["y"])


def test_the_age_networks_first_layers_are_numpys() -> None:
    folder = ModelStore(load_settings().models_dir).folder(MODEL)
    model = json.loads((folder / FILE).read_text(encoding="utf-8"))
    weights = read_weights(folder / FILE, model)
    assert (folder / WEIGHTS).stat().st_size == sum(
        2 * w.size if w.dtype == np.float32 else 4 * w.size for w in weights.values()
    )
    picture = np.zeros((1, 224, 224, 3), np.float32)
    picture[:, :16, :16] = RNG.normal(0, 60, (1, 16, 16, 3))
    x = convolved(picture[:, :17, :17], weights["conv1/convolution/merged_input"], 2, False, False)
    x = np.clip(x + weights["conv1_bn/batchnorm_1/sub"], 0, 6)
    x = convolved(x, weights["conv_dw_1/depthwise_kernel"], 1, False, True)
    x = x * weights["conv_dw_1_bn/batchnorm_1/mul"] + weights["conv_dw_1_bn/batchnorm_1/sub"]
    session = open_model(convert(folder / FILE, ["conv_dw_1_bn/batchnorm_1/add_1"]))
    (answer,) = session.run(None, {"input_1": np.ascontiguousarray(picture.transpose(0, 3, 1, 2))})
    # The first row and column of the network see padding; numpy's were made without.
    np.testing.assert_allclose(answer.transpose(0, 2, 3, 1)[:, 1:7, 1:7], x[:, :6, :6], atol=0.02)
