"""Half precision around and inside Q/DQ pairs: no Cast between a pair and its product."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.emitters.tensorrt_dla import without_pairs
from edgecompile.emitters.tensorrt_rtx import TensorRtRtxEngine
from edgecompile.ir.facts import constant_array, op_census
from edgecompile.ir.qdq import integer_products
from edgecompile.passes.quantize.cast_fp16 import CastFp16
from edgecompile.passes.quantize.half_scales import LEAST
from edgecompile.recipes import load_recipe
from edgecompile.targets.catalogue import load_target
from edgecompile.vendor.tensorrt.plan import read_plan
from tests.support import models
from tests.support.models import Builder, context, run
from tests.support.tensorrt import needs_rtx, qdq_net

RTX = load_target("rtx-pc")


def behind_a_convolution():
    """A convolution in float, then one in integers."""
    b = Builder(seed=6, opset=19)
    y = b.node("Relu", [b.conv(b.input("x", [1, 16, 16, 16]), 16, 32)])
    scale, zero = b.constant(np.float32(0.05)), b.constant(np.int8(0))
    pair = b.node("DequantizeLinear", [b.node("QuantizeLinear", [y, scale, zero]), scale, zero])
    integers = b.constant(b.rng.integers(-127, 128, (32, 32, 3, 3)).astype(np.int8))
    scales = b.constant(np.full(32, 0.01, np.float32))
    weight = b.node("DequantizeLinear", [integers, scales], axis=0)
    return b.build({b.node("Conv", [pair, weight], pads=[1] * 4): [1, 32, 16, 16]}, ir_version=10)


def halved(model):
    return CastFp16(pairs=True).run(model, context())


def test_pairs_go_along_with_what_they_feed():
    model = qdq_net(tail=True)
    result = halved(model).model
    assert op_census(result)["Cast"] == 2  # the model's own input and output
    assert integer_products(result) == integer_products(model)
    assert TensorRtRtxEngine().supports(result, RTX) == []
    inputs = models.feeds(model, 1)
    (want,), (got,) = run(model, inputs), run(result, inputs)
    np.testing.assert_allclose(got, want, atol=0.01 * abs(want).max())


def test_without_the_option_pairs_stay_in_single_precision():
    result = CastFp16().run(qdq_net(tail=True), context()).model
    for node in result.graph.graph:
        if node.op_type == "DequantizeLinear":
            assert constant_array(node.inputs[1]).dtype == np.float32


def test_an_opset_without_such_pairs_is_left_alone():
    outcome = halved(qdq_net(opset=17))
    assert not outcome.changed
    assert "opset 17" in outcome.notes[0].message


def test_channels_that_hold_next_to_nothing_do_not_keep_a_pair_in_single_precision():
    b = Builder(seed=4, opset=19)
    x = b.input("x", [1, 4])
    scale = b.constant(np.float32(0.05))
    pair = b.node("DequantizeLinear", [b.node("QuantizeLinear", [x, scale]), scale])
    pair_type = b.constant(np.int8(0))
    b.nodes[-2].input.append(pair_type)
    b.nodes[-1].input.append(pair_type)
    integers = b.rng.integers(-127, 128, (3, 4)).astype(np.int8)
    scales = b.constant(np.float32([0.01, LEAST / 4, 1e-11]))
    weight = b.node("DequantizeLinear", [b.constant(integers), scales], axis=0)
    model = b.build({b.node("Gemm", [pair, weight], transB=1): [1, 3]}, ir_version=10)
    outcome = halved(model)
    gemm = models.node_of(outcome.model, "Gemm").inputs[1].producer()
    kept = constant_array(gemm.inputs[1]).astype(np.float32)
    counted = constant_array(gemm.inputs[0])
    np.testing.assert_allclose(kept, [0.01, LEAST, LEAST], rtol=1e-3)
    np.testing.assert_array_equal(counted[0], integers[0])
    np.testing.assert_array_equal(counted[1], np.rint(integers[1] / 4))
    assert not counted[2].any()
    assert op_census(outcome.model)["Cast"] == 2
    inputs = models.feeds(model, 1)
    np.testing.assert_allclose(run(outcome.model, inputs)[0], run(model, inputs)[0], atol=1e-3)


def test_the_float_twin_of_a_halved_model_is_sound():
    model = qdq_net(tail=True)
    (want,), (got,) = (
        run(without_pairs(one)[0], models.feeds(model, 1)) for one in (model, halved(model).model)
    )
    np.testing.assert_allclose(got, want, atol=0.01 * abs(want).max())


@needs_rtx
@pytest.mark.parametrize("halve", [False, True])
def test_what_stays_float_is_planned_in_half_precision(tmp_path, halve):
    model = behind_a_convolution()
    model = halved(model).model if halve else model
    emitter = TensorRtRtxEngine(rebuild=False, capabilities=("8.6",))
    plan = read_plan(tmp_path / emitter.emit(model, RTX, tmp_path, None).path)
    kinds = sorted({layer.inputs for layer in plan.layers})
    assert kinds == [("half", "half") if halve else ("float", "float"), ("int8", "int8")]


def test_the_recipe_is_for_targets_of_all_releases():
    for name in ("rtx-pc", "jetson-orin", "jetson-xavier-nx"):
        assert load_recipe("tensorrt-int8-fp16", load_target(name)).steps
