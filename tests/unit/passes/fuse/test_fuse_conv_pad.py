"""`fuse_conv_pad`: padding that a layer can do itself, and padding that it cannot."""

import numpy as np
import pytest

from edgecompile.passes.fuse.fuse_conv_pad import FuseConvPad
from tests.support.models import Builder, apply, assert_same, node_of, operators

PADS = np.array([0, 0, 1, 2, 0, 0, 0, 3])


def padded(pads=PADS, extra=(), layer="Conv", opset=17, pad=None, **attributes):
    """`x [N, 4, 6, 6]`, a Pad with these inputs, and a layer with a 3x3 window."""
    b = Builder(opset=opset)
    inputs = [b.input("x", ["N", 4, 6, 6]), b.constant(pads)]
    inputs += ["" if v is None else b.constant(np.asarray(v)) for v in extra]
    x = b.node("Pad", inputs, **(pad or {}))
    weights = [b.random(5, 4, 3, 3)] if layer == "Conv" else []
    return b.build({b.node(layer, [x, *weights], kernel_shape=[3, 3], **attributes): None})


def fuse(model):
    return apply(FuseConvPad(), model)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"extra": [np.float32(0)]},
        {"pads": np.array([1, 2, 0, 3]), "extra": [None, np.array([2, -1])], "opset": 18},
        {"pads": np.array([2, 1]), "extra": [np.float32(0), np.array([-2])], "opset": 18},
        {"strides": [2, 2], "pads_": [1, 0, 2, 1]},
        {"auto_pad": "VALID"},
    ],
)
def test_a_conv_takes_zero_padding(options):
    options = dict(options)
    own = options.pop("pads_", None)
    model = padded(**options, **({"pads": PADS} if "pads" not in options else {}))
    if own:
        b = Builder()
        x = b.node("Pad", [b.input("x", ["N", 4, 6, 6]), b.constant(PADS)])
        model = b.build({b.conv(x, 4, 5, pads=own, strides=[2, 2]): None})
    fused = fuse(model).model
    assert operators(fused) == ["Conv"]
    assert_same(model, fused, batch=2)


def test_pads_add_up():
    b = Builder()
    x = b.node("Pad", [b.input("x", ["N", 4, 6, 6]), b.constant(PADS)])
    fused = fuse(b.build({b.conv(x, 4, 5, pads=[1, 0, 2, 1]): None})).model
    assert tuple(node_of(fused, "Conv").attributes["pads"].as_ints()) == (2, 2, 2, 4)


def test_the_attribute_form_of_old_opsets():
    b = Builder(opset=9)
    x = b.node("Pad", [b.input("x", ["N", 4, 6, 6])], pads=PADS.tolist(), value=0.0)
    model = b.build({b.conv(x, 4, 5): None})
    fused = fuse(model).model
    assert operators(fused) == ["Conv"]
    assert_same(model, fused)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"extra": [np.float32(1)]}, "does not pad with the constant zero"),
        ({"pad": {"mode": "reflect"}}, "its mode is 'reflect'"),
        ({"pads": np.array([0, 1, 0, 0, 0, -1, 0, 0])}, "pads the batch or channel axis"),
        ({"pads": np.array([0, 0, -1, 0, 0, 0, 0, 0])}, "it crops"),
        ({"auto_pad": "SAME_UPPER"}, "pads by auto_pad"),
        ({"layer": "MaxPool"}, "MaxPool 'maxpool_1' takes no padding"),
        (
            {"layer": "AveragePool", "pads": np.array([0, 0, 3, 0, 0, 0, 0, 0])},
            "as much as its kernel covers",
        ),
        ({"layer": "AveragePool", "ceil_mode": 1, "pads": PADS // 2}, "rounds its size up"),
    ],
)
def test_padding_that_stays(options, reason):
    outcome = fuse(padded(**options))
    assert not outcome.changed
    assert [reason in note.message for note in outcome.notes] == [True]


def average(**attributes):
    b = Builder()
    pads = np.array([0, 0, 1, 0, 0, 0, 0, 2])
    x = b.node("Pad", [b.input("x", ["N", 4, 7, 7]), b.constant(pads)])
    return b.build({b.node("AveragePool", [x], kernel_shape=[3, 3], **attributes): None})


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"count_include_pad": 1},
        {"count_include_pad": 1, "pads": [1, 1, 1, 0]},
        {"strides": [2, 2]},
    ],
)
def test_an_average_counts_the_zeros_that_it_now_adds_itself(attributes):
    model = average(**attributes)
    fused = fuse(model).model
    assert operators(fused) == ["AveragePool"]
    assert node_of(fused, "AveragePool").attributes["count_include_pad"].as_int() == 1
    assert_same(model, fused)


def test_an_average_that_does_not_count_its_own_padding_stays():
    outcome = fuse(average(pads=[1, 1, 1, 1]))
    assert not outcome.changed
    assert outcome.notes[0].message == "AveragePool 'averagepool_1' does not count its own padding"


def test_all_users_take_the_padding_or_none_does():
    def shared(*others):
        b = Builder()
        x = b.node("Pad", [b.input("x", ["N", 4, 6, 6]), b.constant(PADS)])
        outputs = [b.conv(x, 4, 5), b.conv(x, 4, 6, k=1), *(b.node(op, [x]) for op in others)]
        return b.build(dict.fromkeys(outputs))

    model = shared()
    fused = fuse(model).model
    assert operators(fused) == ["Conv", "Conv"]
    assert_same(model, fused)
    assert not fuse(shared("Relu")).changed


def test_padding_of_the_weights_is_not_for_the_layer():
    b = Builder()
    weight = b.node("Pad", [b.random(5, 4, 2, 2), b.constant(np.array([0, 0, 0, 0, 0, 0, 1, 1]))])
    x = b.node("Conv", [b.input("x", ["N", 4, 6, 6]), weight], kernel_shape=[3, 3])
    assert not fuse(b.build({x: None})).changed
