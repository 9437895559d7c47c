"""Rounding behind `quantize_static`: 4-bit kernels, 16-bit activations, INT32 biases."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.passes.base import Context
from edgecompile.passes.quantize.adaround import Adaround
from edgecompile.passes.quantize.gptq import Gptq
from edgecompile.passes.quantize.seq_mse import SeqMse
from edgecompile.targets.schema import Activations, Weights
from tests.support.models import Builder
from tests.support.quantized import quantized, target
from tests.support.rounding import correlated, error, types

STYLE = {
    "weights": Weights(type="int4"),
    "bias": "int32",
    "activations": Activations(type="uint16"),
}


def convolutions():
    b = Builder(opset=21)
    y = b.input("x", ["N", 8, 7, 7])
    for _ in range(3):
        convolved = b.node("Conv", [y, b.random(8, 8, 3, 3), b.random(8)], pads=[1] * 4)
        y = b.node("Relu", [convolved])
    return b.build({y: None}, ir_version=10)


@pytest.mark.parametrize(
    ("step", "left"),
    [
        (SeqMse(), 0.6),
        (Gptq(), 0.3),
        (Adaround(iterations=100), 0.3),
        (Gptq(inputs="quantized"), 0.3),
    ],
    ids=["seq_mse", "gptq", "adaround", "gptq quantized"],
)
def test_4_bit_kernels_with_16_bit_activations(step, left):
    model = convolutions()
    data, fresh = correlated(model, 12), correlated(model, 12, seed=1)
    inputs = {"x": np.concatenate([feeds["x"] for feeds in data.feeds])}
    before = quantized(model, inputs, style=STYLE).model
    assert types(before) >= {ir.DataType.INT4, ir.DataType.INT32, ir.DataType.UINT16}
    where = Context(target=target(**STYLE), data=data, reference=model)
    after = step.run(before, where).model
    assert types(after) == types(before)
    assert error(after, model, fresh) < left * error(before, model, fresh)
