"""Every format by the one call: whole files or none, the same rules for all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.results import VideoReport
from serve_app.exports import EXPORTS, export, export_named
from tests.serve_app.documents import document, everything, result
from tests.serve_app.hostile import REPORTS, hostile, nothing, random_weights

TEXT_FORMATS = [name for name in EXPORTS if name != "parquet"]


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("name", EXPORTS)
def test_every_report_becomes_a_whole_file(name: str, kind: str, tmp_path: Path) -> None:
    target = tmp_path / f"report{EXPORTS[name].suffix}"
    assert export(REPORTS[kind](), name, target) == target
    assert [path.name for path in tmp_path.iterdir()] == [target.name], "nothing else may be left"
    if name in TEXT_FORMATS:
        text = target.read_bytes().decode("utf-8")  # strict: a lone surrogate would not be UTF-8
        assert "\0" not in text
    assert target.stat().st_size or (name == "srt" and kind in ("silent", "nothing"))


def test_json_has_the_bytes_of_the_document(tmp_path: Path) -> None:
    report = document(*everything(), covered=True)
    written = export(report, "json", tmp_path / "report.json").read_bytes()
    assert written == (report.model_dump_json(indent=1) + "\n").encode()
    assert VideoReport.model_validate_json(written) == report


def test_a_text_that_is_no_utf8_is_replaced_in_json_and_nothing_else_is(tmp_path: Path) -> None:
    report = document(result("text_overlay", [{"start": 0.0, "end": 1.0, "text": "a\ud800b"}]), source="\udcff.mp4")
    written = json.loads(export(report, "json", tmp_path / "report.json").read_text(encoding="utf-8"))
    assert written["analyzers"]["text_overlay"]["report"]["segments"] == [
        {"start": 0.0, "end": 1.0, "text": "a\ufffdb"}
    ]
    assert written["video"]["source"] == "\ufffd.mp4"
    assert written["video"]["duration_s"] == 30.0


def test_html_holds_the_medium_only_if_it_is_given(tmp_path: Path) -> None:
    medium = tmp_path / "clip.mp4"
    medium.write_bytes(b"0123456789" * 1000)
    report = document(*everything())
    with_it = export(report, "html", tmp_path / "a.html", medium).stat().st_size
    without = export(report, "html", tmp_path / "b.html")
    assert with_it > without.stat().st_size + 10_000
    assert "was not there when this page was made" in without.read_text(encoding="utf-8")


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no format 'parket'; did you mean 'parquet'"):
        export_named("parket")
    with pytest.raises(UsageError, match=r"there is no format '\.\./etc'; there is json, html"):
        export(document(), "../etc", Path("/nowhere"))


@pytest.mark.parametrize("name", ["csv", "parquet", "tsv", "eaf"])
def test_an_export_that_fails_halfway_leaves_the_old_file_and_nothing_beside_it(name: str, tmp_path: Path) -> None:
    target = tmp_path / f"report{EXPORTS[name].suffix}"
    target.write_text("old")
    whole = [{"start": 0.0, "end": 1.0, "kind": "pan"}] * 50_000
    with pytest.raises(KeyError, match="start"):
        export(document(result("camera_analysis", [*whole, {"end": 2.0}])), name, target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", [name for name in EXPORTS if name != "json"])
def test_random_failed_and_skipped_analyzers_say_nothing(name: str, tmp_path: Path) -> None:
    spoken = random_weights("speech_transcription", "RANDOM WORDS")
    report = document(*nothing().analyzers.values(), spoken)
    assert b"RANDOM" not in export(report, name, tmp_path / "file").read_bytes()


def test_the_formats_can_be_told_apart_by_their_names() -> None:
    assert list(EXPORTS) == ["json", "html", "srt", "vtt", "csv", "parquet", "coco", "tsv", "eaf"]
    assert all(key == one.name and one.about and "/" in one.media_type for key, one in EXPORTS.items())
    assert len({one.suffix for one in EXPORTS.values()}) == len(EXPORTS)


def test_the_list_of_formats_costs_nothing_to_import() -> None:
    code = "import serve_app.exports, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "pyarrow", "plotly", "numpy"} & set(done.stdout.split())


def test_the_documentation_lists_every_format() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")
    for one in EXPORTS.values():
        assert f"| `{one.name}` | `report{one.suffix}` | `{one.media_type}` |" in text


def test_exporting_does_not_change_the_report(tmp_path: Path) -> None:
    report = hostile()
    before = report.model_dump()
    for name in EXPORTS:
        export(report, name, tmp_path / name)
    assert report.model_dump() == before
