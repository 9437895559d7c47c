"""Small models that are already in Q/DQ form, with known integers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecompile.ir import Model
from tests.support.models import Builder


def activation_pair(b: Builder, x: str, scale: float, zero_point: int) -> str:
    """QuantizeLinear and DequantizeLinear with uint8 around `x`."""
    s, z = b.constant(np.float32(scale)), b.constant(np.uint8(zero_point))
    return b.node("DequantizeLinear", [b.node("QuantizeLinear", [x, s, z]), s, z])


def int8_weight(b: Builder, integers: np.ndarray, scale: float, axis: int = 0) -> str:
    """A per-channel DequantizeLinear of int8 `integers`, one scale and zero point per channel."""
    count = integers.shape[axis]
    weights = b.constant(integers.astype(np.int8))
    scales = b.constant(np.full(count, scale, np.float32))
    zeros = b.constant(np.zeros(count, np.int8))
    return b.node("DequantizeLinear", [weights, scales, zeros], axis=axis)


def qdq_conv(peak: int = 60, channels: int = 64, outputs: int = 16, seed: int = 0) -> Model:
    """A 3x3 Conv, ReLU and a linear layer, all in 8 bits: `x [N, channels, 6, 6]` -> `[N, 10]`.

    Weights are integers in [-peak, peak]; 127 makes all of them large and positive, so that
    neighbouring products overflow 16 bits for inputs near 1.
    """
    b = Builder(seed)
    x = activation_pair(b, b.input("x", ["N", channels, 6, 6]), 1 / 255, 0)
    large = peak == 127
    weights = b.rng.integers(90 if large else -peak, peak + 1, (outputs, channels, 3, 3))
    bias = b.random(outputs, scale=0.1)
    scale = 1 / (peak * 9 * channels) if large else 1 / (peak * 3 * np.sqrt(channels))
    x = b.node("Conv", [x, int8_weight(b, weights, scale), bias], pads=[1, 1, 1, 1])
    top = 2.0 if large else 4.0
    x = activation_pair(b, b.node("Relu", [x]), top / 255, 0)
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x])])
    x = activation_pair(b, x, top / 255, 0)
    final = b.rng.integers(-60, 61, (10, outputs))
    x = b.node("Gemm", [x, int8_weight(b, final, 1 / 60), b.random(10, scale=0.1)], transB=1)
    return b.build({x: ["N", 10]})


def initializer(model: Model, name: str, array: np.ndarray) -> ir.Value:
    """A new initializer of `model`, which is edited."""
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.from_numpy(array.dtype)
    model.graph.graph.initializers[name] = value
    return value


def float_twin(model: Model) -> Model:
    """`model` with every Q/DQ pair of an activation taken out and weights as floats."""
    twin = model.clone()
    graph = twin.graph.graph
    for node in list(graph):
        if node.op_type == "DequantizeLinear" and node.inputs[0].producer() is not None:
            quantize = node.inputs[0].producer()
            node.outputs[0].replace_all_uses_with(quantize.inputs[0])
            graph.remove([node, quantize], safe=True)
    return twin
