"""Which operators are units of their own in integers: DequantizeLinear, operator, QuantizeLinear.

Two kinds: operators with an integer kernel, and carriers, which pass integers on at the same scale
(Reshape, MaxPool, Concat, ...). A carrier is one only between units, so that nothing is rounded for
operators that compute in float on both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.passes.base import Note
from edgecompile.passes.quantize.forms import Form, Forms
from edgecompile.passes.quantize.operands import (
    CONVOLUTIONS,
    ELEMENTWISE,
    FLOAT_TYPES,
    MATRIX_PRODUCTS,
    RECURRENT,
    Operands,
    data_inputs,
    passes_through,
    splits,
    unit_operands,
    why_not_integer,
)
from edgecompile.passes.quantize.sites import kept, node_name

STANDARD = ("", "ai.onnx")
CLAMPS = frozenset({"Relu", "Clip"})
FUSING = CONVOLUTIONS | MATRIX_PRODUCTS | ELEMENTWISE
"""Operators whose kernels can take the activation behind them in."""
PARTS = frozenset({"Slice", "Split", "Gather"})
"""Carriers behind which a part of the tensor goes its own way."""
SHAPES = frozenset({"Shape", "Size"})


@dataclass(kw_only=True)
class UnitGraph:
    """The units of a graph, and the forms in which integer operators read each value."""

    operators: dict[ir.Node, tuple[Operands, Form]] = field(default_factory=dict)
    carriers: set[ir.Node] = field(default_factory=set)
    tails: dict[ir.Node, ir.Node] = field(default_factory=dict)
    """Operator -> the activation that runs in its kernel."""
    demanded: dict[ir.Value, set[Form]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def result(self, node: ir.Node) -> ir.Node:
        """The last operator of the unit of `node`."""
        return self.tails.get(node, node)

    def clamp(self, value: ir.Value) -> ir.Node | None:
        """The clamp that is the only reader of `value`: what it cuts off needs no integers."""
        reader = only_reader(value)
        return reader if reader in self.operators and reader.op_type in CLAMPS else None

    def separates(self, value: ir.Value) -> bool:
        """Whether parts of `value` can be told apart by anybody who reads it.

        An integer operator needs one scale for all of it in any case; an output, an operator in
        float, or a Slice does not.
        """
        pending, seen = [value], set[ir.Value]()
        while pending:
            value = pending.pop()
            if value.is_graph_output():
                return True
            for node, _ in value.uses():
                if node.op_type in SHAPES:
                    continue
                if node.op_type in PARTS or not (node in self.operators or node in self.carriers):
                    return True
                if node in self.carriers:
                    pending += [out for out in node.outputs if out not in seen]
                    seen.update(node.outputs)
        return False


def read_units(
    model: Model, forms: Forms, wanted: Collection[str], keep_float: Collection[str]
) -> UnitGraph:
    """The units of `model` if operators of the types `wanted` may compute in integers."""
    found = UnitGraph()
    nodes = [node for node in model.graph.graph if node.domain in STANDARD]
    inside: set[ir.Node] = set()
    for node in nodes:
        if node in inside:
            continue
        if node.op_type in wanted or node.op_type in RECURRENT:
            _operator(found, node, forms, keep_float)
            if node in found.operators and (tail := _fused(node, forms, keep_float)) is not None:
                found.tails[node] = tail
                inside.add(tail)
        elif node.op_type in forms.style.shared_scale and _carries_floats(node):
            if node_name(node) not in keep_float:
                found.carriers.add(node)
            else:
                found.notes.append(kept(node, "named in keep_float"))
    _demands(found, reversed(nodes))
    return found


def only_reader(value: ir.Value) -> ir.Node | None:
    """The one operator that reads `value`, if there is only one and it is no output."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def is_float(value: ir.Value | None) -> bool:
    """Whether `value` is there and holds float32."""
    return value is not None and value.dtype in FLOAT_TYPES


def _operator(found: UnitGraph, node: ir.Node, forms: Forms, keep_float: Collection[str]) -> None:
    if node.op_type not in RECURRENT and not any(is_float(value) for value in node.inputs):
        return
    name, operands = node_name(node), unit_operands(node)
    reason = "named in keep_float" if name in keep_float else why_not_integer(node, operands)
    if not reason and not is_float(node.outputs[0]):
        reason = f"its output is {node.outputs[0].dtype or 'of unknown type'}, not float32"
    if operands is None or reason:
        found.notes.append(kept(node, reason))
    else:
        found.operators[node] = (operands, forms.activation(node, name, operands))


def _fused(node: ir.Node, forms: Forms, keep_float: Collection[str]) -> ir.Node | None:
    """The activation behind `node` that the runtime takes into its kernel."""
    if node.op_type not in FUSING or len(node.outputs) != 1:
        return None
    reader = only_reader(node.outputs[0])
    if reader is None or reader.domain not in STANDARD or node_name(reader) in keep_float:
        return None
    fuses = reader.op_type in forms.style.fused_activations and reader.graph is node.graph
    return reader if fuses and reader.inputs[0] is node.outputs[0] else None


def _carries_floats(node: ir.Node) -> bool:
    if not (passes_through(node) or splits(node)):
        return False
    return all(is_float(node.inputs[i]) for i in data_inputs(node)) and is_float(node.outputs[0])


def _demands(found: UnitGraph, backwards: Iterable[ir.Node]) -> None:
    for node in backwards:
        if node in found.operators:
            operands, form = found.operators[node]
            for index in operands.activations:
                if (value := node.inputs[index]) is not None:
                    found.demanded.setdefault(value, set()).add(form)
        elif node in found.carriers:
            below = [found.demanded.get(value, set()) for value in node.outputs]
            for index in data_inputs(node):
                if (value := node.inputs[index]) is not None:
                    found.demanded.setdefault(value, set()).update(*below)
