"""`freeze_shapes`: which dimensions get a value, and which contradictions are refused."""

import numpy as np
import pytest

from edgecompile.ir.facts import input_specs, output_specs
from edgecompile.passes.graph.freeze_shapes import FreezeShapes
from edgecompile.passes.graph.simplify import Simplify
from tests.support.models import (
    Builder,
    apply,
    assert_same,
    attention,
    context,
    conv_bn_relu,
    operators,
)


def shapes(model):
    return [spec.shape for spec in (*input_specs(model), *output_specs(model))]


def problems(options, model, **facts):
    found = FreezeShapes(**options).requires(model, context(**facts))
    return [f"{problem.code} {problem.message}" for problem in found]


def test_the_batch_is_one_by_default_and_every_shape_follows():
    model = conv_bn_relu()
    frozen = apply(FreezeShapes(), model).model
    assert shapes(frozen) == [(1, 3, 8, 8), (1, 5)]
    values = [value for node in frozen.graph.graph for value in node.outputs]
    assert all(value.shape.is_static() for value in values)
    assert_same(frozen, model, batch=1)


def test_symbols_are_frozen_wherever_they_occur_and_others_stay():
    model = attention()
    frozen = apply(FreezeShapes(dims={"L": 6}, batch=None), model).model
    assert shapes(frozen) == [("N", 6), ("N", 6, 8)]
    assert_same(frozen, model, batch=2, L=6)


def test_frozen_shapes_let_shape_arithmetic_fold():
    model = attention()
    frozen = apply(FreezeShapes(inputs={"ids": (2, 6)}), model).model
    slim = apply(Simplify(), frozen).model
    assert shapes(slim) == [(2, 6), (2, 6, 8)]
    assert not {"Shape", "Concat", "Unsqueeze"} & set(operators(slim))
    assert_same(frozen, slim)


def test_nothing_dynamic_is_nothing_to_do():
    frozen = apply(FreezeShapes(), conv_bn_relu()).model
    assert not apply(FreezeShapes(), frozen).changed


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dims": {"M": 1}}, "EC-423 freeze_shapes names the dimension 'M', which the model"),
        ({"inputs": {"y": (1,)}}, "EC-423 freeze_shapes names the input 'y', which the model"),
        (
            {"inputs": {"x": (1, 3)}},
            "EC-424 input 'x' is [N, 3, 8, 8], and freeze_shapes asks for [1, 3]",
        ),
        ({"inputs": {"x": (1, 4, 8, 8)}}, "dimension 3 is fixed"),
        ({"dims": {"N": 2}, "inputs": {"x": (1, 3, 8, 8)}}, "'N' is 2 elsewhere"),
    ],
)
def test_contradictions_are_refused(options, expected):
    (problem,) = problems(options, conv_bn_relu())
    assert expected in problem


def test_one_symbol_on_two_inputs_takes_one_value():
    b = Builder()
    total = b.node("Add", [b.input("x", ["N", 2]), b.input("y", ["N", 2])])
    model = b.build({total: ["N", 2]})
    assert problems({"inputs": {"x": (1, 2), "y": (1, 2)}}, model) == []
    (problem,) = problems({"inputs": {"x": (1, 2), "y": (3, 2)}}, model)
    assert "'N' is 1 elsewhere" in problem
    assert shapes(apply(FreezeShapes(inputs={"x": (4, 2)}), model).model) == [(4, 2)] * 3


def test_a_static_target_wants_every_dimension():
    (problem,) = problems({}, attention(), static_shapes=True)
    assert problem == "EC-425 the target needs static shapes, but input 'ids' keeps [1, L]"
    assert problems({"dims": {"L": 8}}, attention(), static_shapes=True) == []
    assert problems({}, attention(), static_shapes=False) == []


def test_all_problems_are_told_at_once():
    options = {"dims": {"M": 1, "O": 2}, "inputs": {"x": (1, 4, 8, 8)}}
    assert len(problems(options, conv_bn_relu())) == 3


@pytest.mark.parametrize("wrong", [{"dims": {"N": 0}}, {"inputs": {"x": [-1]}}, {"batch": 0}])
def test_dimensions_are_positive(wrong):
    with pytest.raises(ValueError, match="greater than 0"):
        FreezeShapes(**wrong)


def test_an_integer_input_and_an_unnamed_dimension_are_frozen_too():
    b = Builder()
    ids = b.input("ids", ["", 2], np.int64)
    model = b.build({b.node("Gather", [b.random(8, 3), ids]): None})
    assert shapes(apply(FreezeShapes(batch=3), model).model) == [(3, 2), (3, 2, 3)]
