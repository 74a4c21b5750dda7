"""The page about models: its tables are made, the rest of it is left alone, and drift is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzers.models.manifest import read_manifest
from serve_app import models_doc


def test_every_model_stands_on_the_page() -> None:
    table = models_doc.hub_table()
    for model in read_manifest().hub:
        family = [other for other in read_manifest().hub if (other.id, other.used_by) == (model.id, model.used_by)]
        assert model.id in table
        assert len(family) > 1 or f"`{model.name}`" in table


def test_only_what_is_between_the_marks_is_written() -> None:
    page = models_doc.PAGE.read_text(encoding="utf-8")
    spoiled = page.replace("| --- |", "| spoiled |").replace("# Models", "# My models")
    assert models_doc.written(spoiled) == models_doc.written(page).replace("# Models", "# My models")
    with pytest.raises(ValueError, match="no mark <!-- generated: gpu -->"):
        models_doc.written(page.replace("<!-- generated: gpu -->", ""))


def test_drift_is_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:  # type: ignore[type-arg]
    page = tmp_path / "models.md"
    page.write_text(models_doc.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(models_doc, "PAGE", page)
    assert models_doc.main([]) == 0
    assert models_doc.main(["--check"]) == 0
    page.write_text(page.read_text(encoding="utf-8").replace("Apache-2.0", "none", 1), encoding="utf-8")
    assert models_doc.main(["--check"]) == 1
    assert "python -m serve_app.models_doc" in capsys.readouterr().err
