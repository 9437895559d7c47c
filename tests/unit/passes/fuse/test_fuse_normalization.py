"""`fuse_normalization`: spelled-out normalizations, and what is none or another one."""

import numpy as np
import pytest

from edgecompile.passes.fuse.fuse_normalization import FuseNormalization
from tests.support.models import Builder, apply, assert_same, context, operators


def normalized(
    shape=("N", 5, 8),
    axes=(-1,),
    scale=None,
    bias=None,
    square="Pow",
    divide="Div",
    twice=False,
    opset=17,
    epsilon=1e-5,
):
    """A normalization of `x` over `axes`, in one of the ways that exporters write it."""
    b = Builder(opset=opset)
    x = b.node("Neg", [b.input("x", shape)])

    def mean(value):
        if opset < 18:
            return b.node("ReduceMean", [value], axes=list(axes))
        return b.node("ReduceMean", [value, b.constant(np.array(axes))])

    centred = b.node("Sub", [x, mean(x)])
    again = b.node("Sub", [x, mean(x)]) if twice else centred
    squares = [again, b.constant(np.float32(2))] if square == "Pow" else [again, again]
    variance = mean(b.node(square, squares))
    total = b.node("Add", [variance, b.constant(np.float32(epsilon))])
    if divide == "Pow":
        y = b.node("Mul", [centred, b.node("Pow", [total, b.constant(np.float32(-0.5))])])
    elif divide == "Reciprocal":
        y = b.node("Mul", [b.node("Reciprocal", [b.node("Sqrt", [total])]), centred])
    else:
        y = b.node("Div", [centred, b.node("Sqrt", [total])])
    for op, parameter in (("Mul", scale), ("Add", bias)):
        if parameter is not None:
            y = b.node(op, [b.constant(np.asarray(parameter)), y])
    return b.build({b.node("Neg", [y]): None})


def fuse(model, **facts):
    outcome = apply(FuseNormalization(), model, context(**facts))
    assert_same(model, outcome.model, tolerance=2e-5)
    return operators(outcome.model)[1:-1], [note.message for note in outcome.notes]


LAST = np.linspace(0.5, 2, 8)
PLANES = np.linspace(0.5, 2, 4).reshape(4, 1, 1)


@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("divide", ["Div", "Pow", "Reciprocal"])
@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("twice", [False, True])
def test_every_spelling_of_a_layer_norm(square, divide, opset, twice):
    model = normalized(
        square=square, divide=divide, opset=opset, twice=twice, scale=LAST, bias=LAST - 1
    )
    assert fuse(model) == (["LayerNormalization"], [])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["LayerNormalization"]),
        ({"scale": LAST}, ["LayerNormalization"]),
        ({"scale": 2.0, "bias": 1.0}, ["LayerNormalization"]),
        ({"bias": LAST}, ["LayerNormalization", "Add"]),
        ({"axes": (-2, -1), "scale": np.ones((5, 8))}, ["LayerNormalization"]),
        ({"scale": np.ones((5, 1))}, ["InstanceNormalization"]),
        ({"scale": np.ones((2, 1, 1))}, ["LayerNormalization", "Mul"]),
        ({"scale": LAST, "bias": np.ones((5, 1))}, ["LayerNormalization", "Add"]),
        ({"shape": ("N", 4, 8, 8), "axes": (-1,), "scale": LAST}, ["LayerNormalization"]),
        ({"shape": ("N", 4, 6, 6), "axes": (2, 3)}, ["InstanceNormalization"]),
        (
            {"shape": ("N", 4, 6, 6), "axes": (2, 3), "scale": PLANES, "bias": PLANES},
            ["InstanceNormalization"],
        ),
        (
            {"shape": ("N", 4, 6, 6), "axes": (2, 3), "scale": np.ones((6, 6)) * 2},
            ["LayerNormalization"],
        ),
    ],
)
def test_scale_and_bias_decide_which_operator_it_is(options, expected):
    found, _ = fuse(normalized(**options))
    assert found == expected


def test_dynamic_normalized_axes_need_a_scale_and_channels_must_be_known():
    assert "LayerNormalization" not in fuse(normalized(shape=("N", 5, "C")))[0]
    found, notes = fuse(normalized(shape=("N", "C", 6, 6), axes=(2, 3)))
    assert found == ["LayerNormalization"] and not notes
    found, notes = fuse(normalized(shape=("N", "C", "H", "W"), axes=(2, 3)))
    assert "InstanceNormalization" not in found
    assert notes == ["its channel axis is dynamic"]


def test_other_axes_are_left_alone_and_told():
    found, notes = fuse(normalized(shape=("N", 4, 6, 6), axes=(1,)))
    assert "Div" in found
    assert notes == ["it does not normalize the last axes"]


def test_the_opset_decides_and_is_told():
    found, notes = fuse(normalized(opset=15, scale=LAST))
    assert "Div" in found
    assert notes == ["this is LayerNormalization, which needs opset 17; the model has 15"]
    _, notes = fuse(normalized(opset=15, scale=LAST), opset_max=15)
    assert notes[0].endswith("the model has 15, and the target takes 15 at most")
    assert fuse(normalized(opset=15, shape=("N", 4, 6, 6), axes=(2, 3)))[0] == [
        "InstanceNormalization"
    ]


def test_an_rms_norm_is_left_alone():
    b = Builder()
    x = b.node("Neg", [b.input("x", ["N", 8])])
    squares = b.node("ReduceMean", [b.node("Mul", [x, x])], axes=[-1])
    root = b.node("Sqrt", [b.node("Add", [squares, b.constant(np.float32(1e-5))])])
    model = b.build({b.node("Neg", [b.node("Mul", [b.node("Div", [x, root]), b.random(8)])]): None})
    assert fuse(model)[0] == ["Mul", "ReduceMean", "Add", "Sqrt", "Div", "Mul"]


def test_a_deviation_of_something_else_is_no_normalization():
    b = Builder()
    x = b.node("Neg", [b.input("x", ["N", 8])])
    y = b.node("Sub", [x, b.node("ReduceMean", [x], axes=[-1])])
    other = b.node("Abs", [x])
    z = b.node("Sub", [other, b.node("ReduceMean", [other], axes=[-1])])
    variance = b.node("ReduceMean", [b.node("Mul", [z, z])], axes=[-1])
    root = b.node("Sqrt", [b.node("Add", [variance, b.constant(np.float32(1e-5))])])
    model = b.build({b.node("Neg", [b.node("Div", [y, root])]): None})
    assert "Div" in fuse(model)[0]
