"""What to set when the analyzers do not fit the GPUs: the exact settings, found by planning with them.

Tried in this order, until the plan holds, at each step with the analyzer that takes most: smaller batches; the smaller
choices of its own (a smaller model, then 8 and 4 bit; the CPU); fewer replicas; leaving analyzers out, those of
`LEAVE_OUT` first. What then turns out not to be needed is taken back, the hardest first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.plan import Machine, Plan, plan_for
from pipeline.errors import PlanError
from pipeline.registry import AnalyzerClass, options_of, specs_of
from pipeline.settings import LEAVE_OUT, Settings
from pipeline.types import AnalyzerSpec

Smaller = Callable[[str, Any], Sequence[tuple[int, Mapping[str, Any]]]]
"""(analyzer, options) -> what it costs (0 speed, 1 quality, 2 the GPU) and settings by dotted name, mildest first."""
Change = tuple[tuple[str, ...], Any]
"""(path of a setting, its value), for example (("analyzers", "blip2", "quantize"), "4bit")."""


@dataclass(frozen=True)
class Advice:
    """Settings that fit, and the plan that they give.

    Args:
        settings: all of them, with the changes.
        changes: paths and values that differ from what was asked for.
        plan: how it fits then.
    """

    settings: Settings
    changes: tuple[Change, ...]
    plan: Plan

    def lines(self) -> list[str]:
        """The changes, each as one line of TOML."""
        return [f"{'.'.join(path)} = {_value(value)}" for path, value in self.changes]


def advise(
    classes: Mapping[str, AnalyzerClass], settings: Settings, machine: Machine, smaller: Smaller
) -> Advice | None:
    """The settings nearest to the given ones under which the analyzers fit; None if nothing on a GPU does.

    Args:
        classes: the analyzers that are wanted.
        settings: what was asked for.
        machine: where they must fit.
        smaller: the smaller choices of an analyzer.
    """
    changes: list[Change] = []
    for change in _measures(classes, settings, machine, smaller, changes):
        changes = [one for one in changes if one[0] != change[0]] + [change]
        if _plan(classes, _with(settings, changes), machine) is not None:
            changes = _needed(classes, settings, machine, changes)
            changed = _with(settings, changes)
            plan = _plan(classes, changed, machine)
            assert plan is not None
            return Advice(changed, tuple(changes), plan)
    return None


def with_advice(
    error: PlanError, classes: Mapping[str, AnalyzerClass], settings: Settings, machine: Machine, smaller: Smaller
) -> PlanError:
    """The same error, with the settings that would fit in its message; as it is where the plan itself holds."""
    if _plan(classes, settings, machine) is not None:
        return error
    advice = advise(classes, settings, machine, smaller)
    if advice is None:
        return PlanError(f"{error}; no smaller choice fits either: take the embedded profile, or a larger GPU")
    return PlanError(
        f"{error}; it fits with {', '.join(advice.lines())} "
        f"(`reelscope plan --profile {settings.profile} --fit` prints them as a file)"
    )


def toml(settings: Settings) -> str:
    """Everything that differs from the defaults, as a file for `--config`."""
    given = settings.model_dump(mode="json", exclude_defaults=True, exclude={"models_dir", "data_dir"})
    for name in ("models_dir", "data_dir"):
        value, usual = getattr(settings, name), type(settings).model_fields[name].get_default(call_default_factory=True)
        if value != usual:
            given[name] = str(value)
    return "\n".join(_table((), given)).strip() + "\n"


def _table(path: tuple[str, ...], values: Mapping[str, Any]) -> Iterator[str]:
    plain = {name: value for name, value in values.items() if not isinstance(value, dict) and value is not None}
    if plain:
        yield from (["", f"[{'.'.join(path)}]"] if path else [])
        yield from (f"{name} = {_value(value)}" for name, value in plain.items())
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _table((*path, name), value)


def _value(value: Any) -> str:
    # JSON's strings, numbers, truth values and lists are TOML's too.
    return json.dumps(value, ensure_ascii=False)


def _plan(classes: Mapping[str, AnalyzerClass], settings: Settings, machine: Machine) -> Plan | None:
    try:
        return plan_for(_specs(classes, settings), machine, settings)
    except PlanError:
        return None


def _specs(classes: Mapping[str, AnalyzerClass], settings: Settings) -> dict[str, AnalyzerSpec]:
    return specs_of({name: cls for name, cls in classes.items() if name not in settings.disabled}, settings)


def _with(settings: Settings, changes: Sequence[Change]) -> Settings:
    values = settings.model_dump()
    for path, value in changes:
        inner = values
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
    return settings.__class__.model_validate(values)


def _measures(
    classes: Mapping[str, AnalyzerClass],
    settings: Settings,
    machine: Machine,
    smaller: Smaller,
    changes: Sequence[Change],
) -> Iterator[Change]:
    """One change after another, each on top of those before."""
    specs = _specs(classes, settings)
    sizes = {name: spec.gpu_gb for name, spec in specs.items() if spec.gpu_gb > 0}
    choices = {name: list(smaller(name, options_of(classes[name], settings))) for name in sizes}
    chosen: list[Change] = []
    while any(choices.values()):
        left = [name for name in sizes if choices[name]]
        name = max(left, key=lambda name: (-choices[name][0][0], sizes[name], name))
        choice = [(tuple(setting.split(".")), value) for setting, value in choices[name].pop(0)[1].items()]
        paths = {path for path, _ in choice}
        tried = [one for one in chosen if one[0] not in paths] + choice
        size = _specs(classes, _with(settings, tried))[name].gpu_gb
        if size >= sizes[name]:
            continue
        chosen, sizes[name] = tried, size
        yield from choice
    on_gpu = [name for name in sizes if sizes[name] > 0]
    for name in sorted(on_gpu, key=lambda name: (-sizes[name], name)):
        for count in range(specs[name].replicas - 1, 0, -1):
            yield ("plan", name, "replicas"), count
    left_out = list(settings.disabled)
    needed = {other for spec in specs.values() for other in spec.after}
    missed = {name: place for place, name in enumerate(LEAVE_OUT)}  # those that are not named are missed more
    for name in sorted(on_gpu, key=lambda name: (name in needed, missed.get(name, len(missed)), -sizes[name], name)):
        left_out = [*left_out, name]
        yield ("disabled",), left_out


def _needed(
    classes: Mapping[str, AnalyzerClass], settings: Settings, machine: Machine, changes: Sequence[Change]
) -> list[Change]:
    """The changes without which it would not fit: each is taken back if the rest does, the last and hardest first."""
    kept = list(changes)
    for path, value in reversed(changes):
        if path == ("disabled",):
            for name in [name for name in reversed(value) if name not in settings.disabled]:
                at = next(index for index, one in enumerate(kept) if one[0] == path)
                fewer = [other for other in kept[at][1] if other != name]
                tried = [*kept[:at], (path, fewer), *kept[at + 1 :]]
                if _plan(classes, _with(settings, tried), machine) is not None:
                    kept = tried
        else:
            tried = [one for one in kept if one[0] != path]
            if _plan(classes, _with(settings, tried), machine) is not None:
                kept = tried
    return [one for one in kept if one != (("disabled",), list(settings.disabled))]
