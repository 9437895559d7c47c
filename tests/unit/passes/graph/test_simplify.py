"""`simplify`: what it folds, what it must not touch, and what it must not make larger."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir import to_bytes
from edgecompile.ir.digest import model_digest
from edgecompile.passes.fuse.fuse_conv_pad import FuseConvPad
from edgecompile.passes.graph.convert_opset import ConvertOpset
from edgecompile.passes.graph.simplify import Simplify
from tests.support.models import (
    Builder,
    apply,
    assert_same,
    attention,
    context,
    conv_bn_relu,
    feeds,
    from_proto,
    operators,
    run,
)


def padding_chain():
    """Padding as PyTorch's TorchScript exporter writes `F.pad`, on a dynamic batch."""
    b = Builder()
    x = b.input("x", ["N", 3, 8, 8])
    four = b.node("Constant", [], value_ints=[0, 1, 0, 1])
    missing = b.node("Sub", [b.constant(np.array([8])), b.node("Shape", [four])])
    zeros = b.node("ConstantOfShape", [missing])
    pairs = b.node("Concat", [four, b.node("Cast", [zeros], to=TensorProto.INT64)], axis=0)
    pairs = b.node("Reshape", [pairs, b.constant(np.array([-1, 2]))])
    ends = [b.constant(np.array(v)) for v in ([-1], [np.iinfo(np.int64).min], [0], [-1])]
    flipped = b.node("Slice", [pairs, *ends])
    pads = b.node(
        "Reshape", [b.node("Transpose", [flipped], perm=[1, 0]), b.constant(np.array([-1]))]
    )
    padded = b.node("Pad", [x, b.node("Cast", [pads], to=TensorProto.INT64)])
    return b.build({b.conv(padded, 3, 4, pads=[0, 0, 0, 0], strides=[2, 2]): ["N", 4, 4, 4]})


def test_padding_chain_vanishes_into_the_conv_and_the_batch_stays_dynamic():
    model = padding_chain()
    slim = apply(Simplify(), model).model
    assert operators(slim) == ["Pad", "Conv"]
    fused = apply(FuseConvPad(), slim).model
    assert operators(fused) == ["Conv"]
    assert tuple(next(iter(fused.graph.graph)).attributes["pads"].as_ints()) == (0, 0, 1, 1)
    for batch in (1, 3):
        assert_same(model, fused, batch=batch)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("way", ["no axes", "axes", "reshape"])
def test_what_makes_a_scalar_names_all_axes(way, opset):
    """Without axes and with a free batch the rank is open, which OpenVINO refuses to compile; on a
    Reshape to no axes it crashes."""
    b = Builder(opset=opset)
    y = b.linear(b.input("x", ["N", 8]), 8, 1)
    if way == "reshape":
        y = b.node("Reshape", [y, b.constant(np.zeros(0, np.int64))])
    elif way == "no axes":
        y = b.node("Squeeze", [y])
    elif opset < 13:
        y = b.node("Squeeze", [y], axes=[0, 1])
    else:
        y = b.node("Squeeze", [y, b.constant(np.array([0, 1]))])
    model = b.build({b.node("Mul", [b.node("Sigmoid", [y]), b.constant(np.float32(4))]): []})
    slim = apply(Simplify(), model).model
    assert "Reshape" not in operators(slim)
    squeeze = next(node for node in slim.graph.graph if node.op_type == "Squeeze")
    assert len(squeeze.inputs) == (1 if opset < 13 else 2)
    assert_same(model, slim, batch=1)


def test_a_squeeze_whose_rank_is_open_stays():
    b = Builder()
    model = b.build({b.node("Squeeze", [b.linear(b.input("x", ["N", 8]), 8, 1)]): ["N"]})
    assert "Squeeze" in operators(apply(Simplify(), model).model)


def test_constant_nodes_become_initializers_and_the_given_model_keeps_them():
    proto = onnx.ModelProto.FromString(to_bytes(conv_bn_relu()))
    for tensor in proto.graph.initializer:
        proto.graph.node.insert(
            0,
            helper.make_node("Constant", [], [tensor.name], value=tensor, name=f"c_{tensor.name}"),
        )
    del proto.graph.initializer[:]
    model = from_proto(proto)
    before = model_digest(model.graph)
    slim = apply(Simplify(), model).model
    assert "Constant" not in operators(slim)
    assert len(slim.graph.graph.initializers) == len(proto.graph.node) - len(operators(slim))
    assert model_digest(model.graph) == before
    assert_same(model, slim)


