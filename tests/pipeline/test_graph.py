"""The graph finds what a request needs, and refuses at load what cannot work."""

from __future__ import annotations

import pytest

from pipeline.errors import UsageError
from pipeline.graph import Graph, GraphError
from pipeline.registry import discover
from pipeline.types import ALL, AUDIO, SCAN, THUMB, AnalyzerSpec, View


def spec(name: str, needs: object = None, **more: object) -> AnalyzerSpec:
    return AnalyzerSpec(name, "1", needs, **more)  # type: ignore[arg-type]


def test_the_closure_takes_dependencies_and_only_their_views() -> None:
    graph = Graph([spec("a", SCAN), spec("b", AUDIO), spec("c", after=("a",)), spec("d", THUMB)])
    selection = graph.closure(["c"])
    assert selection.names == ("a", "c")
    assert dict(selection.views) == {SCAN: ("a",)}
    assert selection.audio == ()


def test_equal_views_of_two_analyzers_are_made_once() -> None:
    graph = Graph([spec("a", SCAN), spec("b", View("own", 4, 480))])
    assert list(graph.closure().views.values()) == [("a", "b")]


def test_all_means_every_other_that_is_not_itself_after_all() -> None:
    graph = Graph([spec("a", SCAN), spec("x", after_if_ok=ALL), spec("y", after_if_ok=ALL)])
    assert graph.waits_for("x") == ("a",)
    assert graph.closure(["y"]).names == ("a", "y")


def test_a_cycle_is_an_error_at_load() -> None:
    with pytest.raises(GraphError, match="wait for each other"):
        Graph([spec("a", after=("b",)), spec("b", after_if_ok=("a",))])


def test_a_missing_name_is_an_error_at_load_that_offers_the_nearest() -> None:
    with pytest.raises(GraphError, match="did you mean 'speech'"):
        Graph([spec("speech", AUDIO), spec("rate", after=("spech",))])


def test_an_unknown_wish_is_a_usage_error_that_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'speech'"):
        Graph([spec("speech", AUDIO)]).closure(["speeech"])


def test_the_shipped_analyzers_form_a_graph() -> None:
    graph = Graph(analyzer_class.spec for analyzer_class in discover().values())
    selection = graph.closure()
    positions = {name: number for number, name in enumerate(selection.names)}
    for name in selection.names:
        assert all(positions[other] < positions[name] for other in graph.waits_for(name))
