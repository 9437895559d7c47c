"""`quantize_fp8`: pairs of 8-bit floats with scales of amax / 448, per channel in weights."""

from __future__ import annotations

import dataclasses

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.emitters.tensorrt_rules import quantization_problems
from edgecompile.ir.facts import constant_array, op_census
from edgecompile.ir.qdq import integer_products, products_in
from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.quantize_fp8 import LARGEST, QuantizeFp8
from edgecompile.recipes import load_recipe
from edgecompile.targets.catalogue import load_target
from tests.support import models
from tests.support.data import npz_for
from tests.support.models import Builder, context, run

RTX = load_target("rtx-pc")
FP8 = ir.DataType.FLOAT8E4M3FN


@pytest.fixture
def where(tmp_path):
    """What a pass after `calibrate` is given."""

    def given(model):
        data = npz_for(model, tmp_path / "data.npz", samples=8)
        before = dataclasses.replace(context(), data=data, reference=model, target=RTX)
        ranges = Calibrate(method="minmax").run(model, before).ranges
        return dataclasses.replace(before, ranges=ranges)

    return given


def net(opset: int = 19):
    b = Builder(seed=2, opset=opset)
    y = b.node("Relu", [b.conv(b.input("x", [1, 8, 6, 6]), 8, 16)])
    y = b.node("Flatten", [b.node("GlobalAveragePool", [y])])
    return b.build({b.node("Gemm", [y, b.random(4, 16)], transB=1): [1, 4]}, ir_version=10)


def test_every_product_multiplies_8_bit_floats_in_tensorrts_form(where):
    model = net()
    outcome = QuantizeFp8().run(model, where(model))
    assert outcome.changed
    assert len(products_in(outcome.model, FP8)) == 2
    assert integer_products(outcome.model) == ()
    ada = RTX.tensorrt.model_copy(update={"compute_capabilities": ("8.9", "12.0")})
    assert quantization_problems(outcome.model, RTX.model_copy(update={"tensorrt": ada})) == []
    assert {d.code for d in quantization_problems(outcome.model, RTX)} == {"EC-697"}
    assert {d.code for d in quantization_problems(outcome.model, load_target("egx-a100"))} == {
        "EC-697"
    }


def test_scales_are_those_of_the_largest_number(where):
    model = net()
    given = where(model)
    result = QuantizeFp8().run(model, given).model
    conv = models.node_of(result, "Conv")
    stored = conv.inputs[1].producer()
    scale = constant_array(stored.inputs[1])
    weights = constant_array(models.node_of(model, "Conv").inputs[1])
    assert scale.shape == (16,)
    np.testing.assert_allclose(scale, abs(weights).max(axis=(1, 2, 3)) / LARGEST, rtol=1e-5)
    floats = constant_array(stored.inputs[0])
    assert floats.dtype == ml_dtypes.float8_e4m3fn
    assert abs(floats.astype(np.float32)).max() == LARGEST
    reach = given.ranges.tensors["x"]
    pair = constant_array(conv.inputs[0].producer().inputs[1])
    assert pair.shape == ()
    amax = max(-reach.min, reach.max)
    assert amax / LARGEST <= float(pair) * 1.0001 <= 1.01 * amax / LARGEST


def test_it_is_as_near_as_three_bits_of_mantissa(where):
    """And ONNX Runtime's fusions of Relu, which know no 8-bit floats, do not stop it."""
    model = net()
    given = where(model)
    result = QuantizeFp8().run(model, given).model
    inputs = given.data[0].feeds
    (want,), (got,) = run(model, inputs), run(result, inputs)
    noise = float(np.square(got - want).sum() / np.square(want).sum())
    assert 1e-6 < noise < 10 ** (-20 / 10)


def test_what_it_needs(where):
    model = net(opset=17)
    (problem,) = QuantizeFp8().requires(model, where(model))
    assert "19" in problem.message
    assert any("fp8" in reason for reason in QuantizeFp8().unfit(load_target("jetson-orin")))
    assert load_recipe("tensorrt-fp8", RTX).name == "tensorrt-fp8"


def test_a_layer_that_is_named_stays_float(where):
    model = net()
    outcome = QuantizeFp8(operators=("Gemm",)).run(model, where(model))
    assert len(products_in(outcome.model, FP8)) == 1
    assert op_census(outcome.model)["QuantizeLinear"] == 1