def test_shapes_that_are_known_are_written_down_and_lengths_stay_dynamic():
    model = attention()
    slim = apply(Simplify(), model).model
    assert "Shape" not in operators(slim)
    reshape = next(node for node in slim.graph.graph if node.op_type == "Reshape")
    assert reshape.inputs[1].const_value.numpy().tolist() == [0, 0, 2, 4]
    for length in (1, 5):
        assert_same(model, slim, L=length)


def test_a_table_is_not_stored_twice():
    b = Builder()
    table = b.random(300, 256)
    ids = b.input("ids", ["N"], np.int64)
    turned = b.node("Transpose", [table], perm=[1, 0])
    product = b.node("MatMul", [b.node("Gather", [table, ids]), turned])
    model = b.build({product: ["N", 300]})
    slim = apply(Simplify(), model).model
    assert operators(slim).count("Transpose") == 1
    assert len(to_bytes(slim)) < 1.01 * len(to_bytes(model))


def test_a_weight_of_its_own_is_laid_out_anew_whatever_its_size():
    b = Builder()
    weight = b.node("Transpose", [b.random(300, 256)], perm=[1, 0])
    model = b.build({b.node("MatMul", [b.input("x", ["N", 256]), weight]): ["N", 300]})
    slim = apply(Simplify(), model).model
    assert operators(slim) == ["MatMul"]
    assert_same(model, slim)


def test_a_small_recipe_for_a_huge_constant_is_not_executed():
    b = Builder()
    huge = b.node("ConstantOfShape", [b.constant(np.array([1 << 40]))])
    sized = b.node("Expand", [b.constant(np.float32(1)), b.constant(np.array([1 << 20, 1 << 20]))])
    x = b.input("x", ["N"])
    first, second = (b.node("ReduceMax", [v], keepdims=0) for v in (huge, sized))
    model = b.build({b.node("Sum", [x, first, second]): ["N"]})
    slim = apply(Simplify(), model).model
    assert {"ConstantOfShape", "Expand"} <= set(operators(slim))


def test_quantized_weights_stay_quantized():
    b = Builder()
    q = b.constant(np.arange(8, dtype=np.int8).reshape(4, 2))
    w = b.node("DequantizeLinear", [q, b.constant(np.float32(0.1)), b.constant(np.int8(0))])
    model = b.build({b.node("MatMul", [b.input("x", ["N", 4]), w]): ["N", 2]})
    assert "DequantizeLinear" in operators(apply(Simplify(), model).model)


def test_random_numbers_are_not_folded():
    b = Builder()
    noise = b.node("RandomNormal", [], shape=[2])
    model = b.build({b.node("Add", [b.input("x", ["N", 2]), noise]): ["N", 2]})
    assert "RandomNormal" in operators(apply(Simplify(), model).model)


def test_a_branch_that_is_always_taken_replaces_its_if():
    b = Builder()
    x = b.input("x", ["N", 2])
    outer = b.node("Abs", [x])
    kept = b.node("Exp", [x])
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2]) for n in "tf"]
    yes = helper.make_graph([helper.make_node("Relu", [outer], ["t"])], "yes", [], [info[0]])
    no = helper.make_graph([helper.make_node("Neg", [kept], ["f"])], "no", [], [info[1]])
    taken = b.node("If", [b.constant(np.array(True))], then_branch=yes, else_branch=no)
    model = b.build({b.node("Sqrt", [taken]): ["N", 2]})
    slim = apply(Simplify(), model).model
    # Exp fed the other branch only, and must not outlive it
    assert operators(slim) == ["Abs", "Relu", "Sqrt"]
    assert_same(model, slim)


def test_functions_are_inlined_unless_asked_not_to():
    twice = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    b = Builder()
    proto = b.proto({b.node("Twice", [b.input("x", ["N", 2])], domain="local"): ["N", 2]})
    proto.functions.append(twice)
    model = from_proto(proto)
    slim = apply(Simplify(), model).model
    assert operators(slim) == ["Add"]
    assert not slim.graph.functions and "local" not in slim.graph.opset_imports
    assert_same(model, slim)
    assert operators(apply(Simplify(inline_functions=False), model).model) == ["Twice"]


def test_weights_listed_as_inputs_become_constants_and_are_told():
    proto = onnx.ModelProto.FromString(to_bytes(conv_bn_relu()))
    for tensor in proto.graph.initializer:
        info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(info)
    outcome = apply(Simplify(), from_proto(proto))
    assert [value.name for value in outcome.model.graph.graph.inputs] == ["x"]
    assert any("inputs with a default value became constants" in n.message for n in outcome.notes)


