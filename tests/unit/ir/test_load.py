"""Every kind of file that is not a sound model gives its own code."""

from __future__ import annotations

import os
import pickle
import random
import threading
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.ir import Limits, load
from edgecompile.ir.facts import constant_array, input_specs
from tests.support.protos import codes, linear, model, refusal, value, weight, write

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"hello, this is not a model at all\n", "text"),
        (b'{"ir_version": 8, "graph": {}}', "text"),
        (PNG, "PNG"),
        (pickle.dumps({"weights": [1.0, 2.0]}), "pickle"),
        (b"PK\x03\x04" + bytes(60), "zip"),
        (bytes(4) + b"TFL3" + bytes(40), "TensorFlow Lite"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (random.Random(1).randbytes(4096), "protobuf"),
        (bytes(100), ""),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "no graph"),
    ],
)
def test_files_that_are_not_onnx(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    error = refusal(path)
    assert codes(error) == ["EC-105"]
    assert word in error.diagnostics[0].message
    assert error.exit_code == ExitCode.REJECTED
    assert error.diagnostics[0].where.file == str(path)


def test_places_that_are_not_files(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    os.mkfifo(tmp_path / "pipe.onnx")
    assert codes(refusal(tmp_path / "missing.onnx")) == ["EC-101"]
    assert codes(refusal(tmp_path / "empty.onnx" / "inside")) == ["EC-101"]
    assert codes(refusal(tmp_path)) == ["EC-102"]
    assert codes(refusal(tmp_path / "pipe.onnx")) == ["EC-102"]
    assert codes(refusal(Path("/dev/zero"))) == ["EC-102"]
    assert codes(refusal(tmp_path / "empty.onnx")) == ["EC-104"]
    assert codes(refusal(Path("model\0.onnx"))) == ["EC-103"]
    assert refusal(tmp_path).exit_code == ExitCode.USAGE


def test_every_truncation_is_refused_and_most_are_called_so(tmp_path: Path) -> None:
    whole = linear().SerializeToString()
    path = tmp_path / "model.onnx"
    seen = set()
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        try:
            load(path)  # what is cut off may be optional
        except EdgecompileError as error:
            seen.update(codes(error))
    assert seen <= {"EC-105", "EC-106", "EC-112"}
    path.write_bytes(whole[: len(whole) // 2])
    assert codes(refusal(path)) == ["EC-106"]


@pytest.mark.parametrize(
    ("proto", "code", "word"),
    [
        (model(ir_version=2), "EC-113", "IR version 2"),
        (model(ir_version=99), "EC-113", "IR version 99"),
        (model(opset=99), "EC-114", "opset 99 of domain 'ai.onnx'"),
        (model(opset=0), "EC-114", "opset 0"),
        (model(outputs=[]), "EC-118", "no outputs"),
        (model(outputs=[value("z")]), "EC-112", "'z'"),
        (model([helper.make_node("Relu", ["q"], ["y"])]), "EC-112", "'q'"),
        (model([helper.make_node("Relu", ["x"], ["y"])] * 2), "EC-117", "value name 'y'"),
        (model(outputs=[value("y"), value("y")]), "EC-117", "output name 'y'"),
        (model(weights=[weight("w"), weight("w")]), "EC-117", "initializer name 'w'"),
    ],
)
def test_unsound_models(tmp_path: Path, proto: onnx.ModelProto, code: str, word: str) -> None:
    error = refusal(write(proto, tmp_path))
    assert codes(error) == [code]
    assert word in error.diagnostics[0].message


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], name="first"),
        helper.make_node("NMS", ["a"], ["b"], domain="trt"),
        helper.make_node("NMS", ["b"], ["y"], domain="trt"),
    ]
    bad = TensorProto(name="w", data_type=1, dims=[2], raw_data=b"123")
    error = refusal(write(model(nodes, weights=[bad], opset=99), tmp_path))
    assert codes(error) == ["EC-114", "EC-115", "EC-115", "EC-111"]
    assert "'Foo'" in error.diagnostics[1].message
    assert error.diagnostics[1].where.node == "first"
    assert "'trt::NMS' has no definition here (used 2x)" in error.diagnostics[2].message


def test_operators_with_a_definition_are_no_custom_operators(tmp_path: Path) -> None:
    function = helper.make_function(
        "mine",
        "Double",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    nodes = [
        helper.make_node("Double", ["x"], ["d"], domain="mine"),
        helper.make_node("Gelu", ["d"], ["y"], domain="com.microsoft"),
    ]
    proto = model(nodes)
    proto.functions.append(function)
    for domain in ("mine", "com.microsoft"):
        proto.opset_import.add(domain=domain, version=1)
    assert len(load(write(proto, tmp_path)).graph.graph) == 2


def test_constructs_without_a_meaning_here(tmp_path: Path) -> None:
    proto = model()
    proto.training_info.add()
    proto.graph.sparse_initializer.add()
    mapped = proto.graph.output.add(name="labels")
    mapped.type.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
    error = refusal(write(proto, tmp_path))
    assert codes(error) == ["EC-119"] * 3
    assert "map type of 'labels'" in str(error)


def test_a_part_with_an_undefined_value(tmp_path: Path) -> None:
    proto = model()
    proto.graph.input[0].type.tensor_type.elem_type = 99
    error = refusal(write(proto, tmp_path))
    assert codes(error) == ["EC-123"]
    assert "99" in error.diagnostics[0].message


def test_spellings_are_made_one(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], domain="ai.onnx")]
    inputs = [value("x", [-1, 4]), value("w", [4, 4])]
    proto = model(nodes, inputs=inputs, weights=[weight()], ir_version=3)
    proto.opset_import[0].domain = "ai.onnx"
    proto.graph.name = ""
    loaded = load(write(proto, tmp_path))
    assert loaded.graph.opset_imports == {"": 17}
    assert [spec.shape for spec in input_specs(loaded)] == [(None, 4)]
    assert loaded.graph.ir_version == 4
    assert constant_array(loaded.graph.graph.node(0).inputs[1]) is not None


