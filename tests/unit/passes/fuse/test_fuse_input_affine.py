"""`fuse_input_affine`: what stands in front of a convolution goes in, or stays with its reason."""

import numpy as np
import pytest

from edgecompile.passes.fuse.fuse_input_affine import FuseInputAffine
from tests.support.models import Builder, apply, assert_same, operators


def block(steps, *, pads=1, group=1, bias=True, reader=False):
    """HardSwish, steps (operator, constant, constant comes first) and a Conv, `[N, 4, 6, 6]`."""
    b = Builder()
    x = b.node("HardSwish", [b.input("x", ["N", 4, 6, 6])])
    for op, constant, first in steps:
        pair = [b.constant(np.asarray(constant, np.float32)), x]
        x = b.node(op, pair if first else pair[::-1])
    outputs = {b.conv(x, 4, 4, group=group, pads=[pads] * 4, bias=bias): None}
    if reader:
        outputs[b.node("Relu", [x])] = None
    return b.build(outputs)


def fuse(model):
    outcome = apply(FuseInputAffine(), model)
    assert_same(model, outcome.model, batch=2)
    return outcome


CHANNELS = np.array([1.5, -0.5, 2.0, 0.7]).reshape(1, 4, 1, 1)
AFFINE = [("Mul", [0.8], True), ("Add", [0.3], False)]


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_scale_and_offset_go_into_a_convolution_without_padding(group, bias):
    assert operators(fuse(block(AFFINE, pads=0, group=group, bias=bias)).model) == [
        "HardSwish",
        "Conv",
    ]


@pytest.mark.parametrize("group", [1, 2, 4])
def test_zeros_around_it_stop_the_offset_and_not_the_scale(group):
    outcome = fuse(block(AFFINE, group=group))
    assert operators(outcome.model) == ["HardSwish", "Add", "Conv"]
    assert "pads with zeros" in outcome.notes[-1].message


@pytest.mark.parametrize(
    "steps",
    [
        [("Mul", CHANNELS, False)],
        [("Div", [2.0], False)],
        [("Mul", CHANNELS, False), ("Div", [4.0], False)],
    ],
)
def test_scales_of_every_kind(steps):
    assert operators(fuse(block(steps)).model) == ["HardSwish", "Conv"]


@pytest.mark.parametrize(
    "steps",
    [
        [("Mul", CHANNELS, False), ("Add", CHANNELS, True)],
        [("Sub", [0.2], True)],
        [("Sub", CHANNELS, False)],
    ],
)
def test_offsets_of_every_kind(steps):
    assert operators(fuse(block(steps, pads=0)).model) == ["HardSwish", "Conv"]


@pytest.mark.parametrize(
    ("model", "left"),
    [
        (block([("Mul", [0.0], False), ("Add", [0.3], False)]), ["Mul", "Add"]),
        (block(AFFINE, reader=True), ["Mul", "Add"]),
        (block([("Mul", np.ones((1, 1, 6, 1)) * 2, False)]), ["Mul"]),
    ],
    ids=["a scale of zero", "others read it", "along another axis"],
)
def test_what_stays(model, left):
    found = operators(fuse(model).model)
    assert [op for op in found if op in ("Mul", "Add", "Div")] == left


def test_weights_of_two_layers_stay():
    b = Builder()
    weight = b.random(4, 4, 3, 3)
    x = b.node("Mul", [b.input("x", ["N", 4, 6, 6]), b.constant([2.0])])
    one = b.node("Conv", [x, weight])
    model = b.build({b.node("Conv", [one, weight]): None})
    outcome = fuse(model)
    assert not outcome.changed
    assert "of its own" in outcome.notes[0].message
