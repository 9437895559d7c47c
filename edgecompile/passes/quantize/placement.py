"""Placement: where Q/DQ pairs go, decided from the graph and the target's declared style.

`place` is the entry for every style; targets that want pairs at outputs too go on in `units`.
Here pairs sit at the inputs of operators that have an integer kernel, so that an operator and the
activation that the runtime fuses with it are never torn apart, and an output that nobody consumes
in integers stays float. From there a pair moves up through operators that only pass values on
(Reshape, MaxPool, Concat, ...), as long as nobody else looks at the tensor: they then run in
integers too, at the same numbers, with one scale. The idea of moving quantizers towards producers
follows NNCF's quantizer propagation (openvinotoolkit/nncf, docs on post-training quantization).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from edgecompile.calibration.ranges import Ranges
from edgecompile.ir.facts import constant_array, opset
from edgecompile.ir.model import Model
from edgecompile.passes.base import Note
from edgecompile.passes.quantize.forms import OPSET_OF_ALL_TYPES, Form, Forms, Precision
from edgecompile.passes.quantize.joins import JOIN_LOSS_BITS, unified_loss
from edgecompile.passes.quantize.logarithms import REASON, before_logarithms
from edgecompile.passes.quantize.maxima import maxima_behind
from edgecompile.passes.quantize.operands import (
    CONVOLUTIONS,
    ELEMENTWISE,
    MATRIX_PRODUCTS,
    RECURRENT,
    Operands,
    data_inputs,
    data_operands,
    operands_of,
    passes_through,
    why_not_integer,
)
from edgecompile.passes.quantize.sites import (
    ActivationSite,
    BiasSite,
    Placement,
    WeightSite,
    bias_sites,
    edge_of,
    kept,
    node_name,
    weight_sites,
)
from edgecompile.passes.quantize.units import place_units
from edgecompile.targets.schema import QdqStyle

__all__ = ["Placement", "node_name", "place"]

Demanded = tuple[ir.Value, Form]


@dataclass
class _Demand:
    """Which consumers want a value in integers; filled by operators, moved up afterwards."""

    edges: dict[Demanded, set[tuple[ir.Node, int]]] = field(default_factory=dict)
    group: dict[Demanded, Demanded] = field(default_factory=dict)

    def add(self, wanted: Demanded, node: ir.Node, index: int) -> None:
        self.edges.setdefault(wanted, set()).add((node, index))

    def leader(self, wanted: Demanded) -> Demanded:
        """Representative of those that share a scale with `wanted` (union-find)."""
        while (parent := self.group.get(wanted, wanted)) != wanted:
            wanted = parent
        return wanted

    def join(self, members: Iterable[Demanded]) -> None:
        first, *rest = members
        for member in rest:
            self.group[self.leader(member)] = self.leader(first)


def place(
    model: Model,
    style: QdqStyle,
    *,
    keep_float: Collection[str] = (),
    operators: Collection[str] | None = None,
    products: bool = False,
    embeddings: bool = False,
    precision: Mapping[str, Precision] | None = None,
    ranges: Ranges | None = None,
    join_loss: float = JOIN_LOSS_BITS,
) -> Placement:
    """Decide the pairs for `model`. `keep_float` names nodes that must stay in float.

    `operators` replaces the target's list of integer operators; `products` takes in products of
    two activations, `embeddings` the tables that a Gather picks rows from, and `precision` gives
    nodes another width. With `ranges`, quantities that would lose more than `join_loss` bits by
    sharing a scale do not share it; without, all tensors that may need a range have a place.
    """
    wanted = set(style.operators if operators is None else operators)
    all_types = style.contrib_types or opset(model) >= OPSET_OF_ALL_TYPES
    forms = Forms(style=style, precision=precision or {}, all_types=all_types)
    if style.outputs:
        return place_units(model, forms, wanted, keep_float, ranges=ranges, join_loss=join_loss)
    if embeddings:
        wanted.add("Gather")
    relative = before_logarithms(model.graph.graph)
    found = _Inputs(
        forms=forms, ranges=ranges, join_loss=join_loss, products=products, relative=relative
    )
    for node in model.graph.graph:
        if node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type in wanted or node.op_type in RECURRENT:
            found.take(node, named=node_name(node) in keep_float)
        elif style.fused_residual and node.op_type == "Add":
            found.residual(node)
    _move_up(model, found.demand, frozenset(style.shared_scale))
    return found.placement()


@dataclass(kw_only=True)
class _Inputs:
    """Gathers what goes to the inputs of integer operators, node by node in the graph's order."""

    forms: Forms
    ranges: Ranges | None
    join_loss: float
    products: bool
    relative: frozenset[ir.Node]
    """Operators whose results need small numbers as exactly as large ones."""
    demand: _Demand = field(default_factory=_Demand)
    weights: list[WeightSite] = field(default_factory=list)
    biases: list[BiasSite] = field(default_factory=list)
    integer: dict[str, ir.Node] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def take(self, node: ir.Node, *, named: bool) -> None:
        """Quantize the inputs of `node`, unless there is a reason not to."""
        name, operands = node_name(node), _operands(node)
        form = self.forms.activation(node, name, operands)
        reason = "named in keep_float" if named else why_not_integer(node, operands)
        if operands is not None and not reason:
            reason = self._unwanted(node, operands, form)
        if operands is None or reason:
            if node.op_type != "Gather":
                self.notes.append(kept(node, reason or "no operand can be quantized"))
            return
        self.integer[name] = node
        read = [(node.inputs[index], index) for index in self._read(node, operands)]
        for value, index in read:
            if value is not None:
                self.demand.add((value, form), node, index)
        if self._unified(node) and len(read) > 1:
            self.demand.join((value, form) for value, _ in read if value is not None)
        self.weights += weight_sites(node, operands, self.forms)
        self.biases += bias_sites(node, operands, self.forms)

    def residual(self, node: ir.Node) -> None:
        """The branch of a fused sum that does not come from the operator that it fuses with."""
        index = self._other_branch(node)
        if index is not None and (value := node.inputs[index]) is not None:
            form = self.forms.activation(node, node_name(node))
            self.demand.add((value, form), node, index)

    def placement(self) -> Placement:
        return Placement(
            activations=_activation_sites(self.demand),
            weights=tuple(self.weights),
            biases=tuple(self._moved(site) for site in self.biases),
            integer_nodes=tuple(self.integer),
            notes=tuple(self.notes),
        )

    def _moved(self, site: BiasSite) -> BiasSite:
        """`site` with the edge at which the pair of its activation stands by now: one scale for
        all inputs of what passes them on."""
        known = {edge_of(*place) for edges in self.demand.edges.values() for place in edges}
        nodes = {node.outputs[0].name: node for node in self.integer.values()}
        edge, reader = site.activation, nodes.get(site.activation[0])
        while edge not in known and reader is not None:
            value = reader.inputs[edge[1]]
            reader = None if value is None else value.producer()
            if reader is None or not passes_through(reader):
                break
            edge = edge_of(reader, data_inputs(reader)[0])
        return replace(site, activation=edge)

    def _unwanted(self, node: ir.Node, operands: Operands, form: Form) -> str:
        if node in self.relative:
            return REASON
        if operands.product and node.op_type == "MatMul" and not self.products:
            return "a product of two activations: see option 'products'"
        if self._unified(node) and self.ranges is not None:
            names = [node.inputs[i].name or "" for i in operands.activations]  # type: ignore[union-attr]
            lost = unified_loss(node.op_type, names, form, self.ranges)
            if lost > self.join_loss:
                return f"one scale for all of its inputs would cost one of them {lost:.1f} bits"
        return ""

    def _read(self, node: ir.Node, operands: Operands) -> tuple[int, ...]:
        """Inputs that get a pair: all, or the one branch of a sum that its kernel takes."""
        if self.forms.style.fused_residual and node.op_type == "Add":
            index = self._other_branch(node)
            return operands.activations if index is None else (index,)
        return operands.activations

    def _unified(self, node: ir.Node) -> bool:
        return self.forms.style.unify_elementwise_inputs and node.op_type in ELEMENTWISE

    def _other_branch(self, node: ir.Node) -> int | None:
        """0 or 1: the input of an Add that its fused kernel reads besides its own sums.

        Where both come from kernels the Add runs in the later one, which has the other at hand.
        """
        first, second = (self._kernel(value) for value in node.inputs)
        if first is None and second is None:
            return None
        order = list(self.integer.values())
        if second is None or (first is not None and order.index(first) > order.index(second)):
            index = 1
        else:
            index = 0
        other = node.inputs[index]
        varies = constant_array(other) is None
        return index if varies and other is not None and other.dtype == ir.DataType.FLOAT else None

    def _kernel(self, value: ir.Value | None) -> ir.Node | None:
        """The integer kernel whose only reader is this sum."""
        node = None if value is None else value.producer()
        if value is None or node is None or node_name(node) not in self.integer:
            return None
        fuses = node.op_type in CONVOLUTIONS | MATRIX_PRODUCTS
        alone = len(value.uses()) == 1 and not value.is_graph_output()
        return node if fuses and alone else None


