"""What OpenVINO computes wrongly is kept out of what we emit: the kernels agree with the maths."""

import numpy as np
import pytest

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")

import openvino as ov
from openvino import opset13 as ops

from edgecompile.vendor.openvino.exact import exact_model
from edgecompile.vendor.openvino.workarounds import offset_shared_convolutions


def fake_quantize(value, low, high):
    limits = [np.float32(limit) for limit in (low, high, low, high)]
    return ops.fake_quantize(value, *limits, 256)


def weights(rng, channels, inputs):
    integers = rng.integers(-127, 128, (channels, inputs, 1, 1)).astype(np.int8)
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
