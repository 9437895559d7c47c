"""Inference fills gaps, keeps what is known, and gives up without harm."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from edgecompile.ir import Model, load
from edgecompile.ir.shapes import infer
from tests.support.models import attention, branches, conv_bn_relu
from tests.support.protos import model, value, weight, write


def _shapes(built: Model) -> dict[str, list[object]]:
    values = (v for graph in built.graph.graphs() for node in graph for v in node.outputs)
    return {
        str(v.name): [d if isinstance(d, int) else d.value for d in v.shape]
        for v in values
        if v.shape is not None
    }


@pytest.mark.parametrize("make", [conv_bn_relu, attention, branches])
def test_nothing_new_gives_the_same_object(make: object) -> None:
    built = make()  # type: ignore[operator]
    inferred = infer(built)
    assert infer(inferred) is inferred
    assert inferred.digest == built.digest


def test_numbers_replace_symbols_when_an_input_becomes_static() -> None:
    built = conv_bn_relu()
    before = built.digest
    fixed = built.clone()
    fixed.graph.graph.inputs[0].shape = ir.Shape([2, 3, 8, 8])
    inferred = infer(fixed)
    assert inferred is not fixed
    assert all(isinstance(dim, int) for shape in _shapes(inferred).values() for dim in shape)
    assert _shapes(inferred)[str(inferred.graph.graph.outputs[0].name)] == [2, 5]
    assert built.digest == before


def test_a_new_node_gets_its_type() -> None:
    built = conv_bn_relu().clone()
    graph = built.graph.graph
    node = ir.node("Relu", [graph.outputs[0]])
    graph.append(node)
    assert node.outputs[0].shape is None
    inferred = infer(built)
    assert _shapes(inferred)[str(node.outputs[0].name)] == ["N", 5]
    assert node.outputs[0].shape is None


def test_values_of_the_same_name_in_two_branches(tmp_path: Path) -> None:
    def branch(perm: list[int]) -> onnx.GraphProto:
        nodes = [
            helper.make_node("Transpose", ["x"], ["t"], perm=perm),
            helper.make_node("Identity", ["t"], ["r"]),
        ]
        return helper.make_graph(nodes, f"branch{perm}", [], [value("r", None)])

    flag = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch([1, 0]), else_branch=branch([0, 1])
    )
    proto = model([node], inputs=[value("x", [2, 3]), flag], outputs=[value("y", None)])
    loaded = load(write(proto, tmp_path))
    found = {
        graph.name: [d for node in graph for d in node.outputs[0].shape or ()][:2]
        for graph in loaded.graph.graph.subgraphs()
    }
    assert found == {"branch[1, 0]": [3, 2], "branch[0, 1]": [2, 3]}


def test_wrong_claims_in_the_model_do_not_stop_loading(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    proto = model(nodes, weights=[weight()])
    proto.graph.value_info.append(value("h", [7, 7, 7]))
    assert _shapes(load(write(proto, tmp_path)))["h"] == [7, 7, 7]
    undefined = proto.graph.value_info[0]
    undefined.type.tensor_type.elem_type = TensorProto.UNDEFINED
    assert _shapes(load(write(proto, tmp_path)))["h"] == ["N", 4]


def test_a_claimed_length_does_not_cost_its_memory(tmp_path: Path) -> None:
    """ONNX follows the values of shapes, and would make room for all that a shape claims."""
    nodes = [
        helper.make_node("Concat", ["s", "s"], ["t"], axis=0),
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("Reshape", ["h", "t"], ["y"]),
    ]
    claim = helper.make_tensor_value_info("s", TensorProto.INT64, [2**40])
    loaded = load(write(model(nodes, inputs=[value("x"), claim]), tmp_path))
    assert _shapes(loaded)["h"] == ["N", 4]


def test_outputs_declared_as_scalars_that_are_none_get_their_shape(tmp_path: Path) -> None:
    """Converters of Paddle's models write an empty shape where they know of none."""
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("ReduceMax", ["x"], ["z"], keepdims=0),
    ]
    loaded = load(write(model(nodes, outputs=[value("y", []), value("z", [])]), tmp_path))
    assert [list(output.shape) for output in loaded.graph.graph.outputs] == [["N", 4], []]
