"""One row per segment of every analyzer that answered, as CSV and as Parquet.

Columns: `analyzer`, `segment` (its place in the analyzer's report, from 0), `start` and `end` (seconds), `label`; then
a column for each plain field (text, number, yes or no) that any segment has, in order of appearance; last `nested`, a
JSON object with the fields that are lists or objects. A field that a segment does not have is empty.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from pipeline.results import VideoReport
from serve_app.exports.answers import Row, answers, clean, plain
from serve_app.exports.labels import label

Kind = Literal["bool", "int", "float", "text"]
Cell = str | float | bool | None

FIRST: Final[dict[str, Kind]] = {
    "analyzer": "text", "segment": "int", "start": "float", "end": "float", "label": "text",
}  # fmt: skip
REQUIRED: Final = ("analyzer", "segment", "start", "end")
NESTED: Final = "nested"
ROWS_PER_GROUP: Final = 20_000
"""Rows that Parquet's writer holds at once. More: fewer, larger row groups. Fewer: less memory, larger files."""
FORMULA_SIGNS: Final = "=+-@\t\r\n＝＋－＠"
"""What makes a spreadsheet take a cell for a formula (OWASP, CSV Injection), full-width forms included."""


def write_csv(report: VideoReport, target: Path) -> None:
    """RFC 4180: commas, CRLF, quotes where needed; UTF-8 with a byte order mark, without which Excel takes it for ANSI.

    A text that a spreadsheet would take for a formula gets an apostrophe before it; numbers are written as they are.
    """
    kinds = columns(report)
    with target.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*kinds, NESTED])
        for row in rows(report, kinds):
            writer.writerow(_spelled(value) for value in row.values())


def write_parquet(report: VideoReport, target: Path) -> None:
    """The same rows in typed columns: float64, int64, bool, string; `analyzer` and `label` as dictionaries.

    The schema's metadata has `schema_version`, `created_at`, `profile`, `source`, `source_sha256` and `duration_s`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = columns(report)
    types = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string()}
    fields = [pa.field(name, types[kind], nullable=name not in REQUIRED) for name, kind in kinds.items()]
    facts = {
        "schema_version": report.schema_version,
        "created_at": report.created_at.isoformat(),
        "profile": report.profile,
        "source": report.video.source,
        "source_sha256": report.video.sha256,
        "duration_s": str(report.video.duration_s),
    }
    metadata = {key: clean(value).encode() for key, value in facts.items()}
    schema = pa.schema([*fields, pa.field(NESTED, pa.string())], metadata)
    found = rows(report, kinds)
    with pq.ParquetWriter(target, schema, compression="zstd", use_dictionary=["analyzer", "label"]) as writer:
        while group := list(islice(found, ROWS_PER_GROUP)):
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))


def columns(report: VideoReport) -> dict[str, Kind]:
    """Name and type of every column but `nested`."""
    kinds = dict(FIRST)
    for _, segments in answers(report):
        for segment in segments:
            for name, value in segment.items():
                if (kind := _kind(value)) is not None and name not in FIRST and name != NESTED:
                    kinds[clean(name)] = _common(kinds.get(clean(name), kind), kind)
    return kinds


def rows(report: VideoReport, kinds: dict[str, Kind]) -> Iterator[dict[str, Cell]]:
    """Each segment as a value for every column, in the columns' order."""
    for analyzer, segments in answers(report):
        for number, segment in enumerate(segments):
            row: dict[str, Cell] = dict.fromkeys(kinds)
            row |= {
                "analyzer": analyzer,
                "segment": number,
                "start": float(segment["start"]),
                "end": float(segment["end"]),
                "label": label(analyzer, segment) or None,
            }
            deep: Row = {}
            for name, value in segment.items():
                if name in ("start", "end") or (name == "label" and isinstance(value, str)):
                    continue
                if _kind(value) is None or name in FIRST or name == NESTED:
                    deep[name] = value
                else:
                    row[clean(name)] = _as(kinds[clean(name)], plain(value))
            deep = {name: value for name, value in deep.items() if value is not None}
            row[NESTED] = json.dumps(plain(deep), ensure_ascii=False, allow_nan=False) if deep else None
            yield row


def harmless(text: str) -> str:
    """The text so that no spreadsheet computes it; invisible characters before the sign do not hide it."""
    visible = next((sign for sign in text if sign in FORMULA_SIGNS or (sign.isprintable() and not sign.isspace())), "")
    return f"'{text}" if visible and visible in FORMULA_SIGNS else text


def _kind(value: Any) -> Kind | None:
    """The type of a plain value; None for others, and for None, which says nothing of the type."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    return "text" if isinstance(value, str) else None


def _common(one: Kind, other: Kind) -> Kind:
    if one == other:
        return one
    return "float" if {one, other} == {"int", "float"} else "text"


def _as(kind: Kind, value: Cell) -> Cell:
    if value is None or (kind == "text" and isinstance(value, str)):
        return value
    if kind == "text":
        return json.dumps(value)
    return float(value) if kind == "float" else value


def _spelled(value: Cell) -> str | float | None:
    """A cell: true and false in small letters, as JSON and SQL write them; texts harmless."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return harmless(value) if isinstance(value, str) else value
