"""Groups of chunks as Arrow tables of one row, which is how they lie in the object store. Ray is not needed here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.types import AudioTrack, FrameBatch, View

if TYPE_CHECKING:
    import pyarrow as pa


HEAD: Final = "head"


@dataclass(frozen=True, slots=True)
class BlockItem:
    """A chunk in the object store: the reference of its group's block, and its position there (`from_table`)."""

    block: Any
    position: int


def to_table(group: Sequence[FrameBatch | AudioTrack]) -> pa.Table:
    """One row: a description of the items, then a column with the bytes of each, which are not copied here."""
    heads = [_head(item) for item in group]
    arrays = [item.frames if isinstance(item, FrameBatch) else item.samples for item in group]
    return row(heads, arrays)


def row(head: Any, arrays: Sequence[npt.NDArray[Any]] = ()) -> pa.Table:
    """One row: anything that JSON can hold, and arrays' bytes."""
    import pyarrow as pa

    columns = {HEAD: pa.array([json.dumps(head)], pa.string())}
    for position, array in enumerate(arrays):
        flat = pa.py_buffer(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        offsets = pa.py_buffer(np.array([0, array.nbytes], np.int64))
        columns[f"data{position}"] = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, flat])
    return pa.table(columns)


def head_of(table: pa.Table) -> Any:
    """The description in a row."""
    return json.loads(table.column(HEAD)[0].as_py())


def from_table(table: pa.Table, position: int) -> FrameBatch | AudioTrack:
    """One item of the group; its array is a read-only view of the table's memory."""
    head = head_of(table)[position]
    data = table.column(f"data{position}").chunk(0).buffers()[2]
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


def _head(item: FrameBatch | AudioTrack) -> dict[str, Any]:
    if isinstance(item, FrameBatch):
        head: dict[str, Any] = {"view": asdict(item.view), "pts_s": item.pts_s.tolist(), "shape": item.frames.shape}
    else:
        head = {"view": None, "sample_rate": item.sample_rate, "start_s": item.start_s, "shape": item.samples.shape}
    head |= {"video_id": item.video_id, "index": item.index, "last": item.last}
    return head | {"end_s": item.end_s, "nbytes": item.nbytes}
