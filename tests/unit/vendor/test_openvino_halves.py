"""Float weights of quantized models in half precision: OpenVINO's own compression leaves them."""

import numpy as np
import pytest

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")

import openvino as ov
from openvino import opset13 as ops

from edgecompile.vendor.openvino.halves import store_halves


def _model(*, quantized, largest=1.0):
    """A table that a Gather reads, and a product behind a FakeQuantize."""
    rng = np.random.default_rng(0)
    rows = ops.parameter([4], ov.Type.i64, name="rows")
    table = rng.normal(size=(64, 32)).astype(np.float32) * largest
    x = ops.gather(ops.constant(table), rows, ops.constant(0))
    if quantized:
        x = ops.fake_quantize(x, *[np.float32(limit) for limit in (-4, 4, -4, 4)], 256)
    weights = ops.constant(rng.normal(size=(32, 8)).astype(np.float32))
    return ov.Model([ops.matmul(x, weights, transpose_a=False, transpose_b=False)], [rows])


def _run(model):
    return ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([np.arange(4)])[0]


def _stored(model):
    found = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
    return {str(node.get_output_element_type(0)) for node in found if node.data.size > 32}


def test_weights_are_halved_and_the_numbers_stay(tmp_path):
    want = _run(_model(quantized=True))
    model = _model(quantized=True)
    assert store_halves(model) == 2
    ov.save_model(model, tmp_path / "m.xml", compress_to_fp16=True)
    read = ov.Core().read_model(tmp_path / "m.xml")
    assert _stored(read) == {"<Type: 'float16'>"}
    np.testing.assert_allclose(_run(read), want, atol=0.08)


def test_what_half_precision_cannot_hold_stays():
    model = _model(quantized=True, largest=1e6)
    assert store_halves(model) == 1


def test_float_models_are_left_to_openvino():
    assert store_halves(_model(quantized=False)) == 0
