"""What graph passes share."""

from __future__ import annotations

import pytest

from edgecompile.passes.graph.edit import earliest
from tests.support.models import Builder


@pytest.mark.parametrize("picked", [[3], [4, 1, 2], [0, 4], [2, 2]])
def test_the_earliest_of_some_nodes(picked):
    b = Builder()
    value = b.input("x", [2])
    for _ in range(5):
        value = b.node("Relu", [value])
    graph = b.build({value: None}).graph.graph
    nodes = list(graph)
    assert earliest(graph, [nodes[i] for i in picked]) is nodes[min(picked)]