def test_from_ir_version_4_a_listed_weight_is_a_default_that_a_caller_may_override(
    tmp_path: Path,
) -> None:
    proto = linear()
    proto.graph.input.append(value("w", [4, 4]))
    loaded = load(write(proto, tmp_path))
    assert [spec.name for spec in input_specs(loaded)] == ["x"]
    assert constant_array(loaded.graph.graph.node(0).inputs[1]) is None


def test_shapes_that_the_checker_wants_and_runtimes_do_not(tmp_path: Path) -> None:
    proto = model(inputs=[value("x", None)], outputs=[value("y", None)])
    (spec,) = input_specs(load(write(proto, tmp_path)))
    assert not spec.ranked
    assert spec.shape == ()


def test_missing_types_are_inferred(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    loaded = load(write(model(nodes, weights=[weight()]), tmp_path))
    inner = loaded.graph.graph.node(0).outputs[0]
    assert inner.dtype == ir.DataType.FLOAT
    assert [str(dim) for dim in inner.shape or ()] == ["N", "4"]


def test_loaded_weights_cannot_be_written_to(tmp_path: Path) -> None:
    loaded = load(write(linear(weight(size=64)), tmp_path))
    array = constant_array(loaded.graph.graph.initializers["w"])
    assert array is not None
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


def test_loading_from_several_threads(tmp_path: Path) -> None:
    path = write(linear(weight(size=64)), tmp_path)
    digests: list[str] = []
    threads = [threading.Thread(target=lambda: digests.append(load(path).digest)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 8
    assert len(set(digests)) == 1


def test_limits_are_exact(tmp_path: Path) -> None:
    path = write(linear(), tmp_path)
    size = path.stat().st_size
    fits = Limits(file_bytes=size, nodes=1, initializers=1, functions=0, subgraph_depth=0)
    assert np.isfinite(constant_array(load(path, limits=fits).graph.graph.initializers["w"])).all()  # type: ignore[arg-type]
    assert codes(refusal(path, limits=Limits(file_bytes=size - 1))) == ["EC-107"]
