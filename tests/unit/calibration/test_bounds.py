"""Ranges that the graph fixes by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgecompile.calibration.bounds import FREE, Bound, graph_bounds
from tests.support.models import ALL, Builder, feeds, run


def bound_of(build) -> Bound:
    """The bound of what `build(b, x)` makes of an input `[N, 3, 8, 8]`."""
    b = Builder()
    y = build(b, b.input("x", ["N", 3, 8, 8]))
    return graph_bounds(b.build({y: None})).get(y, FREE)


def relu6(b: Builder, x: str) -> str:
    return b.node("Clip", [x, b.constant(0.0), b.constant(6.0)])


CASES = [
    (relu6, (0, 6, True)),
    (lambda b, x: b.node("Relu", [x]), (0, math.inf, True)),
    (lambda b, x: b.node("Clip", [b.node("Relu", [x]), "", b.constant(2.0)]), (0, 2, True)),
    (lambda b, x: b.node("Sigmoid", [x]), (0, 1, False)),
    (lambda b, x: b.node("Softmax", [x], axis=1), (0, 1, False)),
    (lambda b, x: b.node("HardSigmoid", [x]), (0, 1, True)),
    (lambda b, x: b.node("LogSoftmax", [x], axis=1), (-math.inf, 0, False)),
    (lambda b, x: b.node("Min", [b.node("Relu", [x]), b.constant(6.0)]), (0, 6, False)),
    (lambda b, x: b.node("Max", [b.node("Tanh", [x]), b.constant(0.5)]), (0.5, 1, False)),
    (lambda b, x: b.node("Max", [x, b.constant(0.0)]), (0, math.inf, False)),
    (lambda b, x: b.node("HardSwish", [x]), (-0.375, math.inf, False)),
    (
        lambda b, x: b.node("MaxPool", [relu6(b, x)], kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        (0, 6, True),
    ),
    (lambda b, x: b.node("GlobalAveragePool", [relu6(b, x)]), (0, 6, False)),
    (lambda b, x: b.node("Concat", [relu6(b, x), b.node("Tanh", [x])], axis=1), (-1, 6, False)),
    (lambda b, x: b.node("Transpose", [relu6(b, x)], perm=[0, 2, 3, 1]), (0, 6, True)),
    (lambda b, x: b.node("Add", [relu6(b, x), relu6(b, x)]), (-math.inf, math.inf, False)),
    (lambda b, x: b.node("Concat", [relu6(b, x), x], axis=1), (-math.inf, math.inf, False)),
]


@pytest.mark.parametrize(("build", "expected"), CASES)
def test_what_operators_bound(build, expected: tuple[float, float, bool]) -> None:
    found = bound_of(build)
    assert (found.low, found.high) == expected[:2]
    assert not found.known or found.exact == expected[2]


def test_clip_of_old_opsets_has_its_limits_as_attributes() -> None:
    b = Builder(opset=9)
    y = b.node("Clip", [b.input("x", ["N", 4])], min=-1.0, max=3.0)
    assert graph_bounds(b.build({y: None}))[y] == Bound(low=-1.0, high=3.0, exact=True)


def test_limits_that_are_computed_bound_nothing() -> None:
    b = Builder()
    x, high = b.input("x", ["N", 4]), b.input("high", [])
    y = b.node("Clip", [x, b.constant(0.0), high])
    assert graph_bounds(b.build({y: None}))[y] == Bound(low=0.0, exact=True)


@pytest.mark.parametrize("name", ALL)
def test_no_value_lies_outside_its_bound(name: str) -> None:
    model = ALL[name]()
    bounds = graph_bounds(model)
    copy = model.clone()
    graph = copy.graph.graph
    present = {v.name for v in graph.outputs}
    graph.outputs.extend(
        v for n in graph for v in n.outputs if v.name in bounds and v.name not in present
    )
    inputs = {k: v * 5 if v.dtype.kind == "f" else v for k, v in feeds(model).items()}
    names = [v.name for v in graph.outputs]
    for output, values in zip(names, run(copy, inputs), strict=True):
        bound = bounds.get(output, FREE)
        margin = 1e-6 * max(1.0, float(np.abs(values).max()))
        assert bound.low - margin <= values.min() and values.max() <= bound.high + margin
