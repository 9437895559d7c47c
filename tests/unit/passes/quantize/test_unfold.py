"""Operators as products of rows and weights."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.passes.quantize.unfold import unfold
from tests.support.models import Builder, feeds, run


def unfolded(b: Builder, output: str, index: int = 1):
    """The last operator's rows and weights, and the model."""
    model = b.build({output: None})
    node = list(model.graph.graph)[-1]
    weights = node.inputs[index].const_value.numpy()
    return unfold(node, index, weights), weights, model


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("size", [(6, 4), (5, 5)])
def test_gemm_is_the_product_of_its_rows(flip, size):
    b = Builder()
    x, shape = b.input("x", ["N", size[0]]), size[::-1] if flip else size
    rows, weights, model = unfolded(b, b.node("Gemm", [x, b.random(*shape)], transB=flip))
    inputs = feeds(model)
    picked = rows.pick(inputs["x"], 99, np.random.default_rng(0))
    matrix = rows.matrix(weights)
    assert np.allclose(picked[0] @ matrix[0].T, run(model, inputs)[0], atol=1e-5)
    assert np.array_equal(rows.restored(matrix), weights)


def test_matrices_of_any_rank_of_rows():
    b = Builder()
    made = b.node("MatMul", [b.input("x", ["N", 3, 6]), b.random(6, 4)])
    rows, weights, model = unfolded(b, made)
    inputs = feeds(model)
    picked = rows.pick(inputs["x"], 99, np.random.default_rng(0))
    wanted = run(model, inputs)[0].reshape(-1, 4)
    assert np.allclose(picked[0] @ rows.matrix(weights)[0].T, wanted, atol=1e-5)


def test_a_limit_draws_rows_without_repeating_them():
    b = Builder()
    rows, _, _ = unfolded(b, b.node("MatMul", [b.input("x", ["N", 2]), b.random(2, 4)]))
    array = np.arange(200, dtype=np.float32).reshape(100, 2)
    drawn = rows.pick(array, 10, np.random.default_rng(3))[0]
    assert drawn.shape == (10, 2)
    assert len(np.unique(drawn[:, 0])) == 10


def test_what_is_no_such_product_is_left_out():
    b = Builder()
    x = b.input("x", ["N", 4, 6, 6])
    assert unfolded(b, b.node("ConvTranspose", [x, b.random(4, 2, 2, 2)]))[0] is None
    b = Builder()
    left = b.node("MatMul", [b.random(4, 6), b.input("x", ["N", 6, 4])])
    assert unfolded(b, left, index=0)[0] is None
    b = Builder()
    stack = b.node("MatMul", [b.input("x", [3, "N", 6]), b.random(3, 6, 4)])
    assert unfolded(b, stack)[0] is None
    b = Builder()
    turned = b.node("Gemm", [b.input("x", [6, "N"]), b.random(6, 4)], transA=1)
    assert unfolded(b, turned)[0] is None


def test_which_columns_meet_in_a_16_bit_sum():
    b = Builder()
    x = b.input("x", ["N", 6, 6, 6])
    rows, _, _ = unfolded(b, b.node("Conv", [x, b.random(4, 3, 1, 2)], group=2))
    assert rows.partners() == [2, 3, 0, 1, -1, -1]
    b = Builder()
    x = b.input("x", ["N", 2, 6, 6])
    rows, _, _ = unfolded(b, b.node("Conv", [x, b.random(2, 1, 1, 2)], group=2))
    assert rows.partners() == [-1, -1]
    b = Builder()
    x = b.input("x", ["N", 1, 6, 6])
    rows, _, _ = unfolded(b, b.node("Conv", [x, b.random(2, 1, 1, 2)]))
    assert rows.partners() == [0, 1]


@pytest.mark.parametrize(
    ("groups", "attributes"),
    [
        (1, {"strides": [2, 1], "pads": [1, 0, 0, 2]}),
        (4, {"pads": [1, 1, 1, 1]}),
        (2, {"dilations": [2, 1], "pads": [1, 0, 2, 1]}),
        (2, {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
        (1, {"pads": [2, 2, 2, 2]}),
    ],
)
def test_convolution_is_the_product_of_its_patches(groups, attributes):
    b = Builder()
    x, weights = b.input("x", [2, 4, 7, 9]), b.random(8, 4 // groups, 3, 2)
    rows, weights, model = unfolded(b, b.node("Conv", [x, weights], group=groups, **attributes))
    inputs = feeds(model)
    picked = rows.pick(inputs["x"], 9999, np.random.default_rng(0))
    wanted = np.moveaxis(run(model, inputs)[0], 1, 0).reshape(groups, 8 // groups, -1)
    assert np.allclose(rows.matrix(weights) @ picked.swapaxes(1, 2), wanted, atol=1e-5)
