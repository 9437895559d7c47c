"""Styles with pairs on inputs and outputs: a unit is DequantizeLinear, operator, QuantizeLinear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.ir.facts import constant_array
from edgecompile.passes.quantize.forms import Zero
from edgecompile.passes.quantize.placement import place
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.targets.schema import Activations, OperatorRule
from tests.support.models import Builder, attention, feeds, lstm, node_of, operators
from tests.support.quantized import context, exact, quantized
from tests.support.styles import units

IMAGE = ["N", 4, 8, 8]


def parameters(value: ir.Value) -> tuple[float, int, str]:
    """Scale, zero point and type of the pair that makes `value`."""
    node = value.producer()
    assert node is not None
    assert node.op_type in ("QuantizeLinear", "DequantizeLinear"), node.op_type
    scale, zero = (constant_array(v) for v in node.inputs[1:3])
    assert scale is not None
    assert zero is not None
    return float(scale), int(zero), str(node.inputs[2].dtype)


def written(node: ir.Node) -> tuple[float, int, str]:
    """What the unit of `node` writes its output with."""
    (use,) = node.outputs[0].uses()
    assert use.node.op_type == "QuantizeLinear"
    return parameters(use.node.outputs[0])


def small(style=None, **options):
    """Conv, Relu, MaxPool, Conv, Add of both, ending in an output of the graph."""
    b = Builder()
    x = b.node("Relu", [b.conv(b.input("x", IMAGE), 4, 4)])
    x = b.node("MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4)
    model = b.build({b.node("Add", [b.conv(x, 4, 4), x]): IMAGE})
    return model, quantized(model, style=dict(units(**(style or {}))), **options).model


def test_every_unit_reads_and_writes_integers_and_the_outputs_keep_their_names():
    before, after = small()
    for node in after.graph.graph:
        if node.op_type in ("Conv", "Relu", "MaxPool", "Add"):
            for value in node.inputs:
                assert value.producer().op_type == "DequantizeLinear"
            assert written(node)
    assert node_of(after, "QuantizeLinear").inputs[0].is_graph_input()
    (out,) = after.graph.graph.outputs
    assert out.name == before.graph.graph.outputs[0].name
    assert out.producer().op_type == "DequantizeLinear"
    names = [v.name for node in after.graph.graph for v in node.outputs]
    assert len(set(names)) == len(names)


def test_what_passes_through_keeps_scale_and_zero_point():
    _, after = small()
    pool = node_of(after, "MaxPool")
    assert parameters(pool.inputs[0]) == written(pool)


def test_what_a_clamp_cuts_off_gets_no_integers():
    _, after = small()
    conv, relu = node_of(after, "Conv"), node_of(after, "Relu")
    assert written(conv) == written(relu)
    assert written(relu)[1] == 0


def test_no_pair_stands_between_an_operator_and_the_activation_of_its_kernel():
    _, after = small({"fused_activations": ("Relu",)})
    relu = node_of(after, "Relu")
    assert relu.inputs[0].producer().op_type == "Conv"
    assert written(relu)


def test_a_node_in_float_reads_what_the_units_wrote_and_is_read_through_a_pair():
    _, after = small(keep_float=("maxpool_2",))
    pool = node_of(after, "MaxPool")
    assert pool.inputs[0].producer().op_type == "DequantizeLinear"
    readers = [use.node for use in pool.outputs[0].uses()]
    assert [node.op_type for node in readers] == ["QuantizeLinear"]


def test_fixed_ranges_of_outputs():
    b = Builder()
    x = b.input("x", ["N", 8])
    model = b.build({b.node("Softmax", [x]): ["N", 8], b.node("Tanh", [x]): ["N", 8]})
    rules = (
        OperatorRule(operators=("Softmax",), output_range=(0.0, 1.0)),
        OperatorRule(operators=("Tanh",), output_range=(-1.0, 1.0)),
    )
    after = quantized(model, style=dict(units(rules=rules))).model
    assert written(node_of(after, "Softmax")) == (2**-8, 0, "UINT8")
    assert written(node_of(after, "Tanh")) == (2**-7, 128, "UINT8")
    signed = Activations(type="int16", symmetric=True)
    style = units(rules=rules, activations=signed, contrib_types=True)
    after = quantized(model, style=dict(style)).model
    assert written(node_of(after, "Tanh")) == (2**-15, 0, "INT16")
    assert written(node_of(after, "Softmax")) == (2**-15, 0, "INT16")


def mixed(opset: int = 21):
    """Gemm, Softmax, Gemm."""
    b = Builder(opset=opset)
    x = b.node("Softmax", [b.gemm(b.input("x", ["N", 8]), 8, 8)])
    return b.build({b.gemm(x, 8, 4): ["N", 4]})


WIDE_SOFTMAX = OperatorRule(operators=("Softmax",), activations="uint16")


def test_a_pair_that_converts_stands_on_each_edge_between_widths():
    model = mixed()
    after = quantized(model, style=dict(units(rules=(WIDE_SOFTMAX,)))).model
    first, softmax, second = (n for n in after.graph.graph if n.op_type in ("Gemm", "Softmax"))
    assert parameters(softmax.inputs[0])[2] == written(softmax)[2] == "UINT16"
    assert written(first)[2] == parameters(second.inputs[0])[2] == "UINT8"
    for node in (softmax, second):
        converted = node.inputs[0].producer().inputs[0].producer().inputs[0].producer()
        assert converted.op_type == "DequantizeLinear", "the pair stands behind another one"
    (wanted,) = exact(model, feeds(model))
    (found,) = exact(after, feeds(model))
    assert np.linalg.norm(found - wanted) < 0.05 * np.linalg.norm(wanted)


def test_single_nodes_get_the_width_that_the_recipe_wants():
    model = mixed()
    style = dict(units(rules=()))
    after = quantized(model, style=style, precision={"softmax_1": "int16", "gemm_2": "float"}).model
    softmax = node_of(after, "Softmax")
    assert written(softmax)[2] == "UINT16"
    last = list(after.graph.graph)[-1]
    assert (last.op_type, last.inputs[1].producer()) == ("Gemm", None)
    wide = dict(units(rules=(), activations=Activations(type="uint16")))
    after = quantized(model, style=wide, precision={"softmax_1": "int8"}).model
    assert written(node_of(after, "Softmax"))[2] == "UINT8"


@pytest.mark.parametrize(("opset", "domain"), [(17, "com.microsoft"), (21, "")])
def test_16_bits_below_opset_21_take_the_domain_of_onnx_runtime(opset, domain):
    model = mixed(opset)
    style = dict(units(rules=(WIDE_SOFTMAX,), contrib_types=True))
    after = quantized(model, style=style).model
    pairs = [node for node in after.graph.graph if node.op_type == "QuantizeLinear"]
    for node in pairs:
        assert node.domain == (domain if node.inputs[2].dtype == ir.DataType.UINT16 else "")
    assert (after.graph.graph.opset_imports.get("com.microsoft") == 1) is bool(domain)
    exact(after, feeds(model))


def test_constant_operands_are_integers_too():
    b = Builder()
    x = b.node("Mul", [b.input("x", ["N", 8]), b.constant(np.linspace(-3, 2, 8))])
    joined = b.node("Concat", [x, b.constant(np.ones((2, 8)))], axis=0)
    model = b.build({joined: None})
    after = quantized(model, {"x": feeds(model)["x"]}, style=dict(units())).model
    factor = node_of(after, "Mul").inputs[1]
    scale, zero, kind = parameters(factor)
    assert (kind, zero) == ("UINT8", round(255 * 3 / 5))
    assert scale == pytest.approx(5 / 255, rel=1e-2)
    concat = node_of(after, "Concat")
    assert parameters(concat.inputs[1]) == written(concat) == parameters(concat.inputs[0])


def test_normalisations_take_their_scale_as_a_weight_and_their_shift_as_a_bias():
    b = Builder()
    parts = [b.input("x", ["N", 4, 8]), b.random(8, positive=True), b.random(8)]
    model = b.build({b.node("LayerNormalization", parts): ["N", 4, 8]})
    rule = OperatorRule(operators=("LayerNormalization",), weights="uint8")
    after = quantized(model, style=dict(units(rules=(rule,)))).model
    node = node_of(after, "LayerNormalization")
    data, scale, shift = (parameters(value) for value in node.inputs)
    assert scale[1:] == (128, "UINT8")
    assert shift[1:] == (0, "INT32")
    assert shift[0] == np.float32(data[0]) * np.float32(scale[0])


def test_a_split_and_its_parts_share_one_scale():
    b = Builder()
    x = b.conv(b.input("x", IMAGE), 4, 4)
    left, right = b.node("Split", [x, b.constant(np.array([1, 3]))], outputs=2, axis=1)
    model = b.build({b.conv(left, 1, 4): IMAGE, b.conv(right, 3, 4): IMAGE})
    after = quantized(model, style=dict(units())).model
    split = node_of(after, "Split")
    uses = [use.node for value in split.outputs for use in value.uses()]
    assert [node.op_type for node in uses] == ["QuantizeLinear"] * 2
    assert {parameters(node.outputs[0]) for node in uses} == {parameters(split.inputs[0])}


def test_what_only_passes_on_for_float_operators_is_no_unit():
    b = Builder()
    flat = b.node("Reshape", [b.input("x", IMAGE), b.constant(np.array([0, -1]))])
    model = b.build({b.node("Sin", [flat]): ["N", 256]})
    found = place(model, units())
    assert (found.activations, found.carriers) == ((), ())


def test_shape_arithmetic_and_lookups_by_integers_stay_as_they_are():
    b = Builder()
    x = b.conv(b.input("x", IMAGE), 4, 4)
    shape = b.node("Slice", [b.node("Shape", [x]), b.constant(np.array([0])),
                             b.constant(np.array([1]))])  # fmt: skip
    full = b.node("Concat", [shape, b.constant(np.array([-1]))], axis=0)
    model = b.build({b.node("Reshape", [x, full]): ["N", 256]})
    after = quantized(model, style=dict(units())).model
    assert node_of(after, "Slice").inputs[0].producer().op_type == "Shape"
    assert written(node_of(after, "Reshape")) == written(node_of(after, "Conv"))


def test_nhwc_models_have_their_transposes_in_integers():
    b = Builder()
    x = b.node("Transpose", [b.input("x", ["N", 8, 8, 4])], perm=[0, 3, 1, 2])
    y = b.node("Transpose", [b.conv(x, 4, 4)], perm=[0, 2, 3, 1])
    model = b.build({y: ["N", 8, 8, 4]})
    after = quantized(model, style=dict(units())).model
    for node in after.graph.graph:
        if node.op_type == "Transpose":
            assert parameters(node.inputs[0]) == written(node)


def test_recurrent_nets_stay_in_float_with_the_reason():
    found = place(lstm(), units())
    assert {n.op_type: n.message for n in found.notes}["LSTM"].startswith("recurrent")


def test_attention_is_all_integers_without_any_option():
    model = attention()
    found = place(model, units())
    floats = {n.name for n in model.graph.graph} - {*found.integer_nodes, *found.carriers}
    kinds = {node.op_type for node in model.graph.graph if node.name in floats}
    assert not kinds & set(units().operators)
    after = quantized(model, style=dict(units())).model
    assert operators(after).count("MatMul") == operators(model).count("MatMul")


def test_a_rule_can_ask_for_symmetric_activations():
    rule = OperatorRule(operators=("MatMul",), symmetric=True)
    found = place(attention(), units(rules=(rule,)))
    zeros = {site.form.zero for site in found.activations}
    assert zeros == {Zero.ANY, Zero.MIDDLE}


def test_tensors_without_a_range_leave_both_their_sides_in_float():
    model, _ = small()
    given = context(model, **dict(units()))
    tensors = {k: v for k, v in given.ranges.tensors.items() if k != "conv_3_out"}
    lost = replace(given, ranges=replace(given.ranges, tensors=tensors))
    outcome = QuantizeStatic().run(model, lost)
    kept = {note.node for note in outcome.notes if note.kept_float}
    assert kept == {"conv_3", "add_4"}
    assert written(node_of(outcome.model, "Relu"))


# --- the arithmetic ------------------------------------------------------------------------------


def test_the_graph_is_bit_equal_to_integer_arithmetic():
    """Integers in and out of every unit, sums and biases in 32 bits, one rounding per output."""
    model, after = small({"power_of_two_scales": True})
    inputs = {"x": feeds(model, batch=2)["x"] * 1.5}
    (found,) = exact(after, inputs)
    scale, zero = _integers(after, after.graph.graph.outputs[0], inputs)
    assert np.array_equal(found, scale * zero)


def _integers(model, value, inputs, known=None):
    """Scale of `value`, which a pair makes, and its integers less the zero point: by numpy only."""
    known = {} if known is None else known
    if value in known:
        return known[value]
    pair = value.producer()
    scale, zero = (constant_array(v) for v in pair.inputs[1:3])
    stored = constant_array(pair.inputs[0])
    if stored is not None:
        assert not zero.any()
        known[value] = (scale.astype(np.float64), stored.astype(np.int64))
        return known[value]
    made = pair.inputs[0].producer().inputs[0]
    real = inputs[made.name].astype(np.float64) if made.is_graph_input() else _unit(
        model, made.producer(), inputs, known
    )  # fmt: skip
    steps = np.clip(np.rint(real / float(scale)) + int(zero), 0, 255).astype(np.int64)
    known[value] = (float(scale), steps - int(zero))
    return known[value]


def _unit(model, node, inputs, known):
    """The exact real result of one unit, from integers."""
    read = [_integers(model, value, inputs, known) for value in node.inputs]
    if node.op_type == "Conv":
        (sx, x), (sw, w), (sb, bias) = read
        assert np.array_equal(sb, sx * sw)
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        sums = np.einsum("nchwij,mcij->nmhw", windows, w) + bias.reshape(1, -1, 1, 1)
        return sums * (sx * sw).reshape(1, -1, 1, 1)
    if node.op_type == "Relu":
        return np.maximum(read[0][1], 0) * read[0][0]
    if node.op_type == "MaxPool":
        low = np.iinfo(np.int64).min
        padded = np.pad(read[0][1], ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=low)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        return windows.max(axis=(4, 5)) * read[0][0]
    assert node.op_type == "Add"
    return read[0][1] * read[0][0] + read[1][1] * read[1][0]