def _operands(node: ir.Node) -> Operands | None:
    known = CONVOLUTIONS | MATRIX_PRODUCTS | ELEMENTWISE | RECURRENT | {"Gather"}
    return operands_of(node) if node.op_type in known else data_operands(node)


def _move_up(model: Model, demand: _Demand, shared: frozenset[str]) -> None:
    """Move demands from the outputs of pass-through operators to their inputs, last node first."""
    outputs = set(model.graph.graph.outputs)
    forms = sorted({form for _, form in demand.edges})
    for node in reversed(model.graph.graph):
        if node.op_type not in shared or not passes_through(node):
            continue
        value = node.outputs[0]
        if value in outputs:
            continue
        sources = [(node.inputs[index], index) for index in data_inputs(node)]
        if any(source is None or constant_array(source) is not None for source, _ in sources):
            continue
        for form in forms:
            if demand.edges.get((value, form)) == set(value.uses()):
                _move(demand, value, form, node, sources)


def _move(
    demand: _Demand,
    value: ir.Value,
    form: Form,
    node: ir.Node,
    sources: Sequence[tuple[ir.Value | None, int]],
) -> None:
    del demand.edges[value, form]
    members: list[Demanded] = []
    for source, index in sources:
        if source is not None:
            demand.add((source, form), node, index)
            members.append((source, form))
    grouped = (value, form) in demand.group or (value, form) in demand.group.values()
    demand.join([*members, (value, form)] if grouped else members)


def _only_maxima(value: ir.Value, edges: Collection[tuple[ir.Node, int]]) -> str:
    """Name of what is left of `value` for the readers of its pair, where that is not all of it."""
    if len(edges) != 1:
        return ""
    ((reader, _),) = edges
    left = maxima_behind(value, reader)
    return "" if left is value else left.name or ""


def _activation_sites(demand: _Demand) -> tuple[ActivationSite, ...]:
    sites = []
    for wanted, edges in demand.edges.items():
        value, form = wanted
        leader, _ = demand.leader(wanted)
        site = ActivationSite(
            tensor=value.name or "",
            form=form,
            edges=tuple(sorted(edge_of(node, index) for node, index in edges)),
            group=f"{leader.name} {form.type} {form.zero}",
            ranged_by=_only_maxima(value, edges),
        )
        sites.append(site)
    return tuple(sorted(sites, key=lambda site: (site.tensor, site.form)))
