"""Models with layers that are hard to quantize on purpose."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from edgecompile.ir import Model
from tests.support.models import Builder

LAYERS = 6


def chain(bad: Collection[int] = (3,), *, deaf: bool = False) -> Model:
    """Six 1x1 convolutions of `x [N, 8, 6, 6]`; those with a number in `bad` have a loud input.

    A loud channel comes in scaled by 2000 and goes out by 1/2000: nothing in float, but in integers
    the others lose all of their steps. The convolution cannot have weights for it in 8 bits, unless
    it is `deaf` to the loud channel.
    """
    b = Builder(1)
    x = b.input("x", ["N", 8, 6, 6])
    for number in range(LAYERS):
        loud = np.ones((1, 8, 1, 1), np.float32)
        loud[:, 2] = 2000.0 if number in bad else 1.0
        if number in bad:
            x = b.node("Mul", [x, b.constant(loud)])
        weight = b.rng.normal(size=(8, 8, 1, 1)) / np.sqrt(8) / loud
        if deaf and number in bad:
            weight[:, 2] = 0.0
        x = b.node("Conv", [x, b.constant(weight), b.random(8, scale=0.1)])
        if number == 2:
            x = b.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
        x = b.node("Relu", [x]) if number < LAYERS - 1 else x
    return b.build({x: None})
