"""`fuse_activation`: every spelling of an activation is found, and look-alikes are not."""

import math

import numpy as np
import pytest

from edgecompile.passes.fuse.fuse_activation import FuseActivation
from tests.support.models import Builder, apply, assert_same, attention, context, operators

SHAPE = ("N", 4, 3)


class Maths(Builder):
    """A builder whose calls are formulas."""

    def __init__(self, opset=20):
        super().__init__(opset=opset)
        self.x = self.node("Neg", [self.input("x", SHAPE)])

    def num(self, value):
        return self.constant(np.float32(value)) if isinstance(value, float | int) else value

    def __getattr__(self, op):
        if op.startswith("_"):
            raise AttributeError(op)
        return lambda *values, **kw: self.node(op, [self.num(v) for v in values], **kw)


def fused(spell, opset=20, **facts):
    b = Maths(opset)
    model = b.build({b.node("Neg", [spell(b)]): None})
    outcome = apply(FuseActivation(), model, context(**facts))
    assert_same(model, outcome.model, tolerance=1e-5)
    return operators(outcome.model)[1:-1], [note.message for note in outcome.notes]


GATE = {"clip": lambda b, v: b.Clip(b.Add(v, 3), 0, 6)}

HARD_SWISH = {
    "product first": lambda b: b.Div(b.Mul(b.x, b.Clip(b.Add(b.x, 3), 0, 6)), 6),
    "gate first": lambda b: b.Mul(b.Div(b.Clip(b.Add(3, b.x), 0, 6), 6), b.x),
    "times a sixth": lambda b: b.Mul(b.Mul(1 / 6, b.Clip(b.Add(b.x, 3), 0, 6)), b.x),
    "scaled input": lambda b: b.Mul(b.Div(b.x, 6), b.Clip(b.Add(b.x, 3), 0, 6)),
    "hard sigmoid": lambda b: b.Mul(b.x, b.HardSigmoid(b.x, alpha=1 / 6, beta=0.5)),
}

GELU = {
    "half last": lambda b: b.Mul(b.Mul(b.x, b.Add(b.Erf(b.Div(b.x, math.sqrt(2))), 1)), 0.5),
    "half first": lambda b: b.Mul(b.Mul(0.5, b.x), b.Add(1, b.Erf(b.Mul(b.x, math.sqrt(0.5))))),
    "half of the gate": lambda b: b.Mul(b.x, b.Mul(0.5, b.Add(1, b.Erf(b.Div(b.x, math.sqrt(2)))))),
    "halved": lambda b: b.Div(b.Mul(b.Add(b.Erf(b.Div(b.x, math.sqrt(2))), 1), b.x), 2),
}


def cube(b):
    return b.Mul(b.Mul(b.x, b.x), b.x)


ROOT = math.sqrt(2 / math.pi)

GELU_TANH = {
    "power": lambda b: b.Mul(
        b.Mul(0.5, b.x),
        b.Add(1, b.Tanh(b.Mul(ROOT, b.Add(b.x, b.Mul(0.044715, b.Pow(b.x, 3)))))),
    ),
    "products": lambda b: b.Mul(
        b.Mul(
            b.x,
            b.Add(1, b.Tanh(b.Mul(b.Add(b.x, b.Mul(b.Mul(b.Mul(b.x, b.x), b.x), 0.044715)), ROOT))),
        ),
        0.5,
    ),
}


@pytest.mark.parametrize("name", HARD_SWISH)
def test_hard_swish(name):
    assert fused(HARD_SWISH[name]) == (["HardSwish"], [])


@pytest.mark.parametrize("name", GELU)
def test_gelu(name):
    assert fused(GELU[name]) == (["Gelu"], [])


@pytest.mark.parametrize("name", GELU_TANH)
def test_gelu_by_tanh(name):
    assert fused(GELU_TANH[name]) == (["Gelu"], [])