def test_equal_nodes_and_equal_constants_are_shared():
    b = Builder()
    x = b.input("x", ["N", 4])
    left = b.node("Add", [b.node("Exp", [x]), b.constant(np.ones(4))])
    right = b.node("Add", [b.node("Exp", [x]), b.constant(np.ones(4))])
    model = b.build({b.node("Mul", [left, right]): ["N", 4]})
    slim = apply(Simplify(), model).model
    assert operators(slim) == ["Exp", "Add", "Mul"]
    assert len(slim.graph.graph.initializers) == 1


def test_an_output_that_is_constant_or_an_input_keeps_its_name():
    b = Builder()
    x = b.input("x", ["N", 2])
    folded = b.node("Add", [b.constant(np.ones(2)), b.constant(np.ones(2))])
    passed = b.node("Identity", [x])
    model = b.build({folded: [2], passed: ["N", 2], b.node("Neg", [x]): ["N", 2]})
    slim = apply(Simplify(), model).model
    assert_same(model, slim)


def test_metadata_documentation_and_foreign_operators_survive():
    b = Builder()
    x = b.node("Gelu", [b.input("x", ["N", 4])], domain="com.microsoft")
    proto = b.proto(
        {b.node("Identity", [b.node("Relu", [x])]): ["N", 4]}, metadata={"alphabet": "abc"}
    )
    proto.doc_string, proto.graph.doc_string = "a model", "a graph"
    proto.graph.node[0].doc_string = "the foreign one"
    slim = apply(Simplify(), from_proto(proto)).model
    node = next(iter(slim.graph.graph))
    assert (node.domain, node.op_type, node.doc_string) == (
        "com.microsoft",
        "Gelu",
        "the foreign one",
    )
    assert (slim.graph.doc_string, slim.graph.graph.doc_string) == ("a model", "a graph")
    assert slim.graph.opset_imports == {"": 17, "com.microsoft": 1}
    assert not [v for v in slim.graph.graph.initializers.values() if v.metadata_props]


def test_functions_that_cannot_be_inlined_stay_and_are_told():
    body = [helper.make_node("Neg", ["a"], ["b"])]
    imports = [helper.make_opsetid("", 13)]
    b = Builder()
    proto = b.proto({b.node("Minus", [b.input("x", ["N", 2])], domain="local"): ["N", 2]})
    proto.functions.append(helper.make_function("local", "Minus", ["a"], ["b"], body, imports))
    model = from_proto(proto)
    outcome = apply(Simplify(), model)
    assert operators(outcome.model) == ["Minus"]
    (note,) = outcome.notes
    assert note.message.startswith("EC-426: onnx_ir's inliner could not work on this model")
    with pytest.raises(EdgecompileError, match="'Minus' cannot be converted from opset 17 to 18"):
        ConvertOpset(target=18).run(model, context())


def test_what_the_folder_cannot_do_is_a_note_and_no_failure(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Error during constant folding for node 'a'") from KeyError("axis")

    monkeypatch.setattr("onnxscript.optimizer.fold_constants_ir", fail)
    model = conv_bn_relu()
    outcome = Simplify().run(model, None)
    assert any("EC-426" in n.message and "KeyError: 'axis'" in n.message for n in outcome.notes)
    assert_same(model, outcome.model)


def test_what_the_folder_gets_wrong_is_kept_from_it():
    b = Builder(opset=19)
    kind = b.constant(np.zeros(1, np.float16))
    x = b.input("x", ["N", 3])
    cast = b.node("CastLike", [x, kind], saturate=0)
    model = b.build({b.node("Cast", [cast], to=TensorProto.FLOAT): ["N", 3]})
    slim = apply(Simplify(), model).model
    assert operators(slim)[0] == "CastLike"
    assert all(node.domain == "" for node in slim.graph.graph)


def test_the_same_model_gives_the_same_bytes():
    first, second = (to_bytes(Simplify().run(attention(), None).model) for _ in range(2))
    assert first == second


def test_weights_are_shared_with_the_model_given_and_not_copied():
    model = conv_bn_relu()
    slim = Simplify().run(model, None).model
    for name, value in slim.graph.graph.initializers.items():
        assert value.const_value is model.graph.graph.initializers[name].const_value


def test_strings_and_integers_fold_as_they_run():
    b = Builder()
    negative = b.node("Div", [b.constant(np.array([-7, 7])), b.constant(np.array([2, 2]))])
    x = b.input("x", ["N", 2], np.int64)
    model = b.build({b.node("Add", [x, negative]): ["N", 2]}, dtype=np.int64)
    slim = apply(Simplify(), model).model
    assert run(slim, {"x": np.zeros((1, 2), np.int64)})[0].tolist() == [[-3, 3]]
    assert feeds(slim).keys() == {"x"}
    assert isinstance(slim.graph, ir.Model)
