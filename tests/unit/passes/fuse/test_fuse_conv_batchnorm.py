"""`fuse_conv_batchnorm`: the numbers stay, per layer kind and per affine map; and the refusals."""

import numpy as np
import pytest

from edgecompile.ir import to_bytes
from edgecompile.passes.fuse.fuse_conv_batchnorm import FuseConvBatchnorm
from tests.support.models import Builder, apply, assert_same, branches, conv_bn_relu, operators

SHAPE = ("N", 4, 5, 5)


def fuse(model):
    return apply(FuseConvBatchnorm(), model)


def reasons(outcome):
    return [note.message for note in outcome.notes]


def conv_then(*steps):
    """A Conv of 6 channels and elementwise steps: (operator, constant, constant comes first)."""
    b = Builder()
    x = b.conv(b.input("x", SHAPE), 4, 6)
    for op, constant, first in steps:
        pair = [b.constant(constant), x]
        x = b.node(op, pair if first else pair[::-1])
    return b.build({b.node("Relu", [x]): None})


@pytest.mark.parametrize("bias", [False, True])
def test_conv_and_batch_norm(bias):
    model = conv_bn_relu(bias=bias)
    fused = fuse(model).model
    assert "BatchNormalization" not in operators(fused)
    assert_same(model, fused, batch=3)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_groups_and_transposed_convolutions(op, group):
    b = Builder()
    shape = (8, 4 // group, 3, 3) if op == "Conv" else (4, 8 // group, 3, 3)
    x = b.node(op, [b.input("x", SHAPE), b.random(*shape)], group=group, kernel_shape=[3, 3])
    model = b.build({b.batch_norm(x, 8): None})
    fused = fuse(model).model
    assert operators(fused) == [op]
    assert_same(model, fused, batch=2)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (6,), (1, 6), (1,), ()])
def test_gemm_with_alpha_and_beta(transposed, bias):
    b = Builder()
    weight = b.random(*((6, 4) if transposed else (4, 6)))
    extra = [] if bias is None else [b.constant(np.full(bias, 0.3))]
    inputs = [b.input("x", ["N", 4]), weight, *extra]
    x = b.node("Gemm", inputs, alpha=0.5, beta=2.0, transB=transposed)
    model = b.build({b.node("Mul", [b.batch_norm(x, 6), b.random(6)]): ["N", 6]})
    fused = fuse(model).model
    assert operators(fused) == ["Gemm"]
    assert_same(model, fused, batch=3)


CHANNEL = np.linspace(-1, 2, 6).reshape(1, 6, 1, 1)


@pytest.mark.parametrize(
    "steps",
    [
        [("Mul", CHANNEL, False), ("Add", CHANNEL[0], True)],
        [("Sub", CHANNEL, False), ("Div", CHANNEL + 3, False)],
        [("Sub", CHANNEL, True), ("Mul", np.array(0.5), True)],
        [("Add", np.array([0.25]), False)],
    ],
)
def test_arithmetic_with_constants_per_channel(steps):
    model = conv_then(*steps)
    fused = fuse(model).model
    assert operators(fused) == ["Conv", "Relu"]
    assert_same(model, fused, batch=2)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (("Add", np.ones(5), False), "does not vary by channel only"),
        (("Mul", np.ones((2, 1, 1, 1)), False), "does not vary by channel only"),
        (("Add", np.ones((1, 1, 6, 1, 1)), False), "does not vary by channel only"),
        (("Div", np.ones(1), True), "the layer is the divisor"),
        (("Div", np.zeros(1), False), "not finite"),
    ],
)
def test_maps_that_are_not_affine_per_channel_stay(step, reason):
    model = conv_then(step)
    outcome = fuse(model)
    assert not outcome.changed
    assert any(reason in message for message in reasons(outcome))


def test_weights_that_would_overflow_stay():
    b = Builder()
    x = b.node("Conv", [b.input("x", SHAPE), b.constant(np.full((6, 4, 1, 1), 1e20))])
    outcome = fuse(b.build({b.node("Mul", [x, b.constant(np.array(1e20))]): None}))
    assert not outcome.changed
    assert reasons(outcome) == ["the new weights would overflow float32"]


def test_a_layer_that_others_read_or_that_is_an_output_stays():
    b = Builder()
    x = b.conv(b.input("x", SHAPE), 4, 6)
    y = b.batch_norm(x, 6)
    model = b.build({y: None, b.node("Relu", [x]): None})
    assert not fuse(model).changed
    b = Builder()
    x = b.conv(b.input("x", SHAPE), 4, 6)
    assert not fuse(b.build({x: None, b.batch_norm(x, 6): None})).changed


def test_shared_weights_stay_and_the_other_reader_is_named():
    b = Builder()
    x, weight = b.input("x", SHAPE), b.random(6, 4, 1, 1)
    left, right = (b.node("Conv", [x, weight], kernel_shape=[1, 1]) for _ in range(2))
    model = b.build({b.node("Add", [b.batch_norm(left, 6), right]): None})
    outcome = fuse(model)
    assert not outcome.changed
    assert reasons(outcome) == ["the weights of Conv 'conv_0' also serve 'conv_1'"]


def test_a_shared_bias_is_given_to_the_layer_as_its_own():
    b = Builder()
    x, bias = b.input("x", SHAPE), b.random(6)
    left, right = (
        b.node("Conv", [x, b.random(6, 4, 1, 1), bias], kernel_shape=[1, 1]) for _ in range(2)
    )
    model = b.build({b.node("Add", [b.batch_norm(left, 6), right]): None})
    fused = fuse(model).model
    assert operators(fused) == ["Conv", "Conv", "Add"]
    assert_same(model, fused)


def test_weights_in_constant_nodes_fold_too():
    b = Builder()
    weight = b.rng.normal(size=(6, 4)).astype(np.float32).reshape(-1).tolist()
    flat = b.node("Constant", [], value_floats=weight)
    x = b.node("Gemm", [b.input("x", ["N", 24]), b.random(24, 24), flat])
    model = b.build({b.node("Add", [x, b.random(24)]): ["N", 24]})
    fused = fuse(model).model
    assert operators(fused) == ["Gemm"]
    assert_same(model, fused)


def test_quantized_or_computed_weights_stay():
    b = Builder()
    computed = b.node("Abs", [b.random(6, 4, 1, 1)])
    x = b.node("Conv", [b.input("x", SHAPE), computed], kernel_shape=[1, 1])
    outcome = fuse(b.build({b.batch_norm(x, 6): None}))
    assert not outcome.changed
    assert reasons(outcome) == ["the weights of Conv 'conv_1' are not constant floats"]


def test_a_batch_norm_in_training_mode_stays():
    b = Builder()
    x = b.conv(b.input("x", SHAPE), 4, 6)
    statistics = [b.random(6, positive=True) for _ in range(4)]
    y = b.node("BatchNormalization", [x, *statistics], 3, training_mode=1)[0]
    outcome = fuse(b.build({y: None}))
    assert not outcome.changed
    assert reasons(outcome) == ["the normalization is in training mode"]


def test_a_sum_of_two_computed_values_is_not_even_mentioned():
    b = Builder()
    x = b.input("x", SHAPE)
    outcome = fuse(b.build({b.node("Add", [b.conv(x, 4, 4), x]): None}))
    assert not outcome.changed and not outcome.notes


def test_layers_in_branches_fold_too_and_the_file_does_not_grow():
    model = branches()
    assert not fuse(model).changed
    model = conv_bn_relu()
    assert len(to_bytes(fuse(model).model)) < len(to_bytes(model))
