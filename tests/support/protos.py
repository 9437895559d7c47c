"""Small `ModelProto`s for tests of reading and checking, built by hand so they can be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir import load


def value(name: str, shape: Sequence[int | str] | None = ("N", 4)) -> onnx.ValueInfoProto:
    """A float tensor's value info."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def weight(name: str = "w", size: int = 4, seed: int = 0) -> onnx.TensorProto:
    """A float matrix [size, size] in raw_data."""
    array = np.random.default_rng(seed).standard_normal((size, size)).astype(np.float32)
    return onnx.numpy_helper.from_array(array, name)


def model(
    nodes: Sequence[onnx.NodeProto] | None = None,
    *,
    weights: Sequence[onnx.TensorProto] = (),
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    opset: int = 17,
    ir_version: int = 8,
) -> onnx.ModelProto:
    """`y = Relu(x)` unless told otherwise."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], name="relu")] if nodes is None else nodes,
        "main",
        [value("x")] if inputs is None else inputs,
        [value("y")] if outputs is None else outputs,
        weights,
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


def linear(tensor: onnx.TensorProto | None = None) -> onnx.ModelProto:
    """`y = x @ w` with one weight."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="matmul")]
    return model(nodes, weights=[weight() if tensor is None else tensor])


def external(tensor: onnx.TensorProto, **fields: object) -> onnx.TensorProto:
    """The tensor with its data elsewhere; `fields` are location, offset and length."""
    result = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    result.data_location = TensorProto.EXTERNAL
    for key, content in fields.items():
        result.external_data.add(key=key, value=str(content))
    return result


def write(proto: onnx.ModelProto, directory: Path, name: str = "model.onnx") -> Path:
    """Write the model as it is."""
    path = directory / name
    path.write_bytes(proto.SerializeToString())
    return path


def refusal(path: Path, **options: object) -> EdgecompileError:
    """The error that loading `path` raises. Fails when it loads."""
    try:
        load(path, **options)  # type: ignore[arg-type]
    except EdgecompileError as error:
        return error
    raise AssertionError(f"{path.name} was not refused")


def codes(error: EdgecompileError) -> list[str]:
    """Codes of all diagnostics."""
    return [diagnostic.code for diagnostic in error.diagnostics]
