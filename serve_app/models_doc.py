"""Writes the tables of docs/models.md from the manifest and the analyzers: `python -m serve_app.models_doc [--check]`.

What stands between two marks is generated, the text around them is written by hand. `--check` writes nothing, and exits
1 if the page is not what would be written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from analyzers.models.hub import ModelOptions, gpu_gb, smaller
from analyzers.models.manifest import HubModel, read_manifest
from cluster.advice import advise
from cluster.plan import Machine, plan_for
from pipeline.errors import PlanError
from pipeline.registry import discover, specs_of
from pipeline.settings import Settings

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "models.md"
MACHINES: Final[Mapping[str, tuple[float, ...]]] = {
    "1 x 16 GB": (16.0,),
    "1 x 24 GB": (24.0,),
    "1 x 48 GB": (48.0,),
    "1 x 80 GB": (80.0,),
    "1 x 141 GB": (141.0,),
    "4 x 24 GB": (24.0,) * 4,
    "8 x 80 GB": (80.0,) * 8,
}
CPUS: Final = 64.0
"""Of the machines above; it changes CPU shares only, which the page does not tell."""


def hub_table() -> str:
    """Every hub model; those of one repository in one row."""
    rows = []
    models = read_manifest().hub
    groups: dict[tuple[str, tuple[str, ...]], list[HubModel]] = {}
    for model in models:
        groups.setdefault((model.id, model.used_by), []).append(model)
    for (hub_id, used_by), group in groups.items():
        group.sort(key=lambda model: model.parameters)
        first, last = group[0], group[-1]
        rows.append(
            (
                ", ".join(used_by),
                " to ".join(dict.fromkeys((f"`{first.name}`", f"`{last.name}`"))) + f"<br>{hub_id}",
                _range(_parameters, first.parameters, last.parameters),
                _range(_size, first.bytes, last.bytes),
                first.licence,
                "yes" if first.commercial else "**no**",
                _range(lambda count: f"{count:.1f}", *(_held(model, "none") for model in (first, last))),
                _quantized(group, "8bit"),
                _quantized(group, "4bit"),
                "yes" if all(model.revision for model in group) else "at the first fetch",
            )
        )
    names = (
        "analyzer",
        "model",
        "parameters",
        "files",
        "licence",
        "commercial use",
        "16 bit",
        "8 bit",
        "4 bit",
        "pinned",
    )
    notes = {model.note: model.name for model in models if model.note}
    listed = [f"- `{name}`: {note}." for note, name in notes.items()]
    return "\n".join([_table(names, rows), "", *listed])


def package_table() -> str:
    """The weights that packages bring."""
    rows = [
        (f"`{model.name}`", ", ".join(model.used_by), model.profile, _size(model.bytes), model.licence)
        for model in read_manifest().models
    ]
    return _table(("model", "analyzers", "profile", "files", "licence"), rows)


def gpu_table() -> str:
    """What each analyzer takes of a GPU as it is set by default."""
    specs = specs_of(discover(), _full())
    rows = [
        (name, f"{spec.gpu_gb:.1f}", _setting(name), str(spec.batch))
        for name, spec in sorted(specs.items(), key=lambda item: -item[1].gpu_gb)
        if spec.gpu_gb > 0
    ]
    total = sum(spec.gpu_gb for spec in specs.values())
    rows.append(("all", f"{total:.1f}", "", ""))
    return _table(("analyzer", "GPU GB", "with", "chunks in a call"), rows)


def machine_table() -> str:
    """For each machine, whether everything fits, and with which settings if not."""
    rows = []
    for name, sizes in MACHINES.items():
        settings, machine, classes = _full(), Machine(CPUS, sizes), discover()
        try:
            plan = plan_for(specs_of(classes, settings), machine, settings)
            needed = "as it is"
        except PlanError:
            advice = advise(classes, settings, machine, smaller)
            assert advice is not None, f"nothing fits {name}"
            plan, needed = advice.plan, "<br>".join(f"`{line}`" for line in advice.lines())
        more = [
            f"{name} {share.replicas}"
            for name, share in sorted(plan.shares.items())
            if share.gpus and share.replicas > 1
        ]
        free = sum(plan.free_gb())
        rows.append((name, needed, ", ".join(more) or "1 of each", f"{free:.1f}"))
    return _table(("GPUs", "settings", "replicas", "GB left"), rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "hub": hub_table,
    "packages": package_table,
    "gpu": gpu_table,
    "machines": machine_table,
}


def written(page: str) -> str:
    """The page with its tables made anew.

    Raises:
        ValueError: a mark is missing.
    """
    for name, make in TABLES.items():
        begin, end = f"<!-- generated: {name} -->", "<!-- end -->"
        pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
        found = pattern.search(page)
        if found is None:
            raise ValueError(f"the page has no mark {begin}")
        page = f"{page[: found.end(1)]}{make()}\n{page[found.start(2) :]}"
    return page


def main(arguments: Sequence[str]) -> int:
    """Write the page, or check it. Returns the exit code."""
    before = PAGE.read_text(encoding="utf-8")
    after = written(before)
    if "--check" in arguments:
        if before != after:
            sys.stderr.write(f"{PAGE.name} is not what the manifest says; run python -m serve_app.models_doc\n")
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    return 0


def _full() -> Settings:
    return Settings(profile="full")


def _held(model: HubModel, quantize: str) -> float:
    """GB of a GPU for the weights and the context, without what a batch takes."""
    return gpu_gb(ModelOptions.model_validate({"model": model.name, "quantize": quantize}), 0.0)


def _quantized(models: Sequence[HubModel], quantize: str) -> str:
    if not all(model.quantizable for model in models):
        return ""
    return _range(lambda size: f"{size:.1f}", _held(models[0], quantize), _held(models[-1], quantize))


def _setting(name: str) -> str:
    cls = discover()[name]
    options = cls.options_model()
    if not isinstance(options, ModelOptions):
        return ""
    return f"`{options.model}`" + ("" if options.quantize == "none" else f", {options.quantize}")


def _range(said: Callable[[float], str], least: float, most: float) -> str:
    return " to ".join(dict.fromkeys((said(least), said(most))))


def _parameters(count: float) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _table(names: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = list(names)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
