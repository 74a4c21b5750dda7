"""The rows of a report, read as a spreadsheet's, a pandas user's and a pyarrow user's program reads them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.results import VideoReport
from serve_app.exports import export
from serve_app.exports.tables import harmless
from tests.serve_app.documents import document, everything, result
from tests.serve_app.hostile import REPORTS, TEXTS, hostile


def read_csv(report: VideoReport, folder: Path) -> list[dict[str, str]]:
    with export(report, "csv", folder / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def read_parquet(report: VideoReport, folder: Path) -> pa.Table:
    return pq.read_table(export(report, "parquet", folder / "a.parquet"))


def segments(report: VideoReport, name: str) -> list[dict[str, Any]]:
    found = report.analyzers[name].report
    assert found is not None
    return list(found["segments"])


@pytest.mark.parametrize("kind", REPORTS)
def test_both_tables_have_a_row_for_every_segment(kind: str, tmp_path: Path) -> None:
    report = REPORTS[kind]()
    expected = [
        (name, number, segment["start"], segment["end"])
        for name, one in report.analyzers.items()
        if one.report is not None and not one.is_random
        for number, segment in enumerate(one.report["segments"])
    ]
    rows = read_csv(report, tmp_path)
    assert [(r["analyzer"], int(r["segment"]), float(r["start"]), float(r["end"])) for r in rows] == expected
    table = read_parquet(report, tmp_path)
    assert [(r["analyzer"], r["segment"], r["start"], r["end"]) for r in table.to_pylist()] == expected


def test_plain_fields_have_columns_and_the_others_are_nested(tmp_path: Path) -> None:
    report = document(*everything())
    rows = read_csv(report, tmp_path)
    camera = [row for row in rows if row["analyzer"] == "camera_analysis"]
    for row, segment in zip(camera, segments(report, "camera_analysis"), strict=True):
        assert (row["label"], row["motion"]) == (segment["motion"], segment["motion"])
        assert (float(row["pan"]), float(row["tilt"]), row["words"], row["nested"]) == (segment["pan"], 0.0, "", "")
    seen = [row for row in rows if row["analyzer"] == "object_detection"]
    assert json.loads(seen[0]["nested"]) == {"objects": segments(report, "object_detection")[0]["objects"]}
    assert seen[0]["label"] == "person ×2, bus, dog"
    assert {row["in_safe_zone"] for row in rows if row["analyzer"] == "text_overlay"} == {"true", "false"}


def test_parquet_has_types_and_says_where_it_comes_from(tmp_path: Path) -> None:
    table = read_parquet(document(*everything()), tmp_path)
    types = {field.name: str(field.type) for field in table.schema}
    assert types["analyzer"] == types["label"] == types["nested"] == types["motion"] == "string"
    assert types["start"] == types["end"] == types["pan"] == types["words_per_minute"] == "double"
    assert types["segment"] == types["index"] == "int64"
    assert types["in_safe_zone"] == "bool"
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert facts["schema_version"] == "1.0"
    assert facts["source_sha256"] == "0" * 64
    assert facts["source"] == "clip.mp4"
    rates = table.filter(pa.compute.equal(table["analyzer"], "speech_rate"))["words_per_minute"]
    assert rates.null_count == 2, "a value that is not known is null"


def test_fields_of_one_name_and_several_types_lose_nothing(tmp_path: Path) -> None:
    report = document(
        result("a", [{"start": 0, "end": 1, "x": 1, "y": True, "label": 7, "segment": "s", "nested": 1, "z": 1}]),
        result("b", [{"start": 0, "end": 1, "x": 1.5, "y": "yes", "label": "name", "analyzer": "q", "z": [1]}]),
        result("c", [{"start": 0, "end": 1, "x": float("nan"), "y": None, "z": {"deep": float("inf")}}]),
    )
    first, second, third = read_parquet(report, tmp_path).to_pylist()
    assert (first["x"], first["y"], first["label"], first["z"]) == (1.0, "true", "s", 1)
    assert json.loads(first["nested"]) == {"label": 7, "segment": "s", "nested": 1}
    assert (second["x"], second["y"], second["label"], second["z"]) == (1.5, "yes", "name", None)
    assert json.loads(second["nested"]) == {"analyzer": "q", "z": [1]}
    assert (third["x"], third["y"], json.loads(third["nested"])) == (None, None, {"z": {"deep": None}})


def test_no_cell_is_a_formula_and_numbers_stay_numbers(tmp_path: Path) -> None:
    rows = read_csv(hostile(), tmp_path)
    shown = [row for row in rows if row["analyzer"] == "text_overlay"]
    assert len(shown) == len(TEXTS)
    for row in rows:
        for name, cell in row.items():
            assert cell == "" or cell[0] not in "=+@\t\r\n＝＋－＠", (name, cell)
    written = {row["text"].removeprefix("'") for row in shown if row["text"].startswith("'")}
    assert written == {text for text in TEXTS if text.lstrip("\u200b")[0] in "=@＝-+"}
    assert {row["pitch_hz"] for row in rows if row["analyzer"] == "speech_transcription"} == {"-1.5"}


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@a", "\t=1", "\r", "\n=1", " =1", "\xa0=1", "\ufeff@x", "＋1", "－1"]
)
def test_what_a_spreadsheet_may_compute_gets_an_apostrophe(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "1-2", "#ad", "'=1", "«@»", "  ", "مرحبا", "👍"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert harmless(text) == text


def test_parquet_keeps_texts_as_they_were_said(tmp_path: Path) -> None:
    shown = [row["text"] for row in read_parquet(hostile(), tmp_path).to_pylist() if row["analyzer"] == "text_overlay"]
    kept = [text for text in TEXTS if "\0" not in text and "\ud83d" not in text]
    assert [text for text in shown if "\ufffd" not in text] == kept


def test_csv_is_what_excel_opens_as_utf8(tmp_path: Path) -> None:
    written = export(document(*everything()), "csv", tmp_path / "a.csv").read_bytes()
    assert written.startswith(b"\xef\xbb\xbfanalyzer,segment,start,end,label,")
    assert written.count(b"\xef\xbb\xbf") == 1
    assert written.endswith(b"\r\n")


def test_many_rows_become_several_groups(tmp_path: Path) -> None:
    rows = [{"start": i / 4, "end": (i + 1) / 4, "speed": i / 8} for i in range(45_000)]
    path = export(document(result("camera_analysis", rows)), "parquet", tmp_path / "a.parquet")
    assert pq.ParquetFile(path).metadata.num_row_groups == 3
    assert pq.read_table(path)["speed"].to_pylist() == [row["speed"] for row in rows]
