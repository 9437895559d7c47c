"""One model in which every quantized layer can be switched between float and integers.

Each layer becomes an `If` with the operator in float on one side and, on the other, the same
operator behind its Q/DQ pairs. One session thus answers for any choice of layers, in exact
fake-quant arithmetic, and an inference costs what the float model's costs: the branch that is not
taken does not run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgecompile.calibration.session import Session, run_session
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.layers import Layer, Pairing
from edgecompile.passes.quantize.rounded import Rounded, copied

SWITCHES = "edgecompile_switches"


class Switchboard:
    """Runs a model with any of its layers quantized and the rest in float."""

    def __init__(
        self,
        model: Model,
        reference: Model,
        pairing: Pairing,
        threads: int = 1,
        *,
        watched: Sequence[str] = (),
    ) -> None:
        """`pairing` is that of `model` and `reference`; `watched` are tensors of the main graph
        that `run` gives like outputs. Raises EC-340 as sessions do."""
        self.layers = pairing.layers
        board = _Board(model, reference, pairing)
        outputs = (value.name or "" for value in reference.graph.graph.outputs)
        self.outputs = tuple(dict.fromkeys((*outputs, *watched)))
        for number, layer in enumerate(pairing.layers):
            board.add(number, layer)
        self._session: Session = run_session(
            board.finished(self.outputs), threads=threads, exact=True
        )

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
        for domain, version in model.graph.graph.opset_imports.items():
            self._graph.opset_imports.setdefault(domain, version)
        self._rounded = Rounded(self._graph, pairing.inserted)
        self._nodes = {node.outputs[0].name or "": node for node in self._graph}
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
        in_float = copied(old, old.inputs, f"{prefix}_float")
        branches = {
            "then_branch": self._rounded.copy(layer.quantized, f"{prefix}_quantized"),
            "else_branch": [in_float],
        }
        graphs = {
            name: ir.Graph([], nodes[-1].outputs, nodes=nodes, name=nodes[-1].name)
            for name, nodes in branches.items()
        }
        at = self._rounded.initializer(f"{prefix}_number", ir.tensor(np.array(number, np.int64)))
        switch = ir.node("Gather", [self._switches, at], name=f"{prefix}_gather")
        switch.outputs[0].name = f"{prefix}_switch"
        chosen = ir.node("If", [switch.outputs[0]], graphs, name=prefix)
        result, before = chosen.outputs[0], old.outputs[0]
        result.type, result.shape = before.type, before.shape
        before.replace_all_uses_with(result, replace_graph_outputs=True)
        self._graph.insert_before(old, [switch, chosen])
        self._graph.remove(old, safe=True)
        before.name, result.name = f"{prefix}_replaced", layer.output
        self._rounded.values[layer.output] = result
        self._chosen.append(result)

    def finished(self, watched: Sequence[str]) -> Model:
        """The board, every layer's output and the `watched` tensors among the graph's."""
        present = {value.name for value in self._graph.outputs}
        values = {value.name: value for node in self._graph for value in node.outputs}
        names = dict.fromkeys((*(value.name for value in self._chosen), *watched))
        self._graph.outputs.extend(values[name] for name in names if name not in present)
        return self._model
