"""What a logarithm is taken of stays in float, and nothing else does for that."""

import numpy as np
import pytest

from edgecompile.passes.quantize.logarithms import REASON, before_logarithms
from edgecompile.passes.quantize.placement import place
from tests.support.models import Builder
from tests.support.quantized import STYLE


def spectrum(*, activation="", log="Log"):
    """Filters, squares, a mel bank, a logarithm, and a net behind it: `[N, 8, 20]`."""
    b = Builder(0)
    x = b.input("x", ["N", 1, 320])
    y = b.node("Conv", [x, b.random(16, 1, 32)], strides=[16])
    y = b.node(activation, [y]) if activation else y
    y = b.node("Transpose", [b.node("Mul", [y, y])], perm=[0, 2, 1])
    y = b.node("MatMul", [y, b.constant(np.abs(b.rng.normal(size=(16, 12))))])
    y = b.node(log, [b.node("Add", [y, b.constant(np.float32(1e-6))])])
    return b.build({b.node("MatMul", [y, b.random(12, 8)]): ["N", 19, 8]})


def integer_operators(model):
    names = set(place(model, STYLE).integer_nodes)
    return [node.op_type for node in model.graph.graph if node.name in names]


def test_filters_before_a_logarithm_stay_in_float_and_say_why():
    model = spectrum()
    assert integer_operators(model) == ["MatMul"]
    kept = {note.op_type: note.message for note in place(model, STYLE).notes if note.kept_float}
    assert kept == {"Conv": REASON, "MatMul": REASON}


@pytest.mark.parametrize("log", ["Sqrt", "Softmax"])
def test_other_functions_ask_for_nothing(log):
    assert integer_operators(spectrum(log=log)) == ["Conv", "MatMul", "MatMul"]


def test_an_activation_ends_the_filters():
    assert integer_operators(spectrum(activation="Relu")) == ["Conv", "MatMul"]


def test_a_net_that_ends_in_log_probabilities_is_no_spectrum():
    b = Builder(1)
    y = b.node("Softmax", [b.linear(b.input("x", ["N", 16]), 16, 4)], axis=-1)
    model = b.build({b.node("Log", [y]): ["N", 4]})
    assert not before_logarithms(model.graph.graph)