LOOK_ALIKES = {
    "other offset": lambda b: b.Div(b.Mul(b.x, b.Clip(b.Add(b.x, 2), 0, 6)), 6),
    "other bound": lambda b: b.Div(b.Mul(b.x, b.Clip(b.Add(b.x, 3), 0, 5)), 6),
    "other divisor": lambda b: b.Div(b.Mul(b.x, b.Clip(b.Add(b.x, 3), 0, 6)), 3),
    "other input": lambda b: b.Div(b.Mul(b.Abs(b.x), b.Clip(b.Add(b.x, 3), 0, 6)), 6),
    "other slope": lambda b: b.Mul(b.x, b.HardSigmoid(b.x)),
    "no half": lambda b: b.Mul(b.x, b.Add(b.Erf(b.Div(b.x, math.sqrt(2))), 1)),
    "no root": lambda b: b.Mul(b.Mul(b.x, b.Add(b.Erf(b.x), 1)), 0.5),
    "square": lambda b: b.Mul(
        b.Mul(0.5, b.x),
        b.Add(1, b.Tanh(b.Mul(ROOT, b.Add(b.x, b.Mul(0.044715, b.Pow(b.x, 2)))))),
    ),
    "swish": lambda b: b.Mul(b.x, b.Sigmoid(b.x)),
}


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_look_alikes_stay(name):
    found, notes = fused(LOOK_ALIKES[name])
    assert not {"HardSwish", "Gelu"} & set(found) and not notes


def test_a_gate_that_is_used_elsewhere_stays():
    def spell(b):
        gate = b.Clip(b.Add(b.x, 3), 0, 6)
        return b.Add(b.Div(b.Mul(b.x, gate), 6), gate)

    assert "HardSwish" not in fused(spell)[0]


def test_the_opset_decides_and_is_told():
    found, notes = fused(GELU["half last"], opset=17)
    assert "Gelu" not in found
    assert notes == ["this is Gelu, which needs opset 20; the model has 17"]
    assert fused(HARD_SWISH["gate first"], opset=14)[0] == ["HardSwish"]
    assert fused(HARD_SWISH["gate first"], opset=13)[1] == [
        "this is HardSwish, which needs opset 14; the model has 13"
    ]


def test_the_target_decides_and_is_told():
    style = context().target.quantization.model_copy(update={"fused_activations": ("Relu",)})
    found, notes = fused(HARD_SWISH["gate first"], quantization=style)
    assert found == ["Add", "Clip", "Div", "Mul"]
    assert notes == ["this is HardSwish, which the target does not name among its operators"]
    assert fused(HARD_SWISH["gate first"], quantization=None)[0] == found


CLAMPS = {
    "min of max": (lambda b: b.Min(b.Max(b.x, -1), 2), ["Clip"]),
    "max of min": (lambda b: b.Max(2, b.Min(b.x, 6)), ["Clip"]),
    "relu6": (lambda b: b.Min(b.Relu(b.x), 6), ["Clip"]),
    "relu": (lambda b: b.Max(0, b.x), ["Relu"]),
    "above only": (lambda b: b.Min(b.x, 1), ["Clip"]),
    "below only": (lambda b: b.Max(b.x, -1), ["Clip"]),
    "relu of clip": (lambda b: b.Relu(b.Clip(b.x, -1, 1)), ["Clip"]),
    "disjoint": (lambda b: b.Clip(b.Clip(b.x, -1, 0.5), 1, 2), ["Clip"]),
    "twice relu": (lambda b: b.Relu(b.Relu(b.x)), ["Relu"]),
    "one clip": (lambda b: b.Clip(b.x, 0, 6), ["Clip"]),
    "two values": (lambda b: b.Min(b.x, b.Abs(b.x)), ["Abs", "Min"]),
    "vector": (lambda b: b.Max(b.x, b.constant(np.ones(3))), ["Max"]),
}


@pytest.mark.parametrize("name", CLAMPS)
def test_clamps(name):
    spell, expected = CLAMPS[name]
    assert fused(spell)[0] == expected


def test_integers_are_not_clamped():
    b = Builder()
    x = b.input("x", ["N"], np.int32)
    y = b.node("Max", [x, b.constant(np.int32(0))])
    model = b.build({y: ["N"]}, dtype=np.int32)
    assert not apply(FuseActivation(), model).changed


def test_a_clamp_in_the_middle_that_is_read_elsewhere_is_kept_for_its_reader():
    def spell(b):
        low = b.Max(b.x, -1)
        return b.Add(b.Min(low, 1), low)

    assert fused(spell)[0] == ["Clip", "Clip", "Add"]


def test_the_gelu_of_an_exported_transformer_is_found_after_conversion():
    assert "Erf" in operators(attention())
    outcome = apply(FuseActivation(), attention())
    assert [note.op_type for note in outcome.notes] == ["Mul"]
