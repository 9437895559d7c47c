"""Saving and loading is a fixed point, and the digest sees content only, on generated graphs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecompile.ir import Model, load, save, to_bytes
from edgecompile.ir.shapes import infer
from edgecompile.ir.text import to_text
from tests.support.protos import external, value

DTYPES = [np.float32, np.float16, np.int8, np.int64, np.bool_, ml_dtypes.bfloat16, ml_dtypes.int4]
UNARY = ["Relu", "Sigmoid", "Neg", "Identity", "Tanh", "Abs"]
NAMES = st.text("abcXYZ012./:_-é", min_size=1, max_size=8)


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """A chain with side branches: elementwise operators, `If`, extra weights of any type."""
    prefix = draw(NAMES)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    current = f"{prefix}_in"
    for index in range(draw(st.integers(1, 6))):
        out = f"{prefix}_{index}"
        match draw(st.sampled_from(["unary", "add", "clip", "if"])):
            case "unary":
                nodes.append(helper.make_node(draw(st.sampled_from(UNARY)), [current], [out]))
            case "add":
                array = np.array(draw(st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4)))
                weights.append(numpy_helper.from_array(array.astype(np.float32), f"{out}_w"))
                nodes.append(helper.make_node("Add", [current, f"{out}_w"], [out], name=out))
            case "clip":
                weights.append(numpy_helper.from_array(np.float32(1), f"{out}_w"))
                nodes.append(helper.make_node("Clip", [current, "", f"{out}_w"], [out]))
            case _:
                nodes += _branches(current, out)
        current = out
    for index, dtype in enumerate(draw(st.lists(st.sampled_from(DTYPES), max_size=3))):
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        array = np.random.default_rng(index).integers(0, 2, shape).astype(dtype)
        weights.append(numpy_helper.from_array(array, f"{prefix}_extra{index}"))
    graph = helper.make_graph(
        nodes, draw(NAMES), [value(f"{prefix}_in")], [value(current)], weights
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    proto.opset_import.add(domain="com.microsoft", version=1)
    for key, text in draw(st.dictionaries(NAMES, st.text(max_size=8), max_size=3)).items():
        proto.metadata_props.add(key=key, value=text)
    return proto


def _branches(source: str, out: str) -> list[onnx.NodeProto]:
    """`If` on a constant; both branches call their result the same."""
    condition = numpy_helper.from_array(np.array(True), f"{out}_c")
    graphs = [
        helper.make_graph(
            [helper.make_node(op, [source], [f"{out}_r"])], op, [], [value(f"{out}_r")]
        )
        for op in ("Relu", "Neg")
    ]
    return [
        helper.make_node("Constant", [], [f"{out}_c"], value=condition),
        helper.make_node("If", [f"{out}_c"], [out], then_branch=graphs[0], else_branch=graphs[1]),
    ]


def _load(proto: onnx.ModelProto, directory: Path) -> Model:
    path = directory / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return load(path)


def _each_weight(proto: onnx.ModelProto) -> Sequence[onnx.TensorProto]:
    constants = [a.t for n in proto.graph.node for a in n.attribute if a.HasField("t")]
    return [*proto.graph.initializer, *constants]


def _typed(proto: onnx.ModelProto, directory: Path) -> None:
    """Move float weights from raw_data to float_data."""
    for tensor in _each_weight(proto):
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            tensor.ClearField("raw_data")
            tensor.float_data.extend(array.ravel().tolist())


def _external(proto: onnx.ModelProto, directory: Path) -> None:
    """Move all weights to one file, in reverse order, with gaps."""
    content = b""
    for tensor in reversed(_each_weight(proto)):
        content += b"gap"
        moved = external(tensor, location="w.bin", offset=len(content), length=len(tensor.raw_data))
        content += tensor.raw_data
        tensor.CopyFrom(moved)
    (directory / "w.bin").write_bytes(content)


def _reordered(proto: onnx.ModelProto, directory: Path) -> None:
    """Turn around everything whose order means nothing."""
    lists: list[Any] = [proto.graph.initializer, proto.opset_import, proto.metadata_props]
    lists += [node.attribute for node in proto.graph.node]
    for items in lists:
        turned = list(reversed(items))
        del items[:]
        items.extend(turned)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(graphs())
def test_saving_and_loading_is_a_fixed_point(proto: onnx.ModelProto) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        model = _load(proto, directory)
        path = directory / "saved.onnx"
        for inline_bytes in (2**30, 0):
            save(model, path, inline_bytes=inline_bytes)
            again = load(path)
            assert again.digest == model.digest
            assert to_bytes(again) == to_bytes(model)
            assert to_text(again) == to_text(model)
            assert again.clone().digest == model.digest
            assert infer(again) is again


@settings(max_examples=60, deadline=None, derandomize=True)
@given(graphs(), st.sampled_from([_typed, _external, _reordered]))
def test_digest_sees_content_only(
    proto: onnx.ModelProto, rewrite: Callable[[onnx.ModelProto, Path], None]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        before = _load(proto, directory)
        other = onnx.ModelProto()
        other.CopyFrom(proto)
        rewrite(other, directory)
        after = _load(other, directory)
        assert after.digest == before.digest
        assert to_bytes(after) == to_bytes(before)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(graphs(), st.data())
def test_digest_sees_every_weight(proto: onnx.ModelProto, data: st.DataObject) -> None:
    filled = [tensor for tensor in _each_weight(proto) if tensor.raw_data]
    if not filled:
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        before = _load(proto, directory).digest
        tensor = filled[data.draw(st.integers(0, len(filled) - 1))]
        content = bytearray(tensor.raw_data)
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1
        tensor.raw_data = bytes(content)
        assert _load(proto, directory).digest != before
