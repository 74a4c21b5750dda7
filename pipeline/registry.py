"""Finds the analyzers: every concrete `Analyzer` in a module of the `analyzers` package. Nothing else registers any."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

from pipeline.analyzer import Analyzer, Options
from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.types import AnalyzerSpec

AnalyzerClass = type[Analyzer[Any, Any]]


@cache
def discover(package: str = "analyzers") -> Mapping[str, AnalyzerClass]:
    """Concrete analyzers by name, in alphabetical order.

    Raises:
        TypeError: two classes claim one name.
    """
    found: dict[str, AnalyzerClass] = {}
    root = importlib.import_module(package)
    for module_info in pkgutil.iter_modules(root.__path__):
        if module_info.ispkg:
            continue
        module = importlib.import_module(f"{package}.{module_info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if (
                not issubclass(member, Analyzer)
                or "spec" not in member.__dict__
                or member.__module__ != module.__name__
            ):
                continue
            name = member.spec.name
            if name in found:
                raise TypeError(f"{found[name].__module__} and {member.__module__} both define the analyzer {name}")
            found[name] = member
    return MappingProxyType(dict(sorted(found.items())))


def options_of(analyzer_class: AnalyzerClass, settings: Settings) -> Options:
    """The analyzer's own settings, validated.

    Raises:
        UsageError: they are wrong.
    """
    name = analyzer_class.spec.name
    try:
        return analyzer_class.options_model(**settings.analyzers.get(name, {}))
    except ValueError as error:
        raise UsageError(f"settings of [analyzers.{name}] are wrong: {error}") from None


def specs_of(classes: Mapping[str, AnalyzerClass], settings: Settings) -> dict[str, AnalyzerSpec]:
    """What each analyzer needs under these settings, `[plan.NAME]` included.

    Raises:
        UsageError: the settings of one are wrong.
    """
    specs = {name: cls.spec_for(settings.profile, options_of(cls, settings)) for name, cls in classes.items()}
    for name in specs.keys() & settings.plan.keys():
        specs[name] = replace(specs[name], **settings.plan[name].model_dump(exclude_none=True))
    return specs
