"""Chunks as Arrow tables of one row, which is how they lie in the object store. Ray is not needed here."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.types import AudioTrack, FrameBatch, View

if TYPE_CHECKING:
    import pyarrow as pa


def head_of(item: FrameBatch | AudioTrack) -> dict[str, Any]:
    """All of a chunk but its array, for JSON."""
    if isinstance(item, FrameBatch):
        head: dict[str, Any] = {"view": asdict(item.view), "pts_s": item.pts_s.tolist(), "shape": item.frames.shape}
    else:
        head = {"view": None, "sample_rate": item.sample_rate, "start_s": item.start_s, "shape": item.samples.shape}
    head |= {"video_id": item.video_id, "index": item.index, "last": item.last}
    return head | {"end_s": item.end_s, "nbytes": item.nbytes}


def to_table(item: FrameBatch | AudioTrack) -> pa.Table:
    """One row with the chunk's description and its bytes; the bytes are not copied here."""
    array: npt.NDArray[Any] = item.frames if isinstance(item, FrameBatch) else item.samples
    return row(json.dumps(head_of(item)), np.ascontiguousarray(array))


def from_table(table: pa.Table) -> FrameBatch | AudioTrack:
    """The inverse of `to_table`; the arrays are read-only views of the table's memory."""
    head = json.loads(table.column("head")[0].as_py())
    data = table.column("data").chunk(0).buffers()[2]
    if head["view"] is None:
        samples = np.frombuffer(data, np.float32, count=head["shape"][0]) if head["nbytes"] else np.zeros(0, np.float32)
        return AudioTrack(
            head["video_id"], samples, head["sample_rate"], head["start_s"], index=head["index"], last=head["last"]
        )
    return FrameBatch(
        video_id=head["video_id"],
        view=View(**head["view"]),
        index=head["index"],
        frames=np.frombuffer(data, np.uint8, count=head["nbytes"]).reshape(head["shape"]),
        pts_s=np.array(head["pts_s"], np.float64),
        last=head["last"],
        end_s=head["end_s"],
    )


def row(head: str, array: npt.NDArray[Any]) -> pa.Table:
    """A table of one row: a description, and the array's bytes, not copied."""
    import pyarrow as pa

    offsets = pa.py_buffer(np.array([0, array.nbytes], np.int64))
    flat = pa.py_buffer(array.reshape(-1).view(np.uint8))
    data = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, flat])
    return pa.table({"head": pa.array([head], pa.string()), "data": data})
