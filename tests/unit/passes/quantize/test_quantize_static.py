"""`quantize_static`: the arithmetic of its graphs, what it refuses, and what it leaves in float."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgecompile.ir import to_bytes
from edgecompile.ir.facts import constant_array
from edgecompile.passes.base import Context
from edgecompile.passes.execute import execute
from edgecompile.passes.quantize.affine import integer_type, quantize, tensor_parameters
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.targets.catalogue import load_target
from tests.support.models import Builder, conv_bn_relu, feeds, mlp, node_of, operators, residual
from tests.support.quantized import NUC, context, exact, quantized, stored_weights

IMAGE = ["N", 4, 8, 8]


def conv(k: int = 3):
    """One Conv with a bias on a fine grid, so that sums of it are exact."""
    b = Builder()
    bias = b.constant((np.arange(6) - 3) * np.float32(2**-8))
    x = b.node("Conv", [b.input("x", IMAGE), b.random(6, 4, k, k), bias], kernel_shape=[k, k])
    return b.build({x: None})


def matmul():
    b = Builder()
    x = b.input("x", ["N", 32])
    return b.build({b.node("MatMul", [x, b.random(32, 6)]): ["N", 6]})


def parameters_of(model):
    """Scale and zero point of the only activation pair."""
    node = node_of(model, "QuantizeLinear")
    scale, zero = (constant_array(v) for v in node.inputs[1:3])
    return np.float64(scale), int(zero)


def integers_of(model, x):
    scale, zero = parameters_of(model)
    return np.clip(np.rint(x / np.float32(scale)) + zero, 0, 255).astype(np.int64) - zero


def reference(model, x):
    """The numpy model: integers multiplied and added in 64 bits, scaled once, bias in float."""
    scale, _ = parameters_of(model)
    integers = integers_of(model, x)
    (weight,) = stored_weights(model)
    if weight.node.op_type == "MatMul":
        return (integers @ weight.integers) * (scale * weight.scale.astype(np.float64))
    k = weight.integers.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(integers, (k, k), axis=(2, 3))
    sums = np.einsum("nchwij,mcij->nmhw", windows, weight.integers)
    scales = (scale * weight.scale.astype(np.float64)).reshape(1, -1, 1, 1)
    return sums * scales + constant_array(weight.node.inputs[2]).reshape(1, -1, 1, 1)


@pytest.mark.parametrize("make", [conv, matmul])
def test_the_graph_is_bit_equal_to_integer_arithmetic_with_power_of_two_scales(make):
    """With such scales float sums are exact in any order, so nothing is left to tolerate."""
    model, inputs = make(), feeds(make(), batch=3)
    after = quantized(model, inputs, style={"power_of_two_scales": True}).model
    (found,) = exact(after, inputs)
    assert np.array_equal(found.astype(np.float64), reference(after, inputs["x"]))
    clipped = {"x": inputs["x"] * 10}
    (found,) = exact(after, clipped)
    assert np.array_equal(found.astype(np.float64), reference(after, clipped["x"]))


@pytest.mark.parametrize("make", [conv, matmul])
def test_the_graph_is_integer_arithmetic_up_to_the_rounding_of_float_sums(make):
    model, inputs = make(), feeds(make(), batch=3)
    after = quantized(model, inputs).model
    (found,) = exact(after, inputs)
    wanted = reference(after, inputs["x"])
    (weight,) = stored_weights(after)
    # a float32 sum of K terms is off by at most K units in the last place of their magnitudes
    terms = weight.integers.size // len(weight.scale)
    largest = np.abs(integers_of(after, inputs["x"])).max() * parameters_of(after)[0]
    bound = terms**2 * 2**-24 * largest * np.abs(weight.floats).max()
    assert np.abs(found - wanted).max() <= bound


def test_activations_lose_at_most_half_a_step():
    model, inputs = matmul(), feeds(matmul())
    after = quantized(model, inputs).model
    scale, zero = parameters_of(after)
    low, high = float(inputs["x"].min()), float(inputs["x"].max())
    wanted = tensor_parameters(low, high, integer_type("uint8"), symmetric=False)
    assert (scale, zero) == (wanted.scale, wanted.zero_point)
    assert np.array_equal(integers_of(after, inputs["x"]) + zero, quantize(inputs["x"], wanted))


def layer(kind: str):
    """One operator with 6 outputs of which each is 10 times the one before, from 4 inputs."""
    b = Builder()
    steps = 10.0 ** np.arange(6)
    if kind in ("Conv", "ConvTranspose"):
        x, shape = b.input("x", IMAGE), (6, 4, 3, 3) if kind == "Conv" else (4, 6, 3, 3)
        axis = shape.index(6)
        y = b.node(kind, [x, weights(b, shape, axis, steps)])
        return b.build({y: None}), axis
    x, flip = b.input("x", ["N", 4]), kind == "Gemm transB"
    weight = weights(b, (6, 4) if flip else (4, 6), 1 - flip, steps)
    y = b.node("Gemm", [x, weight], transB=int(flip)) if "Gemm" in kind else b.node(
        "MatMul", [x, weight]
    )  # fmt: skip
    return b.build({y: ["N", 6]}), int(not flip)


def weights(b: Builder, shape, axis, steps):
    along = [-1 if i == axis else 1 for i in range(len(shape))]
    return b.constant(b.rng.normal(size=shape) * steps.reshape(along))


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose", "Gemm", "Gemm transB", "MatMul"])
def test_every_output_channel_has_a_scale_of_its_own(kind):
    model, axis = layer(kind)
    original = constant_array(list(model.graph.graph)[-1].inputs[1])
    after = quantized(model, weight_clip="none", overflow="ignore").model
    (stored,) = stored_weights(after)
    assert (stored.axis, stored.scale.shape) == (axis, (6,))
    step = np.moveaxis(np.abs(stored.floats - original), axis, 0).reshape(6, -1).max(axis=1)
    assert (step <= stored.scale / 2 * (1 + 1e-5)).all()
    one = quantized(model, style={"weights": per_tensor()}).model
    (stored,) = stored_weights(one)
    assert stored.scale.shape == ()


def per_tensor():
    return NUC.quantization.weights.model_copy(update={"per_channel": False})


def test_no_float_copy_of_a_quantized_weight_stays():
    model = mlp()
    after = quantized(model).model
    weights_before = {v.name for v in model.graph.graph.initializers.values() if len(v.shape) == 2}
    assert weights_before
    assert weights_before.isdisjoint(after.graph.graph.initializers)
    onnx.checker.check_model(onnx.load_from_string(to_bytes(after)), full_check=True)


def test_equal_inputs_give_equal_bytes():
    assert to_bytes(quantized(residual()).model) == to_bytes(quantized(residual()).model)


def codes(step: QuantizeStatic, model, where: Context) -> list[str]:
    return [found.code for found in step.requires(model, where)]


def test_what_it_refuses_each_by_its_code():
    model = mlp()
    fine = context(model)
    assert codes(QuantizeStatic(), model, fine) == []
    bare = NUC.model_copy(update={"quantization": None})
    assert codes(QuantizeStatic(), model, replace(fine, target=bare)) == ["EC-440"]
    assert codes(QuantizeStatic(), model, replace(fine, ranges=None)) == ["EC-441"]
    assert codes(QuantizeStatic(keep_float=("gemm",)), model, fine) == ["EC-444"]
    b = Builder(opset=12)
    old = b.build({b.gemm(b.input("x", ["N", 4]), 4, 4): ["N", 4]})
    assert codes(QuantizeStatic(), old, fine) == ["EC-442"]
    (wide,) = QuantizeStatic(activations="uint16").requires(model, fine)
    assert (wide.code, "21" in wide.message) == ("EC-442", True)
    after = quantized(model).model
    assert codes(QuantizeStatic(), after, fine) == ["EC-443"]
    assert codes(QuantizeStatic(keep_float=("a", "b")), old, replace(fine, ranges=None)) == [
        "EC-441", "EC-442", "EC-444", "EC-444",
    ]  # fmt: skip


def test_16_bit_activations_at_an_opset_that_has_them():
    b = Builder(opset=21)
    model = b.build({b.gemm(b.input("x", ["N", 32]), 32, 4): ["N", 4]}, ir_version=10)
    after = quantized(model, activations="uint16", overflow="ignore").model
    assert constant_array(node_of(after, "QuantizeLinear").inputs[2]).dtype == np.uint16
    inputs = feeds(model)
    assert np.allclose(exact(after, inputs)[0], exact(model, inputs)[0], atol=0.05)


def test_a_model_without_an_integer_operator_warns_instead_of_pretending():
    b = Builder()
    model = b.build({b.node("Relu", [b.input("x", ["N", 4])]): ["N", 4]})
    done = execute(QuantizeStatic(), model, context(model), "quantize_static")
    assert not done.outcome.changed
    assert [(w.code, w.severity) for w in done.warnings] == [("EC-445", "warning")]
    other = execute(QuantizeStatic(), mlp(), context(mlp()), "quantize_static")
    assert other.warnings == ()


def test_an_operator_without_a_range_stays_float_and_says_why():
    model = conv_bn_relu()
    given = context(model)
    second = [n for n in model.graph.graph if n.op_type == "Conv"][1]
    tensor = second.inputs[0].name
    kept = {k: v for k, v in given.ranges.tensors.items() if k != tensor}
    ranges = replace(given.ranges, tensors=kept, skipped={tensor: "not finite"})
    outcome = QuantizeStatic().run(model, replace(given, ranges=ranges))
    told = [(note.node, note.message) for note in outcome.notes if note.kept_float]
    assert told == [(second.name, "no calibrated range: not finite")]
    assert {w.node.op_type for w in stored_weights(outcome.model)} == {"Conv", "Gemm"}
    none = replace(given.ranges, tensors={})
    outcome = QuantizeStatic().run(model, replace(given, ranges=none))
    assert not outcome.changed
    assert len([note for note in outcome.notes if note.kept_float]) == 3


def test_a_node_left_float_does_not_strand_a_pair_without_a_range():
    """The pair of the second Conv moved up through Transpose only while the first wanted it too."""
    b = Builder()
    x = b.node("Relu", [b.input("x", IMAGE)])
    turned = b.node("Transpose", [x], perm=[0, 1, 3, 2])
    other = b.node("Sigmoid", [b.input("y", IMAGE)])
    joined = b.node("Concat", [turned, other], axis=1)
    model = b.build({b.conv(joined, 8, 4): IMAGE, b.conv(turned, 4, 4): IMAGE})
    given = context(model)
    calibrated = {k: v for k, v in given.ranges.tensors.items() if k not in (other, turned)}
    ranges = replace(given.ranges, tensors=calibrated, skipped={})
    outcome = QuantizeStatic().run(model, replace(given, ranges=ranges))
    assert not outcome.changed
    assert sorted(note.node for note in outcome.notes) == ["conv_4", "conv_5"]


def test_targets_without_a_style_are_refused_before_any_model():
    assert QuantizeStatic().unfit(load_target("intel-nuc")) == []
    (reason,) = QuantizeStatic().unfit(NUC.model_copy(update={"quantization": None}))
    assert "quantization" in reason


def test_names_that_the_model_has_already_are_not_taken_twice():
    b = Builder()
    x = b.input("x", ["N", 4])
    b.constant(np.float32(3), "x_scale")
    b.constant(np.float32(4), "x_quantized")
    y = b.node("Mul", [b.gemm(x, 4, 4), "x_scale"])
    model = b.build({b.node("Add", [y, "x_quantized"]): ["N", 4]})
    after = quantized(model).model
    assert float(constant_array(node_of(after, "Mul").inputs[1])) == 3
    assert "x_scale_2" in after.graph.graph.initializers
    inputs = feeds(model)
    assert np.allclose(exact(after, inputs)[0], exact(model, inputs)[0], atol=0.3)
    assert operators(after).count("QuantizeLinear") == 1


def test_unsigned_weights_hold_the_same_resolution():
    model, inputs = matmul(), feeds(matmul())
    kwargs = {"overflow": "ignore", "weight_clip": "mse"}
    signed, unsigned = (
        exact(quantized(model, inputs, weights=kind, **kwargs).model, inputs)[0]
        for kind in ("int8", "uint8")
    )
    assert np.allclose(signed, unsigned, atol=1e-4)


def test_scales_are_powers_of_two_where_the_target_wants_them():
    model = mlp()
    given = context(model, power_of_two_scales=True)
    done = execute(QuantizeStatic(), model, given, "quantize_static")
    scale = float(constant_array(node_of(done.outcome.model, "QuantizeLinear").inputs[1]))
    assert np.log2(scale) == round(np.log2(scale))
