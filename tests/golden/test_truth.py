"""Every truth figure reaches its bar (benchmarks/truth prints the same figures as a table)."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import benchmarks.truth as truth

MODULES = sorted(module.name for module in pkgutil.iter_modules(truth.__path__) if not module.name.startswith("_"))


@pytest.mark.parametrize("module", MODULES)
def test_figures_reach_their_bars(module: str) -> None:
    figures = importlib.import_module(f"benchmarks.truth.{module}").measure()
    assert figures, f"benchmarks/truth/{module}.py measured nothing"
    missed = [f"{f.what}: {f.value:.3f}, bar {f.bar:g}" for f in figures if not f.reached]
    assert not missed, "\n".join(missed)
