"""Properties of the placement that must hold for every graph."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.ir import to_bytes
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.placement import place
from tests.support.models import Builder, feeds
from tests.support.quantized import STYLE, exact, quantized

SHAPE = ["N", 4, 8, 8]
UNARY = ("Relu", "Sigmoid", "Identity", "Transpose", "MaxPool")


@st.composite
def models(draw) -> Model:
    """Convolutions, sums, concats and pass-through operators, wired at random: `[N, 4, 8, 8]`."""
    b = Builder(seed=draw(st.integers(0, 9)))
    values = [b.input("x", SHAPE)]
    for kind in draw(
        st.lists(st.sampled_from(["conv", "join", "add", *UNARY]), min_size=2, max_size=9)
    ):
        pick = st.sampled_from(values)
        a, c = draw(pick), draw(pick)
        if kind == "conv":
            made = b.conv(a, 4, 4, k=draw(st.sampled_from([1, 3])))
        elif kind == "add":
            made = b.node("Add", [a, c])
        elif kind == "join":
            made = b.conv(b.node("Concat", [a, c], axis=1), 8, 4, k=1)
        elif kind == "Transpose":
            made = b.node(kind, [a], perm=[0, 1, 3, 2])
        elif kind == "MaxPool":
            made = b.node(kind, [a], kernel_shape=[3, 3], pads=[1] * 4)
        else:
            made = b.node(kind, [a])
        values.append(made)
    also = draw(st.lists(st.sampled_from(values[1:]), max_size=2, unique=True))
    return b.build(dict.fromkeys([*also, values[-1]], SHAPE))


@settings(max_examples=60, deadline=None)
@given(models())
def test_every_rule_of_the_placement(model):
    found = place(model, STYLE)
    graph = model.graph.graph
    consumers = {node.outputs[0].name: node for node in graph}
    seen = set()
    for site in found.activations:
        for output, index in site.edges:
            node = consumers[output]
            assert node.inputs[index].name == site.tensor
            assert node.op_type in {*STYLE.operators, *STYLE.shared_scale}
            assert (output, index) not in seen, "one edge, two pairs"
            seen.add((output, index))
    groups = {edge: site.group for site in found.activations for edge in site.edges}
    for node in graph:
        if node.op_type == "Concat":
            every = set().union(*(_groups(node, i, groups) for i in range(len(node.inputs))))
            assert len(every) == 1, "in integers of one scale, or all of it in float"
        if node.op_type in STYLE.operators:
            assert None not in _groups(node, 0, groups)


def _groups(node, index, groups) -> set[str | None]:
    """Scales of what an input holds: of its pair, or of those above what only passes it on."""
    edge = (node.outputs[0].name, index)
    above = node.inputs[index].producer()
    if edge in groups or above is None or above.op_type not in STYLE.shared_scale:
        return {groups.get(edge)}
    return set().union(*(_groups(above, i, groups) for i in range(len(above.inputs))))


@settings(max_examples=25, deadline=None)
@given(models())
def test_the_graph_computes_nearly_the_same_deterministically_and_once(model):
    if not place(model, STYLE).integer_nodes:
        return
    inputs = feeds(model, batch=1)
    outcome = quantized(model, inputs)
    assert to_bytes(outcome.model) == to_bytes(quantized(model, inputs).model)
    names = [v.name for node in outcome.model.graph.graph for v in node.outputs]
    nodes = [node.name for node in outcome.model.graph.graph]
    assert len(names) == len(set(names))
    assert len(nodes) == len(set(nodes))
    for before, after in zip(exact(model, inputs), exact(outcome.model, inputs), strict=True):
        assert np.isfinite(after).all()
        error = np.linalg.norm(after - before)
        assert error <= 0.2 * np.linalg.norm(before) + 1e-6
