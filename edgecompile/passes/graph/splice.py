"""Put a converted fragment where its node was, with the node's names and metadata."""

from __future__ import annotations

import onnx_ir as ir

from edgecompile.ir.facts import constant_tensor
from edgecompile.ir.names import Names
from edgecompile.passes.graph.edit import add_constant, graph_of, hand_over
from edgecompile.passes.graph.opset_bag import Fragment


def splice(origin: ir.Node, fragment: Fragment, names: Names) -> None:
    """Replace `origin` by `fragment`, in the graph that holds it."""
    _Splicer(origin, fragment, names).run()


class _Splicer:
    def __init__(self, origin: ir.Node, fragment: Fragment, names: Names) -> None:
        self.origin = origin
        self.fragment = fragment
        self.names = names
        self.part = graph_of(origin)
        self.stem = next(value.name or "" for value in origin.outputs if value.name)
        # values of our graph by the names that the fragment knows them under
        self.values: dict[str, ir.Value | None] = {
            f"{fragment.prefix}i{index}": value for index, value in enumerate(origin.inputs)
        }

    def run(self) -> None:
        made = [copy for node in self.fragment.nodes if (copy := self._copy(node)) is not None]
        self._name(made)
        pairs = [
            (old, new)
            for index, old in enumerate(self.origin.outputs)
            if (new := self.values.get(f"{self.fragment.prefix}o{index}")) is not None
        ]
        for old, new in pairs:
            hand_over(old, new)
        ir.convenience.replace_nodes_and_values(
            self.part,
            self.origin,
            [self.origin],
            made,
            [o for o, _ in pairs],
            [n for _, n in pairs],
        )

    def _copy(self, node: ir.Node) -> ir.Node | None:
        """Our own copy of a node of the fragment; None for constants, which become initializers."""
        tensor = constant_tensor(node.outputs[0])
        if tensor is not None:
            self.values[node.outputs[0].name or ""] = self._constant(tensor)
            return None
        inputs = [self._value(value) for value in node.inputs]
        attributes = list(node.attributes.values())
        new = ir.Node("", node.op_type, inputs, attributes, num_outputs=len(node.outputs))
        for old, output in zip(node.outputs, new.outputs, strict=True):
            name = old.name or ""
            output.name = name and self.names.unique(f"{self.stem}_{node.op_type}")
            self.values[name] = output
        return new

    def _value(self, value: ir.Value | None) -> ir.Value | None:
        if value is None or not value.name:
            return None
        if value.name not in self.values:
            # some adapters add initializers to the bag
            tensor = constant_tensor(self.fragment.graph.initializers[value.name])
            self.values[value.name] = None if tensor is None else self._constant(tensor)
        return self.values[value.name]

    def _constant(self, tensor: ir.TensorProtocol) -> ir.Value:
        return add_constant(self.part, tensor.numpy(), f"{self.stem}_const", self.names)

    def _name(self, made: list[ir.Node]) -> None:
        """The node that still does the work keeps name, documentation and metadata."""
        main = next((n for n in made if n.op_type == self.origin.op_type), made[-1])
        main.name, main.doc_string = self.origin.name, self.origin.doc_string
        main.metadata_props.update(self.origin.metadata_props)
        for node in made:
            if node is not main:
                node.name = self.names.unique(f"{self.origin.name or self.stem}_{node.op_type}")
