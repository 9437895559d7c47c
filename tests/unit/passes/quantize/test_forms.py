"""What single operators take: widths, weights along one axis, residual sums, 4 and 16 bits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.ir.facts import constant_array
from edgecompile.passes.quantize.forms import Form, Zero
from edgecompile.passes.quantize.placement import place
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.targets.schema import Activations, OperatorRule, Weights
from tests.support.models import Builder, feeds, node_of, residual
from tests.support.quantized import NUC, exact, quantized, target
from tests.support.styles import symmetric_inputs, units

IMAGE = ["N", 4, 8, 8]


# --- a residual sum in the kernel of a convolution ---


def block(*, shortcut: bool = False, look: bool = False):
    """Relu, two Convs, Add, Relu, Conv; the other branch is the input or a Conv of it."""
    b = Builder()
    x = b.node("Relu", [b.input("x", IMAGE)])
    skip = b.conv(x, 4, 4, k=1) if shortcut else x
    main = b.conv(b.node("Relu", [b.conv(x, 4, 4)]), 4, 4)
    total = b.node("Relu", [b.node("Add", [main, skip])])
    outputs = {b.conv(total, 4, 4): IMAGE}
    if look:
        outputs[b.node("Sin", [main])] = IMAGE
    return b.build(outputs)


def test_only_the_other_branch_of_a_residual_sum_gets_a_pair():
    after = quantized(block(), style=dict(symmetric_inputs())).model
    total = node_of(after, "Add")
    assert [v.producer().op_type for v in total.inputs] == ["Conv", "DequantizeLinear"]
    first = node_of(after, "Conv")
    assert first.inputs[0] is total.inputs[1], "one tensor, one pair"


def test_of_two_convolutions_the_later_one_takes_the_sum_in():
    after = quantized(block(shortcut=True), style=dict(symmetric_inputs())).model
    main, skip = node_of(after, "Add").inputs
    assert main.producer().op_type == "Conv"
    assert skip.producer().inputs[0].producer().inputs[0].producer().op_type == "Conv"


def test_a_sum_whose_branches_others_read_is_left_alone():
    after = quantized(block(look=True), style=dict(symmetric_inputs())).model
    assert all(v.producer().op_type != "DequantizeLinear" for v in node_of(after, "Add").inputs)
    plain = symmetric_inputs(fused_residual=False)
    after = quantized(block(), style=dict(plain)).model
    assert all(v.producer().op_type != "DequantizeLinear" for v in node_of(after, "Add").inputs)


def test_everything_is_signed_with_zero_point_0_and_scalar_scales():
    after = quantized(block(), style=dict(symmetric_inputs())).model
    for node in after.graph.graph:
        if node.op_type == "QuantizeLinear":
            scale, zero = (constant_array(v) for v in node.inputs[1:3])
            assert (scale.shape, zero.shape) == ((), ())
            assert (zero.dtype, int(zero)) == (np.int8, 0)
        if node.op_type == "Conv":
            assert node.inputs[2].producer() is None


# --- weights ---


def matrices():
    """MatMul `[8, 6]`, Gemm `[6, 6]` and Gemm transB `[4, 6]`."""
    b = Builder()
    x = b.node("MatMul", [b.input("x", ["N", 8]), b.random(8, 6)])
    x = b.node("Gemm", [x, b.random(6, 6), b.random(6)])
    return b.build({b.gemm(x, 6, 4): ["N", 4]})


def test_scales_lie_along_the_one_axis_that_the_runtime_takes():
    rule = OperatorRule(operators=("MatMul", "Gemm"), weight_axis=0)
    model = matrices()
    after = quantized(model, style=dict(symmetric_inputs(rules=(rule,)))).model
    kinds = []
    for node in after.graph.graph:
        if node.op_type in ("MatMul", "Gemm"):
            above = node.inputs[1].producer()
            kinds.append(above.op_type)
            stored = above.inputs[0].producer() if above.op_type == "Transpose" else above
            assert stored.attributes.get_int("axis", -1) == 0
            assert stored.inputs[1].shape == (node.outputs[0].shape[1],)
    assert kinds == ["Transpose", "Transpose", "DequantizeLinear"]
    plain = quantized(model, style=dict(symmetric_inputs())).model
    for found, wanted in zip(exact(after, feeds(model)), exact(plain, feeds(model)), strict=True):
        assert np.array_equal(found, wanted)


def test_what_cannot_be_turned_has_one_scale():
    b = Builder()
    up = b.node("ConvTranspose", [b.input("x", IMAGE), b.random(4, 6, 2, 2)], strides=[2, 2])
    model = b.build({up: None})
    rule = OperatorRule(operators=("ConvTranspose",), weight_axis=0)
    after = quantized(model, style=dict(symmetric_inputs(rules=(rule,)))).model
    assert node_of(after, "ConvTranspose").inputs[1].producer().inputs[1].shape == ()
    after = quantized(model, style=dict(symmetric_inputs())).model
    stored = node_of(after, "ConvTranspose").inputs[1].producer()
    assert (stored.attributes.get_int("axis", -1), stored.inputs[1].shape) == (1, (6,))
    rule = OperatorRule(operators=("ConvTranspose",), per_channel=False)
    after = quantized(model, style=dict(symmetric_inputs(rules=(rule,)))).model
    assert node_of(after, "ConvTranspose").inputs[1].producer().inputs[1].shape == ()


@pytest.mark.parametrize("opset", [17, 21])
def test_16_bit_activations_with_4_bit_weights_per_channel(opset):
    b = Builder(opset=opset)
    model = b.build({b.conv(b.input("x", IMAGE), 4, 6): None})
    a16 = Activations(type="uint16")
    style = units(activations=a16, weights=Weights(type="int4"), contrib_types=True)
    after = quantized(model, style=dict(style)).model
    conv = node_of(after, "Conv")
    stored = conv.inputs[1].producer()
    integers = stored.inputs[0].const_value.numpy().astype(np.int8)
    assert stored.inputs[0].dtype == ir.DataType.INT4
    assert (integers.min(), integers.max()) == (-7, 7)
    assert stored.inputs[1].shape == (6,)
    bias = conv.inputs[2].producer()
    assert bias.inputs[0].dtype == ir.DataType.INT32
    assert bias.domain == ""
    (wanted,), (found,) = exact(model, feeds(model)), exact(after, feeds(model))
    assert np.linalg.norm(found - wanted) < 0.15 * np.linalg.norm(wanted)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16"])
def test_weights_of_each_type_lose_at_most_half_a_step(kind):
    model = Builder(opset=21)
    x = model.node("MatMul", [model.input("x", ["N", 8]), model.random(8, 6)])
    model = model.build({x: ["N", 6]})
    weight = constant_array(node_of(model, "MatMul").inputs[1])
    style = {"weights": Weights(type=kind)}
    after = quantized(model, style=style, weight_clip="none", overflow="ignore").model
    stored = node_of(after, "MatMul").inputs[1].producer()
    integers, scale, zero = (constant_array(v) for v in stored.inputs)
    assert str(integers.dtype) == kind
    real = (integers.astype(np.float64) - zero.astype(np.float64)) * scale
    assert (np.abs(real - weight) <= scale * 0.5001).all()


def test_one_weight_of_two_operators_with_different_needs_is_stored_for_each():
    b = Builder(opset=21)
    x, weight = b.input("x", ["N", 8]), b.random(8, 8)
    left = b.node("MatMul", [x, weight])
    right = b.node("Gemm", [b.node("Sin", [x]), weight])
    model = b.build({left: ["N", 8], right: ["N", 8]})
    rule = OperatorRule(operators=("Gemm",), weights="int16")
    after = quantized(model, style=dict(symmetric_inputs(rules=(rule,)))).model
    matmul, gemm = node_of(after, "MatMul"), node_of(after, "Gemm")
    assert matmul.inputs[1].producer().inputs[0].dtype == ir.DataType.INT8
    assert gemm.inputs[1].producer().inputs[0].dtype == ir.DataType.INT16
    assert weight not in after.graph.graph.initializers


def test_one_weight_that_stays_float_for_another_reader_is_kept_for_it():
    b = Builder()
    x, weight = b.input("x", ["N", 8]), b.random(8, 8)
    model = b.build({
        b.node("MatMul", [x, weight]): ["N", 8], b.node("Sub", [weight, weight]): [8, 8],
    })  # fmt: skip
    after = quantized(model).model
    assert node_of(after, "Sub").inputs[1].name == weight


def test_a_power_of_two_is_the_one_of_least_error():
    """An outlier of 1.01 beside numbers up to 0.5: half of the next power is worth its clipping."""
    rng = np.random.default_rng(0)
    weight = rng.uniform(-0.5, 0.5, (64, 1)).astype(np.float32)
    weight[0] = 127 * 2.0**-7 * 1.01
    b = Builder()
    model = b.build({b.node("MatMul", [b.input("x", ["N", 64]), b.constant(weight)]): ["N", 1]})
    scales = {}
    for clip in ("none", "mse"):
        style = {"power_of_two_scales": True}
        after = quantized(model, style=style, weight_clip=clip, overflow="ignore").model
        scales[clip] = float(
            constant_array(node_of(after, "MatMul").inputs[1].producer().inputs[1]).item()
        )
    assert scales == {"none": 2.0**-6, "mse": 2.0**-7}
    even = rng.uniform(-0.9, 0.9, (64, 1)).astype(np.float32)
    b = Builder()
    model = b.build({b.node("MatMul", [b.input("x", ["N", 64]), b.constant(even)]): ["N", 1]})
    after = quantized(model, style={"power_of_two_scales": True}, overflow="ignore").model
    scale = constant_array(node_of(after, "MatMul").inputs[1].producer().inputs[1])
    assert scale == 2.0**-7, "nothing is cut off where it would cost more"


# --- widths where only inputs carry pairs ---


def test_a_reader_of_another_width_has_a_pair_of_its_own_on_the_float_tensor():
    b = Builder()
    x = b.node("Sin", [b.input("x", ["N", 8])])
    model = b.build({b.gemm(x, 8, 4): ["N", 4], b.gemm(x, 8, 4): ["N", 4]})
    style = {"activations": Activations(type="uint8", wide="uint16"), "contrib_types": True}
    after = quantized(model, style=style, precision={"gemm_1": "int16"}).model
    pairs = [n.inputs[0].producer() for n in after.graph.graph if n.op_type == "Gemm"]
    assert [str(pair.inputs[2].dtype) for pair in pairs] == ["UINT16", "UINT8"]
    for pair in pairs:
        assert pair.inputs[0].producer().inputs[0].producer().op_type == "Sin"


def test_widths_that_the_target_lacks_are_refused_before_any_work():
    step = QuantizeStatic(precision={"gemm_0": "int16"})
    (reason,) = step.unfit(NUC)
    assert "16 bits" in reason
    assert step.unfit(target(activations=Activations(type="uint8", wide="uint16"))) == []


def test_kept_float_by_precision_says_so():
    model = residual()
    (name, *_) = [node.name for node in model.graph.graph if node.op_type == "Conv"]
    outcome = quantized(model, precision={name: "float"})
    assert name in {note.node for note in outcome.notes if note.kept_float}


# --- forms ---


def test_parameters_of_each_form():
    low, high = -1.0, 3.0
    assert int(Form("uint8", Zero.ANY).parameters(low, high).zero_point) == 64
    assert int(Form("uint8", Zero.MIDDLE).parameters(low, high).zero_point) == 128
    assert Form("uint8", Zero.ZERO).parameters(low, high).type.name == "int8"
    assert Form("uint8", Zero.ZERO).parameters(0, high).type.name == "uint8"
    assert int(Form("uint8", Zero.ZERO).parameters(0, high).zero_point) == 0
    assert Form("uint16", Zero.SIGNED).parameters(0, high).type.name == "int16"


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("zero", list(Zero))
def test_a_step_is_that_of_the_parameters(kind, zero):
    form = Form(kind, zero)
    if zero in (Zero.ZERO, Zero.SIGNED):
        return
    parameters = form.parameters(-1.0, 3.0)
    assert form.step((-1.0, 3.0)) == pytest.approx(float(parameters.scale), rel=0.02)


def test_rules_must_speak_of_operators_that_some_list_names():
    with pytest.raises(ValueError, match="no list of operators"):
        symmetric_inputs(rules=(OperatorRule(operators=("Sin",), per_channel=False),))
    with pytest.raises(ValueError, match="without 'outputs'"):
        symmetric_inputs(rules=(OperatorRule(operators=("Conv",), output_range=(0, 1)),))


def test_the_last_rule_that_sets_a_field_decides():
    first = OperatorRule(operators=("Conv", "MatMul"), activations="uint16", per_channel=False)
    later = OperatorRule(operators=("Conv",), activations="uint8")
    found = place(block(), units(rules=(first, later)))
    assert {s.form.type for s in found.activations} == {"uint8"}
    assert not any(site.form.per_channel for site in found.weights)
