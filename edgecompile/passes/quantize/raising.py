"""Take quantized layers back to float: their operators as the float model has them."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecompile.ir.facts import constant_tensor
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.quantize.layers import Layer, Pairing, same_constant
from edgecompile.targets.schema import QdqStyle


def raise_layers(
    model: Model, layers: Collection[Layer], pairing: Pairing, style: QdqStyle | None = None
) -> Model:
    """`model` with `layers` in float: no Q/DQ pair at their inputs, weights and bias as they were.

    `pairing` is that of `model`. Pairs that other layers read stay for those. In a `style` with
    `outputs`, what an integer operator writes is an integer to all of its readers: a layer in float
    reads it from the pair behind that operator.
    """
    result = model.clone()
    chosen = {layer.output for layer in layers}
    raiser = _Raiser(result.graph.graph, pairing, chosen, style)
    for layer in pairing.layers:
        if layer.output in chosen and not raiser.part_of_another(layer):
            raiser.restore(layer)
    RemoveUnusedNodesPass()(result.graph)
    return result


class _Raiser:
    """Edits one graph in place."""

    def __init__(
        self, graph: ir.Graph, pairing: Pairing, raised: Collection[str], style: QdqStyle | None
    ) -> None:
        self._graph = graph
        self._whole = style is not None and style.outputs
        self._fused = frozenset(style.fused_activations if style is not None else ())
        self._integer = {layer.output for layer in pairing.layers} - {*raised}
        self._names = Names(graph)
        self._inserted = {value.name for value in pairing.inserted}
        self._values = {v.name: v for v in (*graph.inputs, *graph.initializers.values())}
        self._nodes: dict[str, ir.Node] = {}
        for node in graph:
            self._values |= {value.name: value for value in node.outputs}
            self._nodes[node.outputs[0].name or ""] = node
        self._unrounded: dict[str, ir.Value] = {}

    def part_of_another(self, layer: Layer) -> bool:
        """Whether `layer` is an activation fused with an operator that stays in integers."""
        pair = _quantizer(self._nodes[layer.output])
        node = None if pair is None or pair.inputs[0] is None else pair.inputs[0].producer()
        if not self._whole or node is None or node.op_type not in self._fused:
            return False
        before = node.inputs[0]
        if before is None or before.name not in self._integer or before.producer() is None:
            return False
        self._integer.add(layer.output)
        return True

    def restore(self, layer: Layer) -> None:
        """Put the float operator of `layer` in the place of the quantized one."""
        old, original = self._nodes[layer.output], layer.original
        pair = _quantizer(old) if self._whole and old.op_type != original.op_type else None
        new = ir.Node(
            original.domain,
            original.op_type,
            [self._input(value) for value in original.inputs],
            original.attributes.values(),
            name=old.name if pair is None else original.name,
        )
        before, after = old.outputs[0], new.outputs[0]
        after.type, after.shape = before.type, before.shape
        readers = [] if pair is None else list(before.uses())
        before.replace_all_uses_with(after, replace_graph_outputs=True)
        self._graph.insert_before(old if pair is None else pair, new)
        if pair is None:
            self._graph.remove(old, safe=True)
            before.name = None
        else:  # the pair of an output of the graph: integer readers still see it
            pair.replace_input_with(0, after)
            before.name = self._names.unique(f"{layer.output}_dequantized")
            self._inserted.add(before.name)
            for reader, index in readers:
                reader.replace_input_with(index, before)
        after.name = layer.output
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
        """`value` as it was before its Q/DQ pair, or before the one of what it passes on.

        What an integer operator writes is what the pair behind it gives.
        """
        name, node = value.name or "", value.producer()
        made = node is not None and node.op_type != "DequantizeLinear" and self._integers(node)
        pair = _restored(value) if self._whole and made else None
        if pair is not None:
            return pair
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
        result = copy.outputs[0]
        copy.name = result.name = self._names.unique(f"{name}_float")
        result.type, result.shape = value.type, value.shape
        self._graph.insert_after(node, copy)
        self._unrounded[name] = result
        return result

    def _integers(self, node: ir.Node) -> bool:
        """Whether `node` is, or is fused with, or passes on the values of an integer layer."""
        name = node.outputs[0].name or ""
        if name in self._integer:
            return True
        if name not in self._inserted and node.op_type not in self._fused:
            return False
        return any(
            self._integers(before)
            for value in node.inputs
            if value is not None and (before := value.producer()) is not None
        )


def _quantizer(node: ir.Node) -> ir.Node | None:
    """The QuantizeLinear before the DequantizeLinear `node`."""
    value = node.inputs[0] if node.op_type == "DequantizeLinear" else None
    return None if value is None else value.producer()


def _restored(value: ir.Value) -> ir.Value | None:
    """What the Q/DQ pair behind `value` gives."""
    for use in value.uses():
        if use.node.op_type == "QuantizeLinear":
            return next((u.node.outputs[0] for u in use.node.outputs[0].uses()), None)
    return None
