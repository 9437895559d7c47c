"""What OpenVINO computes wrongly is kept out of what we emit: the kernels agree with the maths."""

import numpy as np
import pytest

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")

import openvino as ov
from openvino import opset13 as ops

from edgecompile.vendor.openvino.exact import exact_model
from edgecompile.vendor.openvino.workarounds import (
    offset_shared_convolutions,
    part_extremes_from_quantizers,
)


def fake_quantize(value, low, high):
    limits = [np.float32(limit) for limit in (low, high, low, high)]
    return ops.fake_quantize(value, *limits, 256)


def weights(rng, channels, inputs):
    """Small enough that no pair of products saturates 16 bits, on whatever CPU the test runs."""
    integers = rng.integers(-64, 65, (channels, inputs, 1, 1)).astype(np.int8)
    scale = (rng.uniform(0.5, 1, (channels, 1, 1, 1)) * 0.006).astype(np.float32)
    return ops.multiply(ops.convert(ops.constant(integers), ov.Type.f32), ops.constant(scale))


def squeeze_and_excite(*, quantized=True, bias=None):
    """A convolution whose output is scaled by its own mean: two readers."""
    rng = np.random.default_rng(0)
    x = ops.parameter(ov.PartialShape([-1, 16, -1, -1]), ov.Type.f32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    kernel = weights(rng, 24, 16) if quantized else ops.constant(
        rng.normal(size=(24, 16, 1, 1)).astype(np.float32)
    )  # fmt: skip
    y = ops.convolution(fake_quantize(x, 0, 2), kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    if bias is not None:
        y = ops.add(y, ops.constant(np.full((1, 24, 1, 1), bias, np.float32)))
    mean = ops.reduce_mean(y, np.array([2, 3]), keep_dims=True)
    return ov.Model([ops.multiply(y, mean)], [x])


def agreement_db(model):
    core, hint = ov.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    x = np.abs(np.random.default_rng(1).normal(size=(1, 16, 10, 10))).astype(np.float32)
    run = core.compile_model(model, "CPU", hint)(x)[0].astype(np.float64)
    exact = core.compile_model(exact_model(model), "CPU", hint)(x)[0].astype(np.float64)
    return 10 * np.log10((exact**2).sum() / max(((run - exact) ** 2).sum(), 1e-30))


@pytest.mark.parametrize("bias", [None, 0.0])
@pytest.mark.parametrize("compress_to_fp16", [False, True])
def test_a_convolution_with_two_readers_is_computed_rightly(tmp_path, bias, compress_to_fp16):
    model = squeeze_and_excite(bias=bias)
    assert offset_shared_convolutions(model, compress_to_fp16=compress_to_fp16) == 1
    path = tmp_path / "model.xml"
    ov.save_model(model, path, compress_to_fp16=compress_to_fp16)
    assert agreement_db(ov.Core().read_model(path)) > 40


def test_what_needs_no_offset_is_left_alone():
    assert offset_shared_convolutions(squeeze_and_excite(bias=0.5), compress_to_fp16=False) == 0
    floats = squeeze_and_excite(quantized=False)
    assert offset_shared_convolutions(floats, compress_to_fp16=False) == 0


def extreme(kind, *, between=None, low=0.0):
    """A convolution, the extreme of each of its channels, and a matrix product in integers."""
    rng = np.random.default_rng(0)
    x = ops.parameter(ov.PartialShape([-1, 16, -1, -1]), ov.Type.f32, name="x")
    y = ops.convolution(
        fake_quantize(x, 0, 2), weights(rng, 32, 16), [1, 1], [0, 0], [0, 0], [1, 1]
    )
    y = getattr(ops, kind)(y, np.array([2, 3]), keep_dims=False)
    if between is not None:
        y = between(y)
    product = weights(rng, 8, 32)
    matrix = ops.reshape(product, np.array([8, 32]), special_zero=False)
    return ov.Model([ops.matmul(fake_quantize(y, low, 4.0), matrix, False, True)], [x])


@pytest.mark.parametrize("kind", ["reduce_max", "reduce_min"])
@pytest.mark.parametrize(
    "between", [None, lambda y: ops.multiply(y, ops.constant(np.float32(1.5)))]
)
@pytest.mark.parametrize("compress_to_fp16", [False, True])
def test_an_extreme_is_taken_before_it_is_quantized(tmp_path, kind, between, compress_to_fp16):
    model = extreme(kind, between=between, low=-4.0)
    assert part_extremes_from_quantizers(model, compress_to_fp16=compress_to_fp16) == 1
    path = tmp_path / "model.xml"
    ov.save_model(model, path, compress_to_fp16=compress_to_fp16)
    assert agreement_db(ov.Core().read_model(path)) > 40


def test_extremes_that_meet_no_quantizer_are_left_alone():
    x = ops.parameter(ov.PartialShape([-1, 16, -1, -1]), ov.Type.f32, name="x")
    model = ov.Model([ops.reduce_max(x, np.array([2, 3]))], [x])
    assert part_extremes_from_quantizers(model, compress_to_fp16=False) == 0
