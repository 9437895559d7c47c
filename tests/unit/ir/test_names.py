"""New names clash with nothing, also not in subgraphs, and come in a fixed order."""

from __future__ import annotations

from edgecompile.ir.names import Names, unique_name
from tests.support.models import branches, conv_bn_relu


def test_free_names_stay_and_taken_ones_are_numbered() -> None:
    graph = conv_bn_relu().graph.graph
    taken = next(iter(graph.initializers))
    names = Names(graph)
    assert names.unique("fresh") == "fresh"
    assert [names.unique("fresh") for _ in range(2)] == ["fresh_1", "fresh_2"]
    assert names.unique(taken) == f"{taken}_1"
    assert names.unique("") == "_1"
    assert unique_name(graph, "fresh") == "fresh"


def test_names_inside_subgraphs_count() -> None:
    graph = branches().graph.graph
    inner = [value.name for part in graph.subgraphs() for node in part for value in node.outputs]
    assert inner
    assert all(Names(graph).unique(str(name)) == f"{name}_1" for name in inner)


def test_a_number_already_in_use_is_skipped() -> None:
    names = Names(conv_bn_relu().graph.graph)
    assert [names.unique(stem) for stem in ("a_1", "a", "a", "a")] == ["a_1", "a", "a_2", "a_3"]
