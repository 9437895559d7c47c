"""Models of opset 7 to 12: converted first, quantized as any other, their metadata kept."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from edgecompile.ir.facts import opset
from edgecompile.passes.graph.convert_opset import ConvertOpset
from edgecompile.passes.graph.simplify import Simplify
from tests.support.models import Builder, apply, context, feeds, from_proto, operators
from tests.support.quantized import exact, quantized, stored_weights
from tests.support.styles import symmetric_inputs, units

METADATA = {"character": "0123", "author": "somebody"}
STYLES = {
    "inputs": {},
    "symmetric": dict(symmetric_inputs()),
    "units": dict(units()),
    "16 bits": dict(units(activations={"type": "uint16", "wide": None}, contrib_types=True)),
}


def pytorch(version: int):
    """Conv, Relu, MaxPool, a Dropout with a ratio, Reshape, Gemm; `[N, 3, 8, 8]` to `[N, 5]`."""
    b = Builder(opset=version)
    x = b.node("Relu", [b.conv(b.input("x", ["N", 3, 8, 8]), 3, 4)])
    x = b.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Dropout", [x], **({"ratio": 0.5} if version < 12 else {}))
    flat = b.node("Reshape", [x, b.constant(np.array([-1, 64]))])
    return b.proto({b.gemm(flat, 64, 5): ["N", 5]}, metadata=METADATA, ir_version=3)


def tensorflow(version: int):
    """`[N, 8, 8, 3]` with Transposes around the convolution, and attributes that became inputs."""
    b = Builder(opset=version)
    x = b.node("Transpose", [b.input("x", ["N", 8, 8, 3])], perm=[0, 3, 1, 2])
    x = b.node("Clip", [b.conv(x, 3, 4)], **({"min": 0.0, "max": 6.0} if version < 11 else {}))
    x = b.node("Transpose", [x], perm=[0, 2, 3, 1])
    if version < 13:
        x = b.node("ReduceMean", [x], axes=[1, 2], keepdims=0)
    product = b.node("MatMul", [x, b.random(4, 5)])
    out = b.node("Softmax", [b.node("Add", [product, b.random(5)])], axis=1)
    return b.proto({out: ["N", 5]}, metadata=METADATA, ir_version=4)


def old_style(proto: onnx.ModelProto) -> onnx.ModelProto:
    """With every initializer among the graph's inputs, as IR version 3 demands."""
    for tensor in proto.graph.initializer:
        info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(info)
    return proto


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("version", [7, 9, 12])
@pytest.mark.parametrize("make", [pytorch, tensorflow])
def test_old_models_are_converted_and_quantized(make, version, style):
    proto = make(version)
    model = from_proto(old_style(proto) if proto.ir_version == 3 else proto)
    at = context(opset_max=20)
    ready = apply(ConvertOpset(), apply(Simplify(), model, at).model, at).model
    assert opset(ready) >= 13
    inputs = feeds(ready)
    outcome = quantized(ready, inputs, style=STYLES[style])
    assert outcome.model.graph.metadata_props == METADATA
    assert list(stored_weights(outcome.model))
    assert "DequantizeLinear" in operators(outcome.model)
    names = [v.name for v in model.graph.graph.outputs]
    assert [v.name for v in outcome.model.graph.graph.outputs] == names
    (wanted,), (found,) = exact(ready, inputs), exact(outcome.model, inputs)
    assert np.linalg.norm(found - wanted) < 0.05 * np.linalg.norm(wanted)
