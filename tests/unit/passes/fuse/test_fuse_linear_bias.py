"""`fuse_linear_bias`: MatMul and Add become Gemm, where that is what they are."""

import numpy as np
import pytest

from edgecompile.passes.fuse.fuse_linear_bias import FuseLinearBias
from tests.support.models import Builder, apply, assert_same, operators


def linear(shape, bias, *, first=False, users=1):
    """MatMul of 8 by 5 channels, and Add."""
    b = Builder()
    product = b.node("MatMul", [b.input("x", shape), b.random(8, 5)])
    pair = [product, b.constant(np.linspace(-1, 1, int(np.prod(bias))).reshape(bias))]
    outputs = {b.node("Relu", [b.node("Add", pair[::-1] if first else pair)]): None}
    if users > 1:
        outputs[b.node("Tanh", [product])] = None
    return b.build(outputs)


def fuse(model):
    outcome = apply(FuseLinearBias(), model)
    assert_same(model, outcome.model)
    return outcome


@pytest.mark.parametrize("bias", [(5,), (1,), (1, 1, 5)])
@pytest.mark.parametrize("first", [True, False])
def test_more_axes_are_reshaped(bias, first):
    outcome = fuse(linear([1, 3, 8], bias, first=first))
    assert operators(outcome.model) == ["Reshape", "Gemm", "Reshape", "Relu"]


def test_two_axes_need_no_reshape():
    assert operators(fuse(linear([3, 8], (5,))).model) == ["Gemm", "Relu"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (linear(["N", 4, 8], (5,)), "not fixed"),
        (linear([2, 4, 8], (4, 1)), "more than one layer's axes"),
        (linear([2, 4, 8], (5,), users=2), None),
    ],
    ids=["open shape", "bias per row", "the product is read without its bias"],
)
def test_what_stays(model, reason):
    outcome = fuse(model)
    assert not outcome.changed
    assert [note.message for note in outcome.notes if reason and reason in note.message] or (
        reason is None
    )


def test_a_product_of_two_activations_is_no_layer():
    b = Builder()
    x, y = b.input("x", [1, 3, 8]), b.input("y", [1, 8, 5])
    model = b.build({b.node("Add", [b.node("MatMul", [x, y]), b.random(5)]): None})
    outcome = fuse(model)
    assert not outcome.changed
    assert not outcome.notes
