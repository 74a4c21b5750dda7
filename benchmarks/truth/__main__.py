"""Print the truth table: `python -m benchmarks.truth [ANALYZER ...]`. Exits 1 when a bar is missed."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from rich.console import Console
from rich.table import Table

import benchmarks.truth as truth


def main(wanted: list[str]) -> int:
    """Measure all analyzers, or those named, and print the table."""
    table = Table("analyzer", "material and measure", "value", "bar", "")
    missed = 0
    for module_info in pkgutil.iter_modules(truth.__path__):
        name = module_info.name
        if name.startswith("_") or (wanted and name not in wanted):
            continue
        for figure in importlib.import_module(f"benchmarks.truth.{name}").measure():
            missed += not figure.reached
            sign = "at most" if figure.at_most else "at least"
            mark = "ok" if figure.reached else "MISSED"
            table.add_row(figure.analyzer, figure.what, f"{figure.value:.3f}", f"{sign} {figure.bar:g}", mark)
    Console(width=140).print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
