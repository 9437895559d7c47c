"""`remove_dead`: what no output depends on goes; inputs and outputs never do."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgecompile.passes.graph.remove_dead import RemoveDead
from tests.support.models import Builder, apply, assert_same, conv_bn_relu, from_proto, operators


def test_dead_nodes_weights_functions_and_imports_go_and_inputs_stay():
    b = Builder()
    x, unread = b.input("x", ["N", 2]), b.input("unread", ["N", 9])
    b.node("Gelu", [b.node("Mul", [x, b.random(2)])], domain="com.microsoft")
    proto = b.proto({b.node("Relu", [x]): ["N", 2]})
    body = [helper.make_node("Neg", ["a"], ["b"])]
    imports = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("local", "F", ["a"], ["b"], body, imports))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    model = from_proto(proto)
    cleaned = apply(RemoveDead(), model).model
    assert operators(cleaned) == ["Relu"]
    assert [value.name for value in cleaned.graph.graph.inputs] == [x, unread]
    assert not cleaned.graph.graph.initializers and not cleaned.graph.functions
    assert cleaned.graph.opset_imports == {"": 17}
    assert_same(model, cleaned)


def test_a_body_lets_go_of_what_only_it_used():
    b = Builder()
    x, condition = b.input("x", ["N", 2]), b.input("condition", [], np.bool_)
    outer = b.node("Exp", [x])
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2]) for n in "tf"]
    table = numpy_helper.from_array(np.ones(2, np.float32), "table")
    yes = helper.make_graph(
        [helper.make_node("Neg", [outer], ["t"])], "yes", [], [info[0]], [table]
    )
    no = helper.make_graph([helper.make_node("Abs", [outer], ["f"])], "no", [], [info[1]])
    b.node("If", [condition], then_branch=yes, else_branch=no)
    model = b.build({b.node("Relu", [x]): ["N", 2]})
    assert operators(apply(RemoveDead(), model).model) == ["Relu"]


def test_unused_optional_outputs_go_and_a_training_batch_norm_stays_as_it_is():
    b = Builder()
    pooled, _ = b.node("MaxPool", [b.input("x", ["N", 2, 4, 4])], 2, kernel_shape=[2, 2])
    model = b.build({pooled: ["N", 2, 3, 3]})
    cleaned = apply(RemoveDead(), model).model
    assert len(cleaned.graph.graph[0].outputs) == 1
    assert_same(model, cleaned)


def test_a_clean_model_is_given_back_as_it_is():
    model = conv_bn_relu()
    outcome = apply(RemoveDead(), model)
    assert outcome.model is model
