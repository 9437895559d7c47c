"""Facts about graphs, held against models small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir import Model, load
from edgecompile.ir.facts import (
    TensorSpec,
    all_nodes,
    constant_array,
    constant_tensor,
    external_files,
    input_specs,
    macs,
    op_census,
    opset,
    output_specs,
    static_shape,
)
from tests.support.models import Builder, branches
from tests.support.protos import external, linear, model, value, weight, write


def _macs(built: Model, **options: int) -> list[int | None]:
    return [macs(node, **options) for node in all_nodes(built)]


def test_specs_of_inputs_and_outputs(tmp_path: Path) -> None:
    proto = model(inputs=[value("x", ["N", None, 3])], outputs=[value("y", [1, 2, 3])])
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    proto.graph.node[0].op_type = "Identity"
    loaded = load(write(proto, tmp_path))
    dtype = np.dtype(ml_dtypes.bfloat16)
    assert input_specs(loaded) == (TensorSpec(name="x", dtype=dtype, shape=("N", None, 3)),)
    assert output_specs(loaded) == (TensorSpec(name="y", dtype=dtype, shape=(1, 2, 3)),)


def test_inputs_that_are_not_tensors(tmp_path: Path) -> None:
    nodes = [helper.make_node("SequenceAt", ["s", "i"], ["y"])]
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, ["N", 4])
    index = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    loaded = load(write(model(nodes, inputs=[sequence, index]), tmp_path))
    with pytest.raises(EdgecompileError, match="EC-119: input 's'"):
        input_specs(loaded)
    assert [spec.name for spec in output_specs(loaded)] == ["y"]


def test_census_counts_subgraphs_functions_and_domains(tmp_path: Path) -> None:
    census = op_census(branches())
    assert census["If"] == 1
    assert sum(census.values()) == len(list(all_nodes(branches())))
    proto = model([helper.make_node("Twice", ["x"], ["y"], domain="mine")])
    add = helper.make_node("Add", ["a", "a"], ["b"])
    imports = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], [add], imports))
    proto.opset_import.add(domain="mine", version=1)
    loaded = load(write(proto, tmp_path))
    assert op_census(loaded) == {"Add": 1, "mine::Twice": 1}
    assert opset(loaded) == 17


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"value": onnx.numpy_helper.from_array(np.array([1, 2], np.int8))}, [1, 2]),
        ({"value_float": 2.5}, 2.5),
        ({"value_floats": [1.0, 2.0]}, [1, 2]),
        ({"value_int": 7}, 7),
        ({"value_ints": [7, 8]}, [7, 8]),
        ({"value_string": "a"}, b"a"),
    ],
)
def test_constants_of_every_spelling(
    tmp_path: Path, attributes: dict[str, object], expected: object
) -> None:
    nodes = [
        helper.make_node("Constant", [], ["c"], **attributes),
        helper.make_node("Relu", ["x"], ["y"]),
    ]
    loaded = load(write(model(nodes), tmp_path))
    constant, relu = loaded.graph.graph
    np.testing.assert_array_equal(constant_array(constant.outputs[0]), expected)  # type: ignore[arg-type]
    assert constant_array(relu.outputs[0]) is None
    assert constant_array(loaded.graph.graph.inputs[0]) is None
    assert constant_tensor(None) is None


def test_macs_of_a_convolution_and_a_linear_layer() -> None:
    b = Builder()
    x = b.input("x", [2, 3, 8, 8])
    x = b.conv(x, 3, 4)  # 3x3, same size
    x = b.conv(x, 4, 4, group=4, strides=[2, 2])
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x])])
    built = b.build({b.gemm(x, 4, 5): [2, 5]})
    expected = [2 * 4 * 64 * 27, 2 * 4 * 16 * 9, None, None, 2 * 4 * 5]
    assert _macs(built) == expected


def test_macs_of_a_transposed_convolution() -> None:
    b = Builder()
    x = b.input("x", [1, 4, 5, 5])
    built = b.build({b.node("ConvTranspose", [x, b.random(4, 3, 2, 2)]): [1, 3, 6, 6]})
    assert _macs(built) == [4 * 25 * 3 * 4]


@pytest.mark.parametrize(
    ("left", "right", "out", "expected"),
    [
        ([2, 3, 4], [4, 5], [2, 3, 5], 2 * 3 * 4 * 5),
        ([3, 4], [2, 4, 5], [2, 3, 5], 2 * 3 * 4 * 5),
        ([4], [4, 5], [5], 20),
        ([3, 4], [4], [3], 12),
        ([4], [4], [], 4),
    ],
)
def test_macs_of_matrix_products(
    left: list[int], right: list[int], out: list[int], expected: int
) -> None:
    b = Builder()
    product = b.node("MatMul", [b.input("a", left), b.input("b", right)])
    assert _macs(b.build({product: out})) == [expected]


def test_macs_of_a_transposed_gemm() -> None:
    b = Builder()
    product = b.node("Gemm", [b.input("a", [4, 3]), b.random(5, 4)], transA=1, transB=1)
    assert _macs(b.build({product: [3, 5]})) == [3 * 4 * 5]


def test_files_that_hold_weights(tmp_path: Path) -> None:
    assert external_files(load(write(linear(), tmp_path))) == ()
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "w.bin").write_bytes(weight().raw_data)
    write(linear(external(weight(), location="w.bin")), folder)
    (tmp_path / "link").symlink_to(folder)
    loaded = load(tmp_path / "link" / "model.onnx")
    assert external_files(loaded) == ((folder / "w.bin").resolve(),)


def test_dynamic_dimensions_are_not_guessed(tmp_path: Path) -> None:
    loaded = load(write(linear(), tmp_path))
    (node,) = loaded.graph.graph
    assert macs(node) is None
    assert macs(node, dynamic=1) == 16
    assert macs(node, dynamic=3) == 48
    assert static_shape(node.inputs[0]) is None
    assert static_shape(node.inputs[1]) == (4, 4)
    assert static_shape(None) is None
