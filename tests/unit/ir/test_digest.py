"""The digest depends on what a model says, and on nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecompile.ir import load, to_bytes
from edgecompile.ir.digest import tensor_sha256
from tests.support.models import conv_bn_relu
from tests.support.protos import external, linear, model, weight, write

ARRAY = numpy_helper.to_array(weight(size=64))


def _forms(directory: Path) -> dict[str, onnx.TensorProto]:
    """One weight in all the places that ONNX has for it."""
    (directory / "w.bin").write_bytes(bytes(100) + ARRAY.tobytes() + b"tail")
    typed = TensorProto(name="w", data_type=1, dims=ARRAY.shape, float_data=ARRAY.ravel().tolist())
    outside = external(weight(), location="w.bin", offset=100, length=ARRAY.nbytes)
    outside.dims[:] = ARRAY.shape
    return {"raw": numpy_helper.from_array(ARRAY, "w"), "typed": typed, "external": outside}


@pytest.mark.parametrize("form", ["raw", "typed", "external"])
def test_place_of_a_weight_does_not_matter(tmp_path: Path, form: str) -> None:
    expected = load(write(linear(numpy_helper.from_array(ARRAY, "w")), tmp_path))
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    weight_form = _forms(directory)[form]
    as_initializer = load(write(linear(weight_form), directory, "other.onnx"))
    assert as_initializer.digest == expected.digest
    assert to_bytes(as_initializer) == to_bytes(expected)

    forms = [numpy_helper.from_array(ARRAY, "w"), weight_form]
    constant = [helper.make_node("Constant", [], ["w"], value=tensor) for tensor in forms]
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"])
    first, second = (load(write(model([node, matmul]), directory)) for node in constant)
    assert first.digest == second.digest
    assert to_bytes(first) == to_bytes(second)


CHANGES: dict[str, Callable[[onnx.ModelProto], object]] = {
    "metadata": lambda m: m.metadata_props.add(key="a", value="b"),
    "opset": lambda m: setattr(m.opset_import[0], "version", 16),
    "ir_version": lambda m: setattr(m, "ir_version", 9),
    "producer": lambda m: setattr(m, "producer_name", "other"),
    "doc_string": lambda m: setattr(m.graph.node[0], "doc_string", "text"),
    "node name": lambda m: setattr(m.graph.node[0], "name", "other"),
    "input shape": lambda m: m.graph.input[0].type.tensor_type.shape.dim.add(),
    "symbol": lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_param", "B"),
    "weight": lambda m: setattr(m.graph.initializer[0], "raw_data", bytes(64)),
    "weight shape": lambda m: m.graph.initializer[0].dims.append(1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_shows(tmp_path: Path, name: str) -> None:
    before = load(write(linear(), tmp_path)).digest
    changed = linear()
    CHANGES[name](changed)
    assert load(write(changed, tmp_path)).digest != before


def test_renamed_input_and_output_show(tmp_path: Path) -> None:
    digests = set()
    for source, target in (("x", "y"), ("x2", "y"), ("x", "y2")):
        proto = linear()
        proto.graph.node[0].input[0] = proto.graph.input[0].name = source
        proto.graph.node[0].output[0] = proto.graph.output[0].name = target
        digests.add(load(write(proto, tmp_path)).digest)
    assert len(digests) == 3


def test_order_without_a_meaning_does_not_matter(tmp_path: Path) -> None:
    def build(step: int) -> onnx.ModelProto:
        nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[1, 1], pads=[0] * 4)]
        kernel = numpy_helper.from_array(np.ones((2, 1, 1, 1), np.float32), "w")
        bias = numpy_helper.from_array(np.ones(2, np.float32), "b")
        shape = ["N", 1, 4, 4]
        io = (
            [helper.make_tensor_value_info("x", 1, shape)],
            [helper.make_tensor_value_info("y", 1, ["N", 2, 4, 4])],
        )
        proto = model(nodes, weights=[kernel, bias][::step], inputs=io[0], outputs=io[1])
        attributes = list(proto.graph.node[0].attribute)[::step]
        del proto.graph.node[0].attribute[:]
        proto.graph.node[0].attribute.extend(attributes)
        proto.opset_import.add(domain="com.microsoft", version=1)
        imports = list(proto.opset_import)[::step]
        del proto.opset_import[:]
        proto.opset_import.extend(imports)
        for key in ("k1", "k2")[::step]:
            proto.metadata_props.add(key=key, value="v")
        return proto

    first, second = (load(write(build(step), tmp_path)) for step in (1, -1))
    assert first.digest == second.digest
    assert to_bytes(first) == to_bytes(second)


def test_renaming_through_a_clone_leaves_the_original_alone() -> None:
    original = conv_bn_relu()
    before = original.digest
    copy = original.clone()
    value = next(iter(copy.graph.graph.initializers.values()))
    value.name = "renamed"
    assert copy.digest != before
    assert original.clone().digest == before


def test_same_in_processes_with_other_hash_seeds(tmp_path: Path) -> None:
    path = write(linear(), tmp_path)
    script = "import sys, pathlib\nfrom edgecompile.ir import load\n"
    script += "print(load(pathlib.Path(sys.argv[1])).digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, path],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {load(path).digest + "\n"}


def test_an_array_that_can_still_change_is_hashed_again() -> None:
    array = np.zeros(4, np.float32)
    tensor = ir.tensor(array)
    before = tensor_sha256(tensor)
    array[0] = 1
    assert tensor_sha256(tensor) != before
    view = np.broadcast_to(array, (2, 4))
    shown = ir.tensor(view)
    before = tensor_sha256(shown)
    array[0] = 2
    assert tensor_sha256(shown) != before


def test_layout_in_memory_does_not_matter() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    expected = tensor_sha256(ir.tensor(array))
    for same in (np.asfortranarray(array), array[:, ::-1].copy()[:, ::-1]):
        assert tensor_sha256(ir.tensor(same)) == expected
