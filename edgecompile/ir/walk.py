"""Every graph and tensor of a `ModelProto`, however deep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

Graph = onnx.GraphProto | onnx.FunctionProto


def nest(root: Graph) -> Iterator[Graph]:
    """A graph or function and all its subgraphs; outer before inner."""
    yield root
    for node in root.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nest(attribute.g)
            for inner in attribute.graphs:
                yield from nest(inner)


def graphs(model: onnx.ModelProto) -> Iterator[Graph]:
    """The main graph, the functions, and all their subgraphs."""
    for root in (model.graph, *model.functions):
        yield from nest(root)


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor: initializers, attributes of nodes, defaults of functions' attributes."""
    for graph in graphs(model):
        if isinstance(graph, onnx.GraphProto):
            yield from graph.initializer
        else:
            yield from _of_attributes(graph.attribute_proto)
        for node in graph.node:
            yield from _of_attributes(node.attribute)


def _of_attributes(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def values(graph: Graph) -> Iterator[onnx.ValueInfoProto]:
    """Everything in one graph that has a declared type: inputs, outputs, values between."""
    if isinstance(graph, onnx.GraphProto):
        yield from graph.input
        yield from graph.output
    yield from graph.value_info


def is_defined(kind: onnx.TypeProto) -> bool:
    """Whether a type says what its elements are, down to the innermost."""
    field = kind.WhichOneof("value")
    if field in {"sequence_type", "optional_type"}:
        return is_defined(getattr(kind, field).elem_type)
    if field in {"tensor_type", "sparse_tensor_type"}:
        return bool(getattr(kind, field).elem_type)
    return field is not None
