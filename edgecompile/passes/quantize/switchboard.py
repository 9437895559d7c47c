"""One model in which every quantized layer can be switched between float and integers.

Each layer becomes an `If` with the operator in float on one side and, on the other, the same
operator behind its Q/DQ pairs. One session thus answers for any choice of layers, in exact
fake-quant arithmetic, and an inference costs what the float model's costs: the branch that is not
taken does not run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir

from edgecompile.calibration.session import Session, run_session
from edgecompile.ir.facts import constant_tensor
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.layers import Layer, Pairing, same_constant

SWITCHES = "edgecompile_switches"


class Switchboard:
    """Runs a model with any of its layers quantized and the rest in float."""

    def __init__(self, model: Model, reference: Model, pairing: Pairing, threads: int = 1) -> None:
        """`pairing` is that of `model` and `reference`. Raises EC-340 as sessions do."""
        self.layers = pairing.layers
        board = _Board(model, reference, pairing)
        self.outputs = tuple(value.name or "" for value in reference.graph.graph.outputs)
        for number, layer in enumerate(pairing.layers):
            board.add(number, layer)
        self._session: Session = run_session(board.finished(), threads=threads, exact=True)

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        quantized: Iterable[int],
        *,
        inner: bool | Collection[int] = False,
        sample: str = "",
    ) -> dict[str, np.ndarray]:
        """The outputs with the layers of these numbers quantized. Raises EC-341.

        `inner` adds the outputs of all layers, or of those of these numbers.
        """
        switches = np.zeros(len(self.layers), bool)
        switches[list(quantized)] = True
        numbers = range(len(self.layers)) if inner is True else (inner or ())
        wanted = [*self.outputs, *(self.layers[i].output for i in numbers)]
        given = {**feeds, SWITCHES: switches}
        return self._session.run(given, list(dict.fromkeys(wanted)), sample=sample)


class _Board:
    """Edits a copy of the float graph."""

    def __init__(self, model: Model, reference: Model, pairing: Pairing) -> None:
        self._model = reference.clone()
        self._graph = self._model.graph.graph
        self._inserted = pairing.inserted
        for domain, version in model.graph.graph.opset_imports.items():
            self._graph.opset_imports.setdefault(domain, version)
        self._values = {
            v.name: v for v in (*self._graph.inputs, *self._graph.initializers.values())
        }
        self._nodes: dict[str, ir.Node] = {}
        for node in self._graph:
            self._values |= {value.name: value for value in node.outputs}
            self._nodes[node.outputs[0].name or ""] = node
        self._constants: dict[ir.Value, ir.Value] = {}
        self._chosen: list[ir.Value] = []
        self._switches = ir.Value(
            name=SWITCHES,
            type=ir.TensorType(ir.DataType.BOOL),
            shape=ir.Shape([len(pairing.layers)]),
        )
        self._graph.inputs.append(self._switches)

    def add(self, number: int, layer: Layer) -> None:
        """Put the switch of `layer` in the place of its operator."""
        old = self._nodes[layer.output]
        prefix = f"edgecompile_switch_{number}"
        branches = {
            "then_branch": self._branch(layer.quantized, f"{prefix}_quantized", rounded=True),
            "else_branch": self._branch(old, f"{prefix}_float", rounded=False),
        }
        at = self._initializer(f"{prefix}_number", ir.tensor(np.array(number, np.int64)))
        switch = ir.node("Gather", [self._switches, at], name=f"{prefix}_gather")
        switch.outputs[0].name = f"{prefix}_switch"
        chosen = ir.node("If", [switch.outputs[0]], branches, name=prefix)
        result, before = chosen.outputs[0], old.outputs[0]
        result.type, result.shape = before.type, before.shape
        before.replace_all_uses_with(result, replace_graph_outputs=True)
        self._graph.insert_before(old, [switch, chosen])
        self._graph.remove(old, safe=True)
        before.name, result.name = f"{prefix}_replaced", layer.output
        self._values[layer.output] = result
        self._chosen.append(result)

    def finished(self) -> Model:
        """The board, every layer's output among the graph's."""
        present = {value.name for value in self._graph.outputs}
        inner = [value for value in self._chosen if value.name not in present]
        self._graph.outputs.extend(inner)
        return self._model

    def _branch(self, node: ir.Node, prefix: str, *, rounded: bool) -> ir.Graph:
        nodes: list[ir.Node] = []
        made: dict[ir.Value, ir.Value] = {}

        def copied(node: ir.Node) -> ir.Node:
            inputs = [found(value) for value in node.inputs]
            new = ir.Node(
                node.domain,
                node.op_type,
                inputs,
                node.attributes.values(),
                num_outputs=len(node.outputs),
                name=f"{prefix}_{len(nodes)}",
            )
            for index, (old, value) in enumerate(zip(node.outputs, new.outputs, strict=True)):
                value.name = f"{prefix}_{len(nodes)}_{index}"
                value.type, value.shape = old.type, old.shape
                made[old] = value
            nodes.append(new)
            return new

        def found(value: ir.Value | None) -> ir.Value | None:
            if value is None or not rounded:
                return value
            if (tensor := constant_tensor(value)) is not None:
                return self._constant(value, tensor)
            if value not in self._inserted:
                return self._values[value.name]
            if value not in made:
                producer = value.producer()
                assert producer is not None
                copied(producer)
            return made[value]

        result = copied(node)
        return ir.Graph([], result.outputs, nodes=nodes, name=prefix)

    def _constant(self, value: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
        known = self._values.get(value.name)
        same = constant_tensor(known)
        if known is not None and same is not None and same_constant(same, tensor):
            return known
        if value not in self._constants:
            name = f"edgecompile_constant_{len(self._constants)}"
            self._constants[value] = self._initializer(name, tensor)
        return self._constants[value]

    def _initializer(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        value = ir.Value(
            name=name,
            const_value=tensor,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(tensor.shape.numpy()),
        )
        self._graph.register_initializer(value)
        return value
