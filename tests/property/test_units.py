"""Properties of placements around whole units that must hold for every graph."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.ir import to_bytes
from edgecompile.ir.facts import constant_array
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.placement import place
from edgecompile.targets.schema import Activations, OperatorRule, QdqStyle, Weights
from tests.support.models import Builder, feeds
from tests.support.quantized import exact, observed, quantized
from tests.support.styles import CARRIERS, UNIT_OPERATORS, units

SHAPE = ["N", 4, 8, 8]
UNARY = ("Relu", "Sigmoid", "Sin", "Identity", "Transpose", "MaxPool", "Softmax", "Tanh")
PAIR = ("QuantizeLinear", "DequantizeLinear")


@st.composite
def models(draw) -> Model:
    """Units, carriers and float operators (Sin), wired at random, opset 21: `[N, 4, 8, 8]`."""
    b = Builder(seed=draw(st.integers(0, 9)), opset=21)
    values = [b.input("x", SHAPE)]
    kinds = st.sampled_from(["conv", "join", "add", "mul", "scale", "split", *UNARY])
    for kind in draw(st.lists(kinds, min_size=2, max_size=9)):
        pick = st.sampled_from(values)
        a, c = draw(pick), draw(pick)
        if kind == "conv":
            made = b.conv(a, 4, 4, k=draw(st.sampled_from([1, 3])))
        elif kind == "add":
            made = b.node("Add", [a, c])
        elif kind == "mul":
            made = b.node("Mul", [a, b.node("Sigmoid", [c])])
        elif kind == "scale":
            made = b.node("Mul", [a, b.constant(np.float32(draw(st.sampled_from([0.1, 30.0]))))])
        elif kind == "join":
            made = b.conv(b.node("Concat", [a, c], axis=1), 8, 4, k=1)
        elif kind == "split":
            left, right = b.node("Split", [a], outputs=2, axis=1, num_outputs=2)
            made = b.node("Concat", [right, left], axis=1)
        elif kind == "Transpose":
            made = b.node(kind, [a], perm=[0, 1, 3, 2])
        elif kind == "MaxPool":
            made = b.node(kind, [a], kernel_shape=[3, 3], pads=[1] * 4)
        else:
            made = b.node(kind, [a])
        values.append(made)
    also = draw(st.lists(st.sampled_from(values[1:]), max_size=2, unique=True))
    return b.build(dict.fromkeys([*also, values[-1]], SHAPE))


@st.composite
def styles(draw) -> QdqStyle:
    """Styles with `outputs`: widths, rules, fused activations, powers of two."""
    kind = draw(st.sampled_from(["uint8", "int8", "uint16", "int16"]))
    wide = OperatorRule(operators=("Softmax", "Tanh"), activations="uint16")
    fixed = OperatorRule(operators=("Sigmoid",), output_range=(0.0, 1.0))
    weights = Weights(type=draw(st.sampled_from(["int8", "uint8"])))
    return units(
        activations=Activations(type=kind, symmetric=kind.startswith("i"), wide="uint16"),
        weights=weights,
        rules=draw(st.sampled_from([(), (wide,), (wide, fixed)])),
        fused_activations=draw(st.sampled_from([(), ("Relu",), ("Relu", "Sigmoid")])),
        power_of_two_scales=draw(st.booleans()),
        bias=draw(st.sampled_from(["int32", "float", "int8"])),
    )


def numbers(value):
    """Scale, zero point and type of the pair that makes `value`; None if none does."""
    node = value.producer()
    if node is None or node.op_type not in PAIR:
        return None
    scale, zero = (constant_array(v) for v in node.inputs[1:3])
    return float(scale), int(zero), str(node.inputs[2].dtype)


@settings(max_examples=60, deadline=None)
@given(models(), styles())
def test_every_rule_of_units(model, style):
    after = quantized(model, feeds(model, batch=1), style=dict(style)).model
    graph = after.graph.graph
    tails = _tails(graph, style)
    for node in graph:
        if node.op_type in UNIT_OPERATORS and node not in tails.values():
            read = node.inputs[:1] if node.op_type == "Conv" else node.inputs
            assert None not in [numbers(v) for v in read], "integers in"
            assert _written(tails.get(node, node)) != {None}, "integers out"
        if node.op_type in CARRIERS:
            read = {numbers(v) for v in node.inputs if v.dtype.is_floating_point()}
            wrote = set().union(*(_written(node, i) for i in range(len(node.outputs))))
            assert read == wrote or wrote <= {None}, "one scale, or float"
        if node.op_type == "QuantizeLinear":
            assert _pair_has_one_use_of_its_own(node)
    assert [v.name for v in graph.outputs] == [v.name for v in model.graph.graph.outputs]


def _tails(graph, style):
    tails = {}
    for node in graph:
        uses = list(node.outputs[0].uses())
        if node.op_type in ("Conv", "Add", "Mul") and len(uses) == 1 and uses[0].idx == 0:
            reader = uses[0].node
            if reader.op_type in style.fused_activations:
                tails[node] = reader
    return tails


def _written(node, index=0):
    """What everybody who reads the output sees it written with."""
    value = node.outputs[index]
    if value.is_graph_output():
        return {None}
    return {numbers(u.node.outputs[0]) if u.node.op_type == PAIR[0] else None for u in value.uses()}


def _pair_has_one_use_of_its_own(node):
    (use,) = node.outputs[0].uses()
    return use.node.op_type == PAIR[1] and not node.outputs[0].is_graph_output()


@settings(max_examples=40, deadline=None)
@given(models(), styles())
def test_the_graph_computes_nearly_the_same_deterministically_and_once(model, style):
    inputs = feeds(model, batch=1)
    outcome = quantized(model, inputs, style=dict(style))
    assert to_bytes(outcome.model) == to_bytes(quantized(model, inputs, style=dict(style)).model)
    names = [v.name for node in outcome.model.graph.graph for v in node.outputs]
    nodes = [node.name for node in outcome.model.graph.graph]
    assert len(names) == len(set(names))
    assert len(nodes) == len(set(nodes))
    for found in exact(outcome.model, inputs):
        assert np.isfinite(found).all()


@settings(max_examples=40, deadline=None)
@given(models(), styles())
def test_what_calibration_is_asked_for_is_enough(model, style):
    """Ranges decide what shares a scale; whatever they say, no other tensor is needed."""
    asked = set(place(model, style).tensors)
    inputs = feeds(model, batch=1)
    outcome = quantized(model, inputs, style=dict(style))
    assert not any("calibrated" in note.message for note in outcome.notes)
    for limit in (0.0, 1.0, 99.0):
        found = place(model, style, ranges=observed(model, inputs), join_loss=limit)
        assert set(found.tensors) <= asked
