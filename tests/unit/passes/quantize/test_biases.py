"""Biases in integers, with the scale of the products that they are added to."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.ir.facts import constant_array
from edgecompile.passes.quantize.biases import LARGEST_BIAS, integer_bias, least_weight_scale
from edgecompile.targets.schema import Weights
from tests.support.models import Builder, feeds, node_of
from tests.support.quantized import exact, quantized
from tests.support.styles import units

IMAGE = ["N", 4, 8, 8]
INT32 = {"bias": "int32"}


def stored(value):
    """Integers, scale and zero point of the DequantizeLinear that makes `value`."""
    node = value.producer()
    assert node.op_type == "DequantizeLinear"
    return tuple(constant_array(v) for v in node.inputs)


def scales(node):
    """Scales of the activation, the weight and the bias of `node`."""
    return tuple(constant_array(value.producer().inputs[1]) for value in node.inputs)


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_scale_is_that_of_the_products(per_channel):
    b = Builder()
    model = b.build({b.conv(b.input("x", IMAGE), 4, 6): None})
    bias = constant_array(node_of(model, "Conv").inputs[2])
    style = {**INT32, "weights": Weights(per_channel=per_channel)}
    conv = node_of(quantized(model, style=style).model, "Conv")
    x, w, product = scales(conv)
    integers, scale, zero = stored(conv.inputs[2])
    assert integers.dtype == zero.dtype == np.int32
    assert not zero.any()
    assert scale.shape == ((6,) if per_channel else ())
    assert np.array_equal(product, x * w)
    assert np.abs(integers * scale.astype(np.float64) - bias).max() <= scale.max() / 2
    axis = conv.inputs[2].producer().attributes.get_int("axis", -1)
    assert axis == (0 if per_channel else -1)


def test_a_pair_that_has_moved_up_still_tells_the_scale():
    """Behind a MaxPool and a Flatten it stands before both, and the Gemm reads its numbers."""
    b = Builder()
    x = b.node("Relu", [b.conv(b.input("x", ["N", 4, 4, 4]), 4, 4)])
    x = b.node("MaxPool", [x], kernel_shape=[4, 4])
    model = b.build({b.gemm(b.node("Flatten", [x]), 4, 5): None})
    gemm = node_of(quantized(model, style=INT32).model, "Gemm")
    flatten = gemm.inputs[0].producer()
    assert flatten.op_type == "Flatten"
    above = flatten.inputs[0].producer().inputs[0].producer()
    assert above.op_type == "DequantizeLinear"
    x_scale = constant_array(above.inputs[1])
    w_scale = constant_array(gemm.inputs[1].producer().inputs[1])
    integers, scale, _ = stored(gemm.inputs[2])
    assert integers.dtype == np.int32
    assert np.array_equal(scale, x_scale * w_scale)


def test_without_a_bias_nothing_is_added():
    b = Builder()
    model = b.build({b.conv(b.input("x", IMAGE), 4, 6, bias=False): None})
    assert len(node_of(quantized(model, style=INT32).model, "Conv").inputs) == 2


def test_each_consumer_of_a_shared_bias_has_its_own():
    b = Builder()
    x, bias = b.input("x", IMAGE), b.random(4, scale=0.1)
    left = b.node("Conv", [x, b.random(4, 4, 1, 1), bias])
    right = b.node("Conv", [b.node("Sin", [x]), b.random(4, 4, 1, 1, scale=9.0), bias])
    model = b.build({left: IMAGE, right: IMAGE})
    after = quantized(model, style=INT32).model
    convs = [node for node in after.graph.graph if node.op_type == "Conv"]
    for conv in convs:
        x_scale, w_scale, product = scales(conv)
        assert np.array_equal(product, x_scale * w_scale)
    assert bias not in after.graph.graph.initializers


def test_a_bias_that_32_bits_do_not_hold_widens_the_scale_of_its_weights():
    b = Builder()
    weight = np.full((2, 4, 1, 1), 1e-7, np.float32)
    weight[1] = 1
    bias = b.constant(np.array([300.0, 1.0]))
    conv = b.node("Conv", [b.input("x", IMAGE), b.constant(weight), bias])
    model = b.build({conv: None})
    outcome = quantized(model, style=INT32)
    node = node_of(outcome.model, "Conv")
    integers, scale, _ = stored(node.inputs[2])
    assert np.abs(integers).max() <= LARGEST_BIAS + 1
    real = integers * scale.astype(np.float64)
    assert real[0] == pytest.approx(300, rel=1e-6)
    assert abs(real[1] - 1) <= scale[1] / 2
    assert any("raised" in note.message for note in outcome.notes)
    (wanted,), (found,) = exact(model, feeds(model)), exact(outcome.model, feeds(model))
    assert np.abs(found - wanted)[:, 0].max() <= 1e-4
    assert np.abs(found - wanted)[:, 1].max() <= 0.1


def test_a_channel_without_weights_keeps_its_bias():
    b = Builder()
    weight = np.ones((2, 4, 1, 1), np.float32)
    weight[0] = 0
    bias = b.constant(np.array([0.01, 0.02]))
    model = b.build({b.node("Conv", [b.input("x", IMAGE), b.constant(weight), bias]): None})
    after = quantized(model, style=INT32).model
    (found,) = exact(after, feeds(model))
    assert np.allclose(found[:, 0], 0.01, rtol=1e-6)


def test_gemm_that_scales_its_sum_keeps_its_bias_in_float():
    b = Builder()
    parts = [b.input("x", ["N", 8]), b.random(8, 4), b.random(4)]
    model = b.build({b.node("Gemm", parts, beta=0.5): ["N", 4]})
    assert node_of(quantized(model, style=INT32).model, "Gemm").inputs[2].producer() is None
    b = Builder()
    parts = [b.input("x", ["N", 8]), b.random(8, 4), b.random(1, 4)]
    model = b.build({b.node("Gemm", parts): ["N", 4]})
    bias = node_of(quantized(model, style=INT32).model, "Gemm").inputs[2]
    assert bias.producer().attributes.get_int("axis", -1) == 1
    exact(quantized(model, style=INT32).model, feeds(model))


def test_a_bias_along_another_axis_stays_float_and_says_so():
    b = Builder()
    parts = [b.input("x", [2, 8]), b.random(8, 4), b.random(2, 1)]
    outcome = quantized(b.build({b.node("Gemm", parts): [2, 4]}), style=INT32)
    assert node_of(outcome.model, "Gemm").inputs[2].producer() is None
    assert any("no axis" in note.message for note in outcome.notes)


def test_int8_biases_have_a_scale_of_their_own():
    b = Builder()
    model = b.build({b.conv(b.input("x", IMAGE), 4, 6): None})
    bias = constant_array(node_of(model, "Conv").inputs[2])
    style = {"bias": "int8", "power_of_two_scales": True}
    integers, scale, zero = stored(node_of(quantized(model, style=style).model, "Conv").inputs[2])
    assert (integers.dtype, int(zero), scale.shape) == (np.int8, 0, ())
    assert float(np.log2(scale)).is_integer()
    assert np.abs(integers * scale - bias).max() <= scale / 2


def test_all_scales_are_powers_of_two_where_the_style_says_so():
    b = Builder()
    x = b.node("Concat", [b.conv(b.input("x", IMAGE), 4, 4), b.input("y", IMAGE)], axis=1)
    model = b.build({b.node("Mul", [b.conv(x, 8, 4), b.random(4, 1, 1)]): IMAGE})
    for bias in ("int32", "int8"):
        after = quantized(model, style=dict(units(bias=bias, power_of_two_scales=True))).model
        count = 0
        for node in after.graph.graph:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                powers = np.log2(constant_array(node.inputs[1]).astype(np.float64))
                assert np.array_equal(powers, np.rint(powers)), node.name
                count += 1
        assert count > 10


def test_the_arithmetic_of_an_int32_bias_is_exact():
    rng = np.random.default_rng(0)
    bias = rng.normal(size=64)
    for size in (1, 64):
        weight_scale = (rng.uniform(1e-4, 1e-2, size)).astype(np.float32).reshape(-1)[: size or 1]
        scale = weight_scale if size > 1 else weight_scale[0]
        integers, parameters = integer_bias(bias, 0.02, scale)
        assert np.abs(integers * np.float64(parameters.scale) - bias).max() <= np.max(
            parameters.scale
        )
    floor = least_weight_scale(np.array([0.0, 1e9]), 1.0)
    assert floor[1] == pytest.approx(1e9 / LARGEST_BIAS)
    assert floor[0] < 1e-30
