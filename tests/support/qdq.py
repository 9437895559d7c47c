"""Small models that are already in Q/DQ form, with known integers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
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


def whole_graph(
    activations: type = np.uint8, weights: np.dtype | type = np.int8, *, per_channel: bool = True
) -> Model:
    """A Conv, ReLU, average pool and linear layer with integers from input to output.

    `x [1, 8, 6, 6]` -> `[1, 10]`, in the form that whole-graph compilers take: every tensor between
    operators has a pair, and biases are INT32 with the scale of their products.
    """
    b = Builder(opset=21)
    top = float(np.iinfo(activations).max)
    peak = 7 if np.dtype(weights) == ml_dtypes.int4 else 60

    def pair(x: str, largest: float) -> tuple[str, float]:
        scale = largest / top
        s, z = b.constant(np.float32(scale)), b.constant(np.array(0, activations))
        return b.node("DequantizeLinear", [b.node("QuantizeLinear", [x, s, z]), s, z]), scale

    def product(op: str, x: str, scale: float, shape: tuple[int, ...], **attributes: Any) -> str:
        count = shape[0] if per_channel else 1
        steps = np.full(count, 0.5 / peak, np.float32)
        integers = b.rng.integers(-peak, peak + 1, shape).astype(weights)
        bias = b.rng.integers(-50, 50, shape[0]).astype(np.int32)
        axis = {"axis": 0} if per_channel else {}
        shaped = steps if per_channel else steps[0]
        w = b.node("DequantizeLinear", [b.constant(integers), b.constant(shaped)], **axis)
        c = b.node("DequantizeLinear", [b.constant(bias), b.constant(shaped * scale)], **axis)
        return b.node(op, [x, w, c], **attributes)

    x, scale = pair(b.input("x", [1, 8, 6, 6]), 1.0)
    x = product("Conv", x, scale, (16, 8, 3, 3), pads=[1, 1, 1, 1])
    x, scale = pair(b.node("Relu", [x]), 8.0)
    x, scale = pair(b.node("GlobalAveragePool", [x]), 8.0)
    x, scale = pair(b.node("Flatten", [x]), 8.0)
    x = product("Gemm", x, scale, (10, 16), transB=1)
    b.nodes[-1].output[0] = "raw"
    shift = b.constant(np.array(int(top) // 2, activations))
    step = b.constant(np.float32(4.0 / top))
    y = b.node("DequantizeLinear", [b.node("QuantizeLinear", ["raw", step, shift]), step, shift])
    return b.build({y: [1, 10]})
