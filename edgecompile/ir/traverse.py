"""Every node and tensor of a loaded model, in an order that is the same in every run."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir


def nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Nodes of the graph, of its subgraphs and of the functions."""
    yield from model.graph.all_nodes()
    for _, function in sorted(model.functions.items()):
        yield from function.all_nodes()


def initializers(model: ir.Model) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    """Initializers of the graph and its subgraphs that have data, sorted by name in each."""
    for graph in model.graphs():
        for _, value in sorted(graph.initializers.items()):
            if value.const_value is not None:
                yield value, value.const_value


def attribute_tensors(model: ir.Model) -> Iterator[tuple[ir.Node, ir.TensorProtocol]]:
    """Tensors in attributes of nodes, with the node."""
    for node in nodes(model):
        for _, attribute in sorted(node.attributes.items()):
            if attribute.is_ref():
                continue
            if attribute.type == ir.AttributeType.TENSOR:
                yield node, attribute.value
            elif attribute.type == ir.AttributeType.TENSORS:
                yield from ((node, tensor) for tensor in attribute.value)


def tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Every tensor of the model, as often as it is used."""
    yield from (tensor for _, tensor in initializers(model))
    yield from (tensor for _, tensor in attribute_tensors(model))
