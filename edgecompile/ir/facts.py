"""What can be asked of a model without running it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.model import UNSUPPORTED
from edgecompile.ir import traverse
from edgecompile.ir.macs import macs
from edgecompile.ir.model import Model
from edgecompile.ir.weights import ExternalWeight

__all__ = [
    "TensorSpec",
    "all_nodes",
    "constant_array",
    "constant_tensor",
    "external_files",
    "input_specs",
    "macs",
    "op_census",
    "operator",
    "opset",
    "output_specs",
    "static_shape",
]


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name, element type and shape of a model's input or output.

    A dimension is a number, the name of a symbolic dimension, or None where nothing is known.
    `ranked` is false when not even the number of dimensions is known; `shape` is then empty.
    Strings have the dtype `object`.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]
    ranked: bool = True


def input_specs(model: Model) -> tuple[TensorSpec, ...]:
    """The inputs that a caller has to feed, in order; inputs with a default are left out.

    Raises EC-119 for inputs that are not tensors (sequences, optionals, maps).
    """
    return tuple(_spec(value, "input") for value in _fed(model))


def tensor_inputs(model: Model) -> tuple[TensorSpec, ...]:
    """Those of them that are tensors: sequences, optionals and maps are left out."""
    tensors = (value for value in _fed(model) if isinstance(value.type, ir.TensorType))
    return tuple(_spec(value, "input") for value in tensors)


def _fed(model: Model) -> list[ir.Value]:
    graph = model.graph.graph
    return [value for value in graph.inputs if value.name not in graph.initializers]


def output_specs(model: Model) -> tuple[TensorSpec, ...]:
    """The outputs, in order. Raises EC-119 for outputs that are not tensors."""
    return tuple(_spec(value, "output") for value in model.graph.graph.outputs)


def _spec(value: ir.Value, kind: str) -> TensorSpec:
    if not isinstance(value.type, ir.TensorType):
        what = "of unknown type" if value.type is None else f"of type {value.type}"
        where = Where(tensor=value.name)
        raise UNSUPPORTED.error(where, what=f"{kind} '{value.name}' {what}")
    shape = tuple(
        dim if isinstance(dim, int) else dim.value
        for dim in (() if value.shape is None else value.shape)
    )
    return TensorSpec(
        name=value.name or "",
        dtype=value.type.dtype.numpy(),
        shape=shape,
        ranked=value.shape is not None,
    )


def opset(model: Model) -> int:
    """Version of the default domain; 0 when the model imports only other domains."""
    return model.graph.graph.opset_imports.get("", 0)


def all_nodes(model: Model) -> Iterator[ir.Node]:
    """Every node of the graph, its subgraphs and the functions, in a fixed order."""
    return traverse.nodes(model.graph)


def operator(node: ir.Node) -> str:
    """`Conv`, or `domain::Op` for operators of other domains than the default one."""
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def op_census(model: Model) -> dict[str, int]:
    """How often each operator occurs, subgraphs and functions included, sorted by name."""
    return dict(sorted(Counter(operator(node) for node in all_nodes(model)).items()))


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor that a value always has: an initializer or the output of a Constant node.

    None for everything else, also for a graph input with a default: a caller may override it.
    """
    if value is None or value.is_graph_input():
        return None
    if value.const_value is not None:
        return value.const_value
    node = value.producer()
    if node is None or node.op_type != "Constant" or node.domain or len(node.attributes) != 1:
        return None
    attribute = next(iter(node.attributes.values()))
    if attribute.is_ref():
        return None
    return _from_attribute(attribute)


def _from_attribute(attribute: ir.Attr) -> ir.TensorProtocol | None:
    """The tensor of a Constant node; see the operator's specification for the attributes."""
    content: Any = attribute.value
    if attribute.name == "value":
        tensor: ir.TensorProtocol = content
        return tensor
    if attribute.name in {"value_float", "value_floats"}:
        return ir.Tensor(np.array(content, np.float32))
    if attribute.name in {"value_int", "value_ints"}:
        return ir.Tensor(np.array(content, np.int64))
    if attribute.name in {"value_string", "value_strings"}:
        return ir.StringTensor(np.array(content, np.bytes_))
    return None


def constant_array(value: ir.Value | None) -> np.ndarray | None:
    """The data of `constant_tensor`, or None. Do not write into it: tensors are shared."""
    tensor = constant_tensor(value)
    return None if tensor is None else tensor.numpy()


def external_files(model: Model) -> tuple[Path, ...]:
    """Files beside the model that hold its weights, links followed, sorted."""
    found = {
        tensor.place.file.path
        for tensor in traverse.tensors(model.graph)
        if isinstance(tensor, ExternalWeight)
    }
    return tuple(sorted(found))


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape if every dimension is a known number, else None."""
    if value is None or value.shape is None:
        return None
    dims: Iterable[int | ir.SymbolicDim] = value.shape
    known = tuple(dim for dim in dims if isinstance(dim, int))
    return known if len(known) == len(value.shape) else None
