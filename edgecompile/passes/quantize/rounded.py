"""Copies of quantized operators, with their Q/DQ pairs, that read the values of a float graph."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_ir as ir

from edgecompile.ir.facts import constant_tensor
from edgecompile.passes.quantize.layers import same_constant


class Rounded:
    """Makes them for one float graph. Constants of theirs are added to it, each once."""

    def __init__(self, graph: ir.Graph, inserted: Collection[ir.Value]) -> None:
        """`inserted` are the values of the quantized graph that `graph` has not: see `Pairing`."""
        self._graph, self._inserted = graph, inserted
        self.values = {v.name: v for v in (*graph.inputs, *graph.initializers.values())}
        """By name, what stands in `graph` for a value that both graphs have."""
        for node in graph:
            self.values |= {value.name: value for value in node.outputs}
        self._constants: dict[ir.Value, ir.Value] = {}

    def copy(self, node: ir.Node, prefix: str) -> list[ir.Node]:
        """`node` of the quantized graph and, before it, the pairs that it reads; in no graph yet.

        `prefix` begins the names of the copies.
        """
        nodes: list[ir.Node] = []
        made: dict[ir.Value, ir.Value] = {}

        def found(value: ir.Value | None) -> ir.Value | None:
            if value is None:
                return None
            if (tensor := constant_tensor(value)) is not None:
                return self._constant(value, tensor)
            if value not in self._inserted:
                return self.values[value.name]
            if value not in made:
                producer = value.producer()
                assert producer is not None
                add(producer)
            return made[value]

        def add(node: ir.Node) -> None:
            inputs = [found(value) for value in node.inputs]
            new = copied(node, inputs, f"{prefix}_{len(nodes)}")
            made.update(zip(node.outputs, new.outputs, strict=True))
            nodes.append(new)

        add(node)
        return nodes

    def initializer(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        """A new constant of the float graph."""
        value = ir.Value(
            name=name,
            const_value=tensor,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(tensor.shape.numpy()),
        )
        self._graph.register_initializer(value)
        return value

    def _constant(self, value: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
        known = self.values.get(value.name)
        same = constant_tensor(known)
        if known is not None and same is not None and same_constant(same, tensor):
            return known
        if value not in self._constants:
            name = f"edgecompile_constant_{len(self._constants)}"
            self._constants[value] = self.initializer(name, tensor)
        return self._constants[value]


def copied(node: ir.Node, inputs: Sequence[ir.Value | None], name: str) -> ir.Node:
    """The operator of `node` on `inputs`, its outputs named after `name`."""
    new = ir.Node(
        node.domain,
        node.op_type,
        inputs,
        node.attributes.values(),
        num_outputs=len(node.outputs),
        name=name,
    )
    for index, (old, value) in enumerate(zip(node.outputs, new.outputs, strict=True)):
        value.name = f"{name}_{index}"
        value.type, value.shape = old.type, old.shape
    return new
