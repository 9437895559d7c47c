"""`convert_opset`: the right numbers, nothing lost on the way, and clear refusals."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir import to_bytes
from edgecompile.ir.facts import opset
from edgecompile.passes.graph.convert_opset import ConvertOpset
from tests.support.models import (
    Builder,
    apply,
    assert_same,
    context,
    conv_bn_relu,
    from_proto,
    node_of,
    operators,
)


@pytest.mark.parametrize(
    ("given", "options", "highest", "wanted"),
    [
        (7, {}, 23, 13),
        (12, {}, 23, 13),
        (13, {}, 23, 13),
        (17, {}, 23, 17),
        (12, {"at_least": 17}, 23, 17),
        (18, {"at_least": 17}, 23, 18),
        (15, {"target": 21}, 23, 21),
        (18, {"target": 17}, 23, 17),
        (18, {}, 17, 17),
    ],
)
def test_which_opset_a_model_is_brought_to(given, options, highest, wanted):
    model = conv_bn_relu(opset=given)
    outcome = apply(ConvertOpset(**options), model, context(opset_max=highest))
    assert opset(outcome.model) == wanted
    assert outcome.changed == (given != wanted)
    assert_same(model, outcome.model)


def old_operators():
    """Opset 7: what later opsets say differently, most with a trap in it."""
    b = Builder(opset=7)
    x = b.input("x", ["N", 4, 6, 6])
    x = b.node("Upsample", [x], mode="linear", scales=[1.0, 1.0, 2.0, 2.0])
    x = b.node("Clip", [x], min=-1.0, max=1.5)
    x = b.node("Pad", [x], pads=[0, 0, 1, 0, 0, 0, 0, 1], value=0.25)
    x = b.node("Dropout", [x], ratio=0.5)
    x = b.node("Softmax", [x], axis=1)
    x = b.node("Slice", [x], axes=[2, 3], starts=[1, 0], ends=[9, -2])
    left, right = b.node("Split", [x], 2, axis=1, split=[1, 3])
    x = b.node("Concat", [right, left], axis=1)
    x = b.node("ReduceSum", [x], axes=[3], keepdims=0)
    x = b.node(
        "Unsqueeze", [b.node("Squeeze", [b.node("Unsqueeze", [x], axes=[0])], axes=[0])], axes=[3]
    )
    return b.build({x: ["N", 4, 8, 1]}, metadata={"alphabet": "abc"})


@pytest.mark.parametrize("wanted", [9, 11, 13, 17, 18, 21, 23])
def test_old_operators_keep_their_numbers(wanted):
    model = old_operators()
    converted = apply(ConvertOpset(target=wanted), model).model
    onnx.checker.check_model(onnx.ModelProto.FromString(to_bytes(converted)), full_check=True)
    assert_same(model, converted, batch=3)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_flattening_operators_keep_their_numbers(op, axis):
    b = Builder(opset=12)
    model = b.build({b.node(op, [b.input("x", ["N", 3, 4])], axis=axis): ["N", 3, 4]})
    assert_same(model, apply(ConvertOpset(target=13), model).model)


@pytest.mark.parametrize("scales", [[1.0, 1.0, 2.5, 1.5], [1.0, 1.0, 0.5, 0.6]])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_keeps_the_coordinates_that_it_had(scales, mode):
    b = Builder(opset=10)
    x = b.input("x", ["N", 1, 7, 9])
    y = b.node("Resize", [x, b.constant(np.array(scales, np.float32))], mode=mode)
    model = b.build({y: None})
    assert_same(model, apply(ConvertOpset(target=13), model).model)


def test_names_documentation_metadata_and_foreign_operators_survive():
    b = Builder(opset=12)
    x = b.node("Gelu", [b.input("x", ["N", 6])], domain="com.microsoft")
    x = b.node("Squeeze", [b.node("Unsqueeze", [x], axes=[1])], axes=[1])
    proto = b.proto({x: ["N", 6]}, metadata={"alphabet": "a\nb"})
    proto.doc_string = "a model"
    proto.graph.node[2].doc_string = "the last"
    entry = proto.graph.node[2].metadata_props.add()
    entry.key, entry.value = "module", "head"
    model = from_proto(proto)
    converted = apply(ConvertOpset(), model).model
    assert operators(converted) == ["Gelu", "Unsqueeze", "Squeeze"]
    assert [n.name for n in converted.graph.graph] == [n.name for n in model.graph.graph]
    last = node_of(converted, "Squeeze")
    assert (last.doc_string, last.metadata_props) == ("the last", {"module": "head"})
    assert converted.graph.doc_string == "a model"
    assert converted.graph.metadata_props == {"alphabet": "a\nb"}
    assert converted.graph.opset_imports == {"": 13, "com.microsoft": 1}
    assert_same(model, converted)


def test_weights_are_not_copied():
    model = conv_bn_relu(opset=12)
    converted = apply(ConvertOpset(target=21), model).model
    for name, value in model.graph.graph.initializers.items():
        assert converted.graph.graph.initializers[name].const_value is value.const_value


def test_bodies_of_control_flow_are_converted():
    b = Builder(opset=12)
    x, condition = b.input("x", ["N", 1, 3]), b.input("condition", [], np.bool_)
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in "tf"]
    yes = helper.make_graph(
        [helper.make_node("Squeeze", [x], ["t"], axes=[1])], "yes", [], [info[0]]
    )
    no = helper.make_graph(
        [helper.make_node("ReduceSum", [x], ["f"], axes=[1], keepdims=0)], "no", [], [info[1]]
    )
    model = b.build({b.node("If", [condition], then_branch=yes, else_branch=no): ["N", 3]})
    converted = apply(ConvertOpset(target=18), model).model
    assert_same(model, converted)
    onnx.checker.check_model(onnx.ModelProto.FromString(to_bytes(converted)), full_check=True)


def test_functions_are_inlined_first():
    body = [helper.make_node("Squeeze", ["a"], ["b"], axes=[1])]
    function = helper.make_function(
        "local", "Drop", ["a"], ["b"], body, [helper.make_opsetid("", 12)]
    )
    b = Builder(opset=12)
    proto = b.proto({b.node("Drop", [b.input("x", ["N", 1, 3])], domain="local"): ["N", 3]})
    proto.functions.append(function)
    model = from_proto(proto)
    outcome = apply(ConvertOpset(), model)
    assert operators(outcome.model) == ["Squeeze"]
    assert any("inlined" in note.message for note in outcome.notes)
    assert_same(model, outcome.model)


def test_every_operator_without_a_conversion_is_named():
    b = Builder(opset=17)
    x = b.input("x", ["N", 2, 4])
    x = b.node("LayerNormalization", [x, b.random(4)], axis=-1)
    x = b.node("Add", [x, b.node("BlackmanWindow", [b.constant(np.array(4))])])
    model = b.build({x: ["N", 2, 4]})
    with pytest.raises(EdgecompileError) as caught:
        ConvertOpset(target=13).run(model, context())
    messages = [d.message for d in caught.value.diagnostics]
    assert [d.code for d in caught.value.diagnostics] == ["EC-420", "EC-420"]
    assert "'LayerNormalization' cannot be converted from opset 17 to 13" in messages[0]
    assert "'BlackmanWindow'" in messages[1]
    assert caught.value.diagnostics[0].where.node == "layernormalization_0"


def test_an_attribute_that_is_younger_than_the_wanted_opset_blocks_unless_it_says_nothing():
    def pool(dilation):
        b = Builder(opset=19)
        x = b.input("x", ["N", 2, 8, 8])
        y = b.node("AveragePool", [x], kernel_shape=[2, 2], dilations=[dilation] * 2)
        y = b.node("Cast", [y], to=TensorProto.FLOAT, saturate=1)
        return b.build({y: None})

    with pytest.raises(EdgecompileError, match="'dilations' does not exist at opset 18"):
        ConvertOpset(target=18).run(pool(2), context())
    with pytest.raises(EdgecompileError, match="'dilations'"):
        ConvertOpset(target=18).run(pool(1), context())
    b = Builder(opset=19)
    cast = b.node("Cast", [b.input("x", ["N"])], to=TensorProto.DOUBLE, saturate=1)
    model = b.build({cast: ["N"]}, dtype=np.float64)
    assert_same(model, apply(ConvertOpset(target=18), model).model)


def test_a_scan_of_before_opset_9_is_refused():
    value = helper.make_tensor_value_info
    info = [value("a", TensorProto.FLOAT, [2]), value("b", TensorProto.FLOAT, [2])]
    body = helper.make_graph([helper.make_node("Neg", ["a"], ["b"])], "body", [info[0]], [info[1]])
    b = Builder(opset=8)
    y = b.node("Scan", ["", b.input("x", ["N", 3, 2])], body=body, num_scan_inputs=1)
    with pytest.raises(EdgecompileError, match="Scan has another meaning since opset 9"):
        ConvertOpset().run(b.build({y: ["N", 3, 2]}), context())


def test_opsets_outside_of_the_range_are_refused_before_any_work():
    model = conv_bn_relu(opset=12)
    (problem,) = ConvertOpset(target=23).requires(model, context(opset_max=19))
    assert problem.code == "EC-421"
    assert problem.message == "opset 23 is asked for, but the target imports opsets 7 to 19"


def test_a_constant_that_an_adapter_reads_is_found_wherever_it_is():
    proto = onnx.ModelProto.FromString(to_bytes(conv_bn_relu(opset=17)))
    del proto.graph.node[:], proto.graph.initializer[:], proto.graph.output[:], proto.graph.input[:]
    axes = numpy_helper.from_array(np.array([1]), "axes")
    proto.graph.node.extend(
        [
            helper.make_node("Constant", [], ["axes"], value=axes),
            helper.make_node("Unsqueeze", ["x", "axes"], ["y"]),
        ]
    )
    proto.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2]))
    proto.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1, 2]))
    model = from_proto(proto)
    converted = apply(ConvertOpset(target=12), model).model
    assert node_of(converted, "Unsqueeze").attributes["axes"].as_ints() == (1,)
    assert_same(model, converted)
