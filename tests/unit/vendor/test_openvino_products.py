"""Integer products as convolutions: the same numbers under the same names, and no others."""

import numpy as np
import pytest

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")

import openvino as ov
from openvino import opset13 as ops

from edgecompile.vendor.openvino.products import products_as_convolutions

INPUTS, CHANNELS = 128, 160


def quantized(value, reach=4.0, high=None):
    """In 256 levels, of which zero is one: kernels of convolutions need a whole zero point."""
    limits = [np.float32(limit) for limit in (-reach, high or reach * 127 / 128) * 2]
    return ops.fake_quantize(value, *limits, 256)


def product(rows, rng, *, inputs=INPUTS, channels=CHANNELS, transposed=False, per_channel=True):
    """Rows times integers of 6 bits, which no kernel saturates on."""
    integers = rng.integers(-31, 32, (inputs, channels)).astype(np.int8)
    scales = rng.uniform(0.5, 1, (1, channels)).astype(np.float32) * 0.01
    if transposed:
        integers, scales = np.ascontiguousarray(integers.T), scales.T
    if not per_channel:
        scales = np.float32(0.01)
    weights = ops.multiply(ops.convert(ops.constant(integers), ov.Type.f32), ops.constant(scales))
    return ops.matmul(rows, weights, False, transposed)


def model_of(build, shape=(-1, -1, INPUTS)):
    x = ops.parameter(ov.PartialShape(list(shape)), ov.Type.f32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    result = build(x, np.random.default_rng(0))
    result.output(0).get_tensor().set_names({"y"})
    return ov.Model([result], [x])


def kinds(model):
    return [node.get_type_name() for node in model.get_ops()]


def check(model, shape, count=1):
    """Rewrite `model`, and hold it to what it computed before; returns the number of transposes."""
    core, hint = ov.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    before = core.compile_model(model.clone(), "CPU", hint)(x)[0]
    assert products_as_convolutions(model) == count
    assert kinds(model).count("Convolution") == count
    assert model.outputs[0].get_names() == {"y"}
    after = core.compile_model(model, "CPU", hint)(x)[0]
    assert after.shape == before.shape
    # a number between two steps of a quantizer may fall to either side
    assert np.mean(~np.isclose(after, before, rtol=1e-4, atol=1e-4)) < 1e-3
    return kinds(model).count("Transpose")


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_rows_of_a_batch(transposed, per_channel):
    def build(x, rng):
        return product(quantized(x), rng, transposed=transposed, per_channel=per_channel)

    assert check(model_of(build), (2, 5, INPUTS)) == 2


def test_rows_without_a_batch():
    assert (
        check(model_of(lambda x, rng: product(quantized(x), rng), (-1, INPUTS)), (3, INPUTS)) == 2
    )


def test_what_follows_element_by_element_stays_in_the_form():
    def build(x, rng):
        bias = rng.normal(size=(CHANNELS,)).astype(np.float32)
        factors = rng.uniform(0.5, 1, (1, 1, CHANNELS)).astype(np.float32)
        y = ops.gelu(ops.add(product(quantized(x), rng), bias), "erf")
        y = quantized(ops.multiply(y, factors), 8.0)
        return product(y, rng, inputs=CHANNELS, channels=INPUTS)

    assert check(model_of(build), (2, 5, INPUTS), count=2) == 2


def test_products_that_share_their_rows_share_the_transposition():
    def build(x, rng):
        rows = quantized(x)
        return ops.multiply(product(rows, rng), product(rows, rng))

    assert check(model_of(build), (2, 5, INPUTS), count=2) == 3


def test_a_residual_ends_the_form():
    def build(x, rng):
        return ops.add(product(quantized(x), rng, channels=INPUTS), x)

    assert check(model_of(build), (2, 5, INPUTS)) == 2


@pytest.mark.parametrize(
    "build",
    [
        product,
        lambda x, rng: product(quantized(x), rng, channels=8),
        lambda x, rng: ops.matmul(quantized(x), rng.normal(size=(INPUTS, 200)).astype("f"), 0, 0),
        lambda x, rng: ops.matmul(quantized(x), quantized(x), False, True),
        lambda x, rng: product(quantized(x, 4.0, 4.0), rng),
    ],
    ids=["float rows", "few weights", "float weights", "two computed operands", "no zero level"],
)
def test_other_products_are_left_alone(build):
    model = model_of(build)
    assert products_as_convolutions(model) == 0
    assert "Convolution" not in kinds(model)
