"""Opens ONNX networks for one CPU thread.

Weight decay leaves some weights of published networks at denormal values (below 1.2e-38), with which a CPU calculates
up to 100 times more slowly: PP-OCRv6's text detector takes 3.5 times as long because of them. They are set to zero
while loading, which changes no answer: next to any other summand they are nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

TINY: Final = 1e-30
"""Weights of less than this are zeroed: times any usual activation they are denormal or nearly so."""

# Field numbers of onnx.proto3: ModelProto.graph, GraphProto.initializer, TensorProto.data_type and .raw_data.
_GRAPH, _INITIALIZER, _DATA_TYPE, _RAW_DATA = 7, 5, 2, 9
_FLOAT = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def open_network(path: Path) -> Any:
    """An onnxruntime session on one CPU thread, for a network whose weights are all inside its file.

    Raises:
        ValueError: the file is no ONNX network.
    """
    return open_model(bytearray(path.read_bytes()))


def open_model(model: bytearray) -> Any:
    """The same for a network in memory; its tiny weights become zero there."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    zero_tiny_weights(model)
    return onnxruntime.InferenceSession(bytes(model), options, providers=["CPUExecutionProvider"])


def zero_tiny_weights(model: bytearray) -> int:
    """Zero the tiny float weights of a serialized network in place; how many there were."""
    changed = 0
    for number, _, start, end in wire_fields(model, 0, len(model)):
        if number == _GRAPH:
            for inner, _, first, last in wire_fields(model, start, end):
                if inner == _INITIALIZER:
                    changed += _zero_tensor(model, first, last)
    return changed


def _zero_tensor(model: bytearray, start: int, end: int) -> int:
    data_type, raw = 0, (0, 0)
    for number, kind, first, last in wire_fields(model, start, end):
        if number == _DATA_TYPE and kind == _VARINT:
            data_type = first
        elif number == _RAW_DATA and kind == _BYTES:
            raw = (first, last)
    if data_type != _FLOAT or raw[1] == raw[0]:
        return 0
    weights = np.frombuffer(memoryview(model)[raw[0] : raw[1]], np.float32)
    tiny = (np.abs(weights) < TINY) & (weights != 0)
    weights[tiny] = 0
    return int(tiny.sum())


def wire_fields(data: bytearray, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, first byte, byte after the last) of a message's fields; for a varint its value, twice."""
    at = start
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, kind, value, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = struct.calcsize("<f" if kind == _FIXED32 else "<d")
        else:
            raise ValueError(f"not an ONNX network: wire type {kind} at byte {at}")
        if at + size > end:
            raise ValueError(f"not an ONNX network: a field of {size} bytes at byte {at} of {end}")
        yield number, kind, at, at + size
        at += size


def _varint(data: bytearray, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise ValueError("not an ONNX network: it ends in the middle of a number")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError(f"not an ONNX network: a number of more than 10 bytes at byte {at}")
