"""What a report is the answer to: the content, and everything of the configuration that shows in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import version

from pipeline.graph import Graph
from pipeline.results import AnalyzerResult
from pipeline.settings import Settings


def key_of(sha256: str, names: Collection[str], graph: Graph, settings: Settings) -> str:
    """SHA-256 in hex over the content and how it is analyzed: equal keys, equal reports but for times.

    Args:
        sha256: of the video.
        names: all analyzers that run.
        graph: with their versions.
        settings: profile, options, and which analyzers are switched off.
    """
    asked = {
        "video": sha256,
        "profile": settings.profile,
        "analyzers": {name: graph.specs[name].version for name in names},
        "options": {name: settings.analyzers[name] for name in names if name in settings.analyzers},
        "disabled": sorted(set(settings.disabled).intersection(names)),
        "reelscope": version("reelscope"),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def still_good(results: Iterable[AnalyzerResult], names: Collection[str], graph: Graph) -> dict[str, AnalyzerResult]:
    """Those of earlier results that may be taken over: ok, wanted, and of today's version of their analyzer."""
    return {
        result.name: result
        for result in results
        if result.status == "ok" and result.name in names and result.version == graph.specs[result.name].version
    }


def dependants(names: Collection[str], graph: Graph) -> set[str]:
    """The named analyzers, and all whose reports build on theirs."""
    return {name for name in graph.specs if not set(names).isdisjoint(graph.closure([name]).names)}


def without_failures(results: Mapping[str, AnalyzerResult]) -> bool:
    """Whether running again would not tell more."""
    return all(result.status != "failed" for result in results.values())
