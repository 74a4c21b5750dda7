"""Finds the analyzers: every concrete `Analyzer` in a module of the `analyzers` package. Nothing else registers any."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from pipeline.analyzer import Analyzer

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
