"""`remove_identity`: no-ops and pairs that undo each other, and those that only look like it."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgecompile.passes.graph.remove_identity import RemoveIdentity
from tests.support.models import Builder, apply, assert_same, operators


def chain(*steps, opset=17, shape=("N", 3, 4)):
    """Sigmoid, the steps, Sigmoid on `x [N, 3, 4]`. A step is (operator, constants, attributes)."""
    b = Builder(opset=opset)
    x = b.node("Sigmoid", [b.input("x", shape)])
    for op, constants, attributes in steps:
        x = b.node(op, [x, *(b.constant(np.asarray(c)) for c in constants)], **attributes)
    return b.build({b.node("Sigmoid", [x]): None})


ones, zeros = np.ones(1, np.float32), np.zeros((1, 1), np.float32)

NOTHING = {
    "identity": [("Identity", [], {})],
    "dropout": [("Dropout", [], {})],
    "cast": [("Cast", [], {"to": TensorProto.FLOAT})],
    "transpose": [("Transpose", [], {"perm": [0, 1, 2]})],
    "transposes": [("Transpose", [], {"perm": [1, 2, 0]}), ("Transpose", [], {"perm": [2, 0, 1]})],
    "concat": [("Concat", [], {"axis": 1})],
    "sum": [("Sum", [], {})],
    "add": [("Add", [np.float32(0)], {})],
    "sub": [("Sub", [zeros], {})],
    "mul": [("Mul", [ones], {})],
    "div": [("Div", [np.ones((3, 1), np.float32)], {})],
    "pad": [("Pad", [np.zeros(6, np.int64)], {})],
    "expand": [("Expand", [np.ones(1, np.int64)], {})],
    "split": [("Split", [np.array([3])], {"axis": 1})],
}

SOMETHING = {
    "cast": [("Cast", [], {"to": TensorProto.DOUBLE}), ("Cast", [], {"to": TensorProto.FLOAT})],
    "transpose": [("Transpose", [], {"perm": [0, 2, 1]})],
    "broadcast": [("Add", [np.zeros((2, 1, 1, 1), np.float32)], {})],
    "expand": [("Expand", [np.array([2, 1, 1, 1])], {})],
    "minus": [("Mul", [-ones], {})],
    "crop": [("Slice", [np.array([0]), np.array([2]), np.array([1])], {})],
    "reverse": [("Slice", [np.array([-1]), np.array([-9]), np.array([1]), np.array([-1])], {})],
    "flip": [("Reshape", [np.array([0, 4, 3])], {})],
}


@pytest.mark.parametrize("name", NOTHING)
def test_what_does_nothing_goes(name):
    model = chain(*NOTHING[name])
    cleaned = apply(RemoveIdentity(), model).model
    assert operators(cleaned) == ["Sigmoid", "Sigmoid"]
    assert_same(model, cleaned, tolerance=0)


@pytest.mark.parametrize("name", SOMETHING)
def test_what_does_something_stays(name):
    model = chain(*SOMETHING[name])
    cleaned = apply(RemoveIdentity(), model).model
    assert operators(cleaned) == operators(model)


def test_two_transposes_become_one():
    model = chain(("Transpose", [], {"perm": [1, 2, 0]}), ("Transpose", [], {"perm": [1, 0, 2]}))
    cleaned = apply(RemoveIdentity(), model).model
    assert operators(cleaned) == ["Sigmoid", "Transpose", "Sigmoid"]
    assert_same(model, cleaned, tolerance=0)


def test_two_reshapes_become_one_also_where_a_zero_copies_a_dimension():
    for last in ([-1, 2], [0, 2, 3]):
        model = chain(("Reshape", [np.array([-1, 6])], {}), ("Reshape", [np.array(last)], {}))
        # a 0 copies the dynamic dimension between the two, which is not a number: both stay
        expected = 1 if 0 not in last else 2
        cleaned = apply(RemoveIdentity(), model).model
        assert operators(cleaned).count("Reshape") == expected
        assert_same(model, cleaned, tolerance=0)


def test_a_dropout_in_training_stays():
    model = chain(("Dropout", [np.float32(0.5), np.array(True)], {}))
    assert "Dropout" in operators(apply(RemoveIdentity(), model).model)


def test_a_dropout_whose_mask_is_used_stays():
    b = Builder()
    y, mask = b.node("Dropout", [b.input("x", ["N", 2])], 2)
    masked = b.node("Where", [mask, y, b.constant(np.zeros(2))])
    model = b.build({masked: ["N", 2]})
    assert operators(apply(RemoveIdentity(), model).model) == ["Dropout", "Where"]


def test_an_identity_between_input_and_output_stays():
    b = Builder()
    model = b.build({b.node("Identity", [b.input("x", ["N", 2])]): ["N", 2]})
    assert operators(apply(RemoveIdentity(), model).model) == ["Identity"]


def test_two_outputs_of_one_value_keep_both_names():
    b = Builder()
    y = b.node("Neg", [b.input("x", ["N", 2])])
    model = b.build({y: ["N", 2], b.node("Identity", [y]): ["N", 2]})
    cleaned = apply(RemoveIdentity(), model).model
    assert operators(cleaned) == ["Neg", "Identity"]
    assert_same(model, cleaned)


def test_an_identity_of_an_outer_value_in_a_branch_stays_and_others_go():
    b = Builder()
    x, condition = b.input("x", ["N", 2]), b.input("condition", [], np.bool_)
    outer = b.node("Exp", [x])
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2]) for n in "tf"]
    yes = helper.make_graph([helper.make_node("Identity", [outer], ["t"])], "yes", [], [info[0]])
    inner = [helper.make_node("Identity", [outer], ["i"]), helper.make_node("Neg", ["i"], ["f"])]
    no = helper.make_graph(inner, "no", [], [info[1]])
    model = b.build({b.node("If", [condition], then_branch=yes, else_branch=no): ["N", 2]})
    cleaned = apply(RemoveIdentity(), model).model
    branch = cleaned.graph.graph[-1].attributes
    assert [n.op_type for n in branch["then_branch"].as_graph()] == ["Identity"]
    assert [n.op_type for n in branch["else_branch"].as_graph()] == ["Neg"]
    assert_same(model, cleaned)


def test_an_output_keeps_its_declared_shape():
    b = Builder()
    y = b.node("Identity", [b.node("Neg", [b.input("x", ["batch", 2])])])
    cleaned = apply(RemoveIdentity(), b.build({y: ["batch", 2]})).model
    (output,) = cleaned.graph.graph.outputs
    assert (output.name, str(output.shape)) == (y, "[batch,2]")
