"""Placement: where Q/DQ pairs go, decided from the graph and the target's declared style.

Pairs sit at the inputs of operators that have an integer kernel, so that an operator and the
activation that the runtime fuses with it are never torn apart, and an output that nobody consumes
in integers stays float. From there a pair moves up through operators that only pass values on
(Reshape, MaxPool, Concat, ...), as long as nobody else looks at the tensor: they then run in
integers too, at the same numbers, with one scale. The idea of moving quantizers towards producers
follows NNCF's quantizer propagation (openvinotoolkit/nncf, docs on post-training quantization).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.ir.model import Model
from edgecompile.passes.base import Note
from edgecompile.passes.quantize.operands import (
    MATRIX_PRODUCTS,
    Operands,
    data_inputs,
    operands_of,
    passes_through,
    why_not_integer,
)
from edgecompile.targets.schema import QdqStyle

Edge = tuple[str, int]
"""A consumer: output name of the node (every node has one) and the input's index."""


class Form(StrEnum):
    """Which integers an operator takes."""

    TARGET = "target"
    """Those of the target's style."""
    ZERO_POINT_0 = "zero_point_0"
    """Any type, but the zero point must be 0."""
    SIGNED = "signed"
    """Signed, with zero point 0."""


Demanded = tuple[ir.Value, Form]


@dataclass(frozen=True, kw_only=True)
class ActivationSite:
    """One Q/DQ pair: on `tensor`, seen only by `edges`. Sites of one `group` share a scale."""

    tensor: str
    form: Form
    edges: tuple[Edge, ...]
    group: str


@dataclass(frozen=True, kw_only=True)
class WeightSite:
    """One constant operand of an integer operator.

    `axis` is that of its output channels, `inner` the one that the kernel multiplies and adds
    along (None for depthwise kernels, which have no neighbours to add).
    """

    tensor: str
    edge: Edge
    axis: int | None
    inner: int | None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Everything that `quantize_static` inserts, and why the rest stays float."""

    activations: tuple[ActivationSite, ...]
    weights: tuple[WeightSite, ...]
    integer_nodes: tuple[str, ...]
    notes: tuple[Note, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the activations whose range must be known."""
        return tuple(sorted({site.tensor for site in self.activations}))


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
) -> Placement:
    """Decide the pairs for `model`. `keep_float` names nodes that must stay in float.

    `operators` replaces the target's list of integer operators; `products` takes in products of
    two activations, `embeddings` the tables that a Gather picks rows from.
    """
    wanted = set(style.operators if operators is None else operators)
    if embeddings:
        wanted.add("Gather")
    demand, weights, integer, notes = _Demand(), [], [], []
    for node in model.graph.graph:
        if node.domain not in ("", "ai.onnx") or node.op_type not in wanted:
            continue
        name = node_name(node)
        operands = operands_of(node)
        reason = "named in keep_float" if name in keep_float else why_not_integer(node, operands)
        if operands is None or reason:
            if node.op_type != "Gather":
                notes.append(_kept(node, reason or "no operand can be quantized"))
            continue
        if operands.product and node.op_type == "MatMul" and not products:
            notes.append(_kept(node, "a product of two activations: see option 'products'"))
            continue
        integer.append(name)
        form = _form(node, operands, style)
        for index in operands.activations:
            value = node.inputs[index]
            if value is not None:
                demand.add((value, form), node, index)
        weights += _weight_sites(node, operands)
    _move_up(model, demand, frozenset(style.shared_scale))
    return Placement(
        activations=_activation_sites(demand),
        weights=tuple(weights),
        integer_nodes=tuple(integer),
        notes=tuple(notes),
    )


def node_name(node: ir.Node) -> str:
    """A node's own name, or that of its first output, which ONNX guarantees to be unique."""
    return node.name or node.outputs[0].name or ""


def _form(node: ir.Node, operands: Operands, style: QdqStyle) -> Form:
    if operands.product and style.symmetric_products and node.op_type in MATRIX_PRODUCTS:
        return Form.SIGNED
    return Form.ZERO_POINT_0 if node.op_type in style.zero_point_0 else Form.TARGET


def _edge(node: ir.Node, index: int) -> Edge:
    return (node.outputs[0].name or "", index)


def _kept(node: ir.Node, reason: str) -> Note:
    return Note(message=reason, node=node_name(node), op_type=node.op_type, kept_float=True)


def _weight_sites(node: ir.Node, operands: Operands) -> list[WeightSite]:
    return [
        WeightSite(
            tensor=(node.inputs[weight.index].name or ""),  # type: ignore[union-attr]
            edge=_edge(node, weight.index),
            axis=weight.axis,
            inner=weight.inner,
        )
        for weight in operands.weights
    ]


def _move_up(model: Model, demand: _Demand, shared: frozenset[str]) -> None:
    """Move demands from the outputs of pass-through operators to their inputs, last node first."""
    outputs = set(model.graph.graph.outputs)
    for node in reversed(model.graph.graph):
        if node.op_type not in shared or not passes_through(node):
            continue
        value = node.outputs[0]
        if value in outputs:
            continue
        sources = [(node.inputs[index], index) for index in data_inputs(node)]
        if any(source is None or constant_array(source) is not None for source, _ in sources):
            continue
        for form in Form:
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


def _activation_sites(demand: _Demand) -> tuple[ActivationSite, ...]:
    sites = []
    for wanted, edges in demand.edges.items():
        value, form = wanted
        leader, _ = demand.leader(wanted)
        site = ActivationSite(
            tensor=value.name or "",
            form=form,
            edges=tuple(sorted(_edge(node, index) for node, index in edges)),
            group=f"{leader.name} {form}",
        )
        sites.append(site)
    return tuple(sorted(sites, key=lambda site: (site.tensor, site.form)))
