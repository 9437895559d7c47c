"""Take quantized layers back to float: their operators as the float model has them."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecompile.ir.facts import constant_tensor
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.quantize.layers import Layer, Pairing, same_constant


def raise_layers(model: Model, layers: Collection[Layer], pairing: Pairing) -> Model:
    """`model` with `layers` in float: no Q/DQ pair at their inputs, weights and bias as they were.

    `pairing` is that of `model`. Pairs that other layers read stay for those.
    """
    result = model.clone()
    raiser = _Raiser(result.graph.graph, pairing)
    for layer in layers:
        raiser.restore(layer)
    RemoveUnusedNodesPass()(result.graph)
    return result


class _Raiser:
    """Edits one graph in place."""

    def __init__(self, graph: ir.Graph, pairing: Pairing) -> None:
        self._graph = graph
        self._names = Names(graph)
        self._inserted = {value.name for value in pairing.inserted}
        self._values = {v.name: v for v in (*graph.inputs, *graph.initializers.values())}
        self._nodes: dict[str, ir.Node] = {}
        for node in graph:
            self._values |= {value.name: value for value in node.outputs}
            self._nodes[node.outputs[0].name or ""] = node
        self._unrounded: dict[str, ir.Value] = {}

    def restore(self, layer: Layer) -> None:
        """Put the float operator of `layer` in the place of the quantized one."""
        old, original = self._nodes[layer.output], layer.original
        inputs = [self._input(value) for value in original.inputs]
        new = ir.Node(
            original.domain,
            original.op_type,
            inputs,
            original.attributes.values(),
            name=old.name,
        )
        before, after = old.outputs[0], new.outputs[0]
        after.type, after.shape = before.type, before.shape
        before.replace_all_uses_with(after, replace_graph_outputs=True)
        self._graph.insert_before(old, new)
        self._graph.remove(old, safe=True)
        before.name, after.name = None, layer.output
        self._values[layer.output] = after
        self._nodes[layer.output] = new

    def _input(self, value: ir.Value | None) -> ir.Value | None:
        """What stands for `value`, of the float graph, in this one."""
        if value is None:
            return None
        tensor = constant_tensor(value)
        if tensor is not None:
            return self._constant(value.name or "", tensor)
        return self._float(self._values[value.name])

    def _constant(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        known = self._values.get(name)
        same = constant_tensor(known)
        if known is not None and same is not None and same_constant(same, tensor):
            return known
        fresh = self._names.unique(name if known is None else f"{name}_float")
        value = ir.Value(
            name=fresh,
            const_value=tensor,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(tensor.shape.numpy()),
        )
        self._graph.register_initializer(value)
        self._values[fresh] = value
        return value

    def _float(self, value: ir.Value) -> ir.Value:
        """`value` as it was before its Q/DQ pair, or before the one of what it passes on."""
        name, node = value.name or "", value.producer()
        if name not in self._inserted or node is None:
            return value
        if name in self._unrounded:
            return self._unrounded[name]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            source = node.inputs[0]
            assert source is not None
            return self._float(source)
        inputs = [None if v is None else self._float(v) for v in node.inputs]
        copy = ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), name=None)
        made = copy.outputs[0]
        copy.name = made.name = self._names.unique(f"{name}_float")
        made.type, made.shape = value.type, value.shape
        self._graph.insert_after(node, copy)
        self._unrounded[name] = made
        return made
