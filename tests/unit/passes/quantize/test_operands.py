"""What the quantizer takes for activations and weights, by operator."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.passes.quantize.operands import operands_of, passes_through, why_not_integer
from tests.support.models import Builder


def last(b: Builder, output: str, shape=None):
    graph = b.build({output: shape}).graph.graph
    return graph[-1]


def matmul(left, right):
    """A MatMul; a shape makes a constant, a name an input of rank 3."""
    b = Builder()
    ins = [b.input(x, ["N", 6, 6]) if isinstance(x, str) else b.random(*x) for x in (left, right)]
    return last(b, b.node("MatMul", ins))


def test_the_axes_of_matrices():
    (right,) = operands_of(matmul("x", (6, 4))).weights
    assert (right.index, right.axis, right.inner) == (1, 1, 0)
    (left,) = operands_of(matmul((4, 6), "x")).weights
    assert (left.index, left.axis, left.inner) == (0, 0, 1)
    (stack,) = operands_of(matmul("x", (2, 6, 4))).weights
    assert (stack.axis, stack.inner) == (2, 1)
    (stack,) = operands_of(matmul((2, 4, 6), "x")).weights
    assert (stack.axis, stack.inner) == (None, 2)
    (vector,) = operands_of(matmul("x", (6,))).weights
    assert (vector.axis, vector.inner) == (None, 0)


@pytest.mark.parametrize(("flag", "axis", "inner"), [(1, 0, 1), (0, 1, 0)])
def test_the_axes_of_gemm(flag, axis, inner):
    b = Builder()
    weights = b.random(6, 6)
    node = last(b, b.node("Gemm", [b.input("x", ["N", 6]), weights, b.random(6)], transB=flag))
    found = operands_of(node)
    assert (found.weights[0].axis, found.weights[0].inner, found.bias) == (axis, inner, 2)


@pytest.mark.parametrize(
    ("op", "shape", "group", "axis", "inner"),
    [
        ("Conv", (6, 4, 3, 3), 1, 0, 1),
        ("Conv", (6, 2, 3, 3), 2, 0, 1),
        ("Conv", (4, 1, 3, 3), 4, 0, None),
        ("ConvTranspose", (4, 6, 3, 3), 1, 1, 0),
        ("ConvTranspose", (4, 3, 3, 3), 2, None, 0),
    ],
)
def test_the_axes_of_convolutions(op, shape, group, axis, inner):
    b = Builder()
    x = b.input("x", ["N", 4, 8, 8])
    found = operands_of(last(b, b.node(op, [x, b.random(*shape)], group=group)))
    (weight,) = found.weights
    assert (weight.axis, weight.inner, found.bias) == (axis, inner, None)


def test_why_operators_stay_in_float():
    b = Builder()
    x = b.input("x", ["N", 6])
    fixed = last(b, b.node("Add", [x, b.random(6)]))
    assert "folds it" in why_not_integer(fixed, operands_of(fixed))
    b = Builder()
    both = last(b, b.node("MatMul", [b.random(3, 4), b.random(4, 5)]), [3, 5])
    assert "constants" in why_not_integer(both, operands_of(both))
    b = Builder()
    kernel = b.node("Relu", [b.random(4, 3, 1, 1)])
    conv = last(b, b.node("Conv", [b.input("x", ["N", 3, 4, 4]), kernel]))
    assert "run time" in why_not_integer(conv, operands_of(conv))
    b = Builder()
    x = b.input("x", ["N", 6], np.float64)
    made = b.node("MatMul", [x, b.input("y", [6, 6], np.float64)])
    wide = b.build({made: ["N", 6]}, dtype=np.float64).graph.graph[-1]
    assert "not float32" in why_not_integer(wide, operands_of(wide))


@pytest.mark.parametrize(
    ("op", "attributes", "extra", "passes"),
    [
        ("Reshape", {}, [np.array([0, -1])], True),
        ("Pad", {}, [np.array([0] * 6 + [1, 1])], True),
        ("Pad", {}, [np.array([0] * 6 + [1, 1]), np.float32(0.5)], False),
        ("Pad", {"mode": "edge"}, [np.array([0] * 6 + [1, 1])], True),
        ("Resize", {"mode": "nearest"}, ["", np.float32([1, 1, 2, 2])], True),
        ("Resize", {"mode": "linear"}, ["", np.float32([1, 1, 2, 2])], False),
        ("AveragePool", {"kernel_shape": [2, 2]}, [], False),
        ("Relu", {}, [], False),
    ],
)
def test_what_only_passes_values_on(op, attributes, extra, passes):
    b = Builder()
    x = b.input("x", ["N", 3, 4, 4])
    more = [e if isinstance(e, str) else b.constant(e) for e in extra]
    assert passes_through(last(b, b.node(op, [x, *more], **attributes))) is passes


def test_a_max_pool_whose_indices_are_used_is_no_passing_on():
    b = Builder()
    x = b.input("x", ["N", 3, 4, 4])
    y, where = b.node("MaxPool", [x], outputs=2, kernel_shape=[2, 2])
    cast = b.node("Cast", [where], to=1)
    model = b.build({b.node("Add", [y, cast]): None})
    assert not passes_through(model.graph.graph[0])
