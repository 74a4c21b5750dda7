"""Print the truth table: `python -m benchmarks.truth [ANALYZER ...]`. Exits 1 when a bar is missed.

With `--readme` the README's table is written anew.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

import benchmarks.truth as truth
from benchmarks.truth import Figure

README = Path(__file__).resolve().parents[2] / "README.md"
MARKED = re.compile(r"(<!-- truth -->\n).*?(<!-- /truth -->)", re.DOTALL)


def main(wanted: Sequence[str], readme: bool) -> int:
    """Measure all analyzers, or those named, and print the table."""
    figures = [
        figure
        for module in pkgutil.iter_modules(truth.__path__)
        if not module.name.startswith("_") and (not wanted or module.name in wanted)
        for figure in importlib.import_module(f"benchmarks.truth.{module.name}").measure()
    ]
    table = Table("analyzer", "material and measure", "value", "bar", "")
    for figure in figures:
        table.add_row(figure.analyzer, figure.what, f"{figure.value:.3f}", _bar(figure), _mark(figure))
    Console(width=140).print(table)
    if readme:
        README.write_text(MARKED.sub(lambda match: match[1] + _markdown(figures) + match[2], README.read_text()))
    return 0 if all(figure.reached for figure in figures) else 1


def _bar(figure: Figure) -> str:
    return f"{'at most' if figure.at_most else 'at least'} {figure.bar:g}"


def _mark(figure: Figure) -> str:
    return "ok" if figure.reached else "MISSED"


def _markdown(figures: Sequence[Figure]) -> str:
    rows = [f"| {f.analyzer} | {f.what} | {f.value:.3f} | {_bar(f)}{'' if f.reached else ' MISSED'} |" for f in figures]
    return "\n".join(["| analyzer | material and measure | measured | bar |", "| --- | --- | --- | --- |", *rows, ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("analyzers", nargs="*")
    parser.add_argument("--readme", action="store_true", help="write the README's table")
    arguments = parser.parse_args()
    sys.exit(main(arguments.analyzers, arguments.readme))
