"""The exported names are exactly those that the documentation lists, and the public functions work."""

from __future__ import annotations

import re
from pathlib import Path

import reelscope

ROOT = Path(__file__).resolve().parents[1]


def test_all_names_exist_and_are_documented() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))
    assert set(reelscope.__all__) == documented
    for name in reelscope.__all__:
        assert getattr(reelscope, name) is not None


def test_the_whole_example_of_the_contributing_guide_runs(clip: Path, tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    path = tmp_path / "brightness_analysis.py"
    path.write_text(code)
    import importlib.util
    import sys

    module_spec = importlib.util.spec_from_file_location("brightness_analysis", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules["brightness_analysis"] = module
    module_spec.loader.exec_module(module)

    from benchmarks.truth import run_analyzer

    report = run_analyzer(module.BrightnessAnalysis, clip)
    values = [segment.brightness for segment in report.segments]
    assert values == sorted(values)
    assert 0.1 < report.summary.brightness < 0.9
