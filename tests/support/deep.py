"""Small nets of the families that people quantize, deep enough to rank their layers."""

from __future__ import annotations

import numpy as np

from edgecompile.ir import Model
from tests.support.models import Builder


def residual(blocks: int = 6, channels: int = 8) -> Model:
    """Residual blocks of three convolutions, squeeze-and-excite gates, a classifier at the end."""
    b = Builder(11)
    x = b.node("Relu", [b.conv(b.input("x", ["N", 3, 12, 12]), 3, channels)])
    for number in range(blocks):
        y = b.node("Relu", [b.conv(x, channels, 2 * channels, 1)])
        y = b.node("Relu", [b.conv(y, 2 * channels, 2 * channels, group=2 * channels)])
        if number % 2:
            gate = b.node("GlobalAveragePool", [y])
            gate = b.node("Relu", [b.conv(gate, 2 * channels, 4, 1)])
            y = b.node("Mul", [y, b.node("Sigmoid", [b.conv(gate, 4, 2 * channels, 1)])])
        x = b.node("Add", [x, b.conv(y, 2 * channels, channels, 1)])
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x])])
    return b.build({b.gemm(x, channels, 10): ["N", 10]})


def encoder(blocks: int = 3, width: int = 16) -> Model:
    """Transformer encoder blocks on `x [N, 6, width]`; every third channel is loud."""
    b = Builder(12)
    x = b.input("x", ["N", 6, width])
    loud = np.where(np.arange(width) % 3 == 0, 3.0, 1.0).astype(np.float32)
    x = b.node("Mul", [x, b.constant(loud)])
    for _ in range(blocks):
        q, k, v = (b.linear(x, width, width) for _ in range(3))
        scores = b.node("MatMul", [q, b.node("Transpose", [k], perm=[0, 2, 1])])
        weights = b.node("Softmax", [b.node("Mul", [scores, b.constant(np.float32(0.25))])])
        y = b.linear(b.node("MatMul", [weights, v]), width, width)
        x = _normalized(b, b.node("Add", [x, y]), width)
        y = b.linear(b.node("Relu", [b.linear(x, width, 4 * width)]), 4 * width, width)
        x = _normalized(b, b.node("Add", [x, y]), width)
    return b.build({x: ["N", 6, width]})


def branches(width: int = 8) -> Model:
    """A backbone with two heads of different depth, joined again by Concat, and a second output."""
    b = Builder(13)
    x = b.node("Relu", [b.conv(b.input("x", ["N", 3, 10, 10]), 3, width)])
    for _ in range(3):
        x = b.node("Relu", [b.conv(x, width, width)])
    near = b.node("Sigmoid", [b.conv(x, width, 4, 1)])
    far = x
    for _ in range(4):
        far = b.node("Relu", [b.conv(far, width, width)])
    far = b.conv(far, width, 4, 1)
    joined = b.node("Concat", [near, far], axis=1)
    return b.build({joined: None, b.node("Sigmoid", [b.conv(far, 4, 2)]): None})


def _normalized(b: Builder, x: str, width: int) -> str:
    scale, shift = b.random(width, positive=True), b.random(width, scale=0.1)
    return str(b.node("LayerNormalization", [x, scale, shift], axis=-1))
