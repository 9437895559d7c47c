"""Placement for targets whose operators read and write integers: pairs on inputs and outputs.

Every value that a unit makes carries one pair, which all its readers see, float ones and the
graph's outputs too; it is what the unit's kernel writes. A reader that wants another type or scale
has a pair of its own behind that one, which converts. What float operators make and the graph's
inputs get pairs for their integer readers only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from edgecompile.calibration.ranges import Ranges
from edgecompile.ir.facts import constant_array
from edgecompile.ir.model import Model
from edgecompile.passes.base import Note
from edgecompile.passes.quantize.forms import Form, Forms, Interval
from edgecompile.passes.quantize.joins import interval_of, lost_bits, union
from edgecompile.passes.quantize.maxima import maxima_behind
from edgecompile.passes.quantize.operands import data_inputs
from edgecompile.passes.quantize.sites import (
    ActivationSite,
    BiasSite,
    ConstantSite,
    Edge,
    Placement,
    WeightSite,
    bias_sites,
    edge_of,
    kept,
    node_name,
    weight_sites,
)
from edgecompile.passes.quantize.unit_graph import PARTS, UnitGraph, is_float, read_units


def place_units(
    model: Model,
    forms: Forms,
    wanted: Collection[str],
    keep_float: Collection[str],
    *,
    ranges: Ranges | None,
    join_loss: float,
) -> Placement:
    """The pairs of a style with `outputs`. See `placement.place` for the arguments."""
    units = read_units(model, forms, wanted, keep_float)
    placer = _Placer(units=units, forms=forms, ranges=ranges, join_loss=join_loss)
    for node in model.graph.graph:
        if node in units.operators:
            placer.operator(node)
        elif node in units.carriers:
            placer.carrier(node)
    return placer.placement()


@dataclass(eq=False)
class _Scale:
    """A scale that several pairs share (union-find)."""

    name: str
    fixed: Interval | None = None
    parent: _Scale | None = None

    def root(self) -> _Scale:
        scale = self
        while scale.parent is not None:
            scale = scale.parent
        return scale

    def join(self, other: _Scale) -> None:
        mine, theirs = self.root(), other.root()
        if mine is not theirs:
            theirs.parent = mine
            mine.fixed = mine.fixed or theirs.fixed


@dataclass(eq=False, kw_only=True)
class _Pair:
    value: ir.Value
    form: Form
    scale: _Scale
    whole: bool = False
    converts: bool = False
    ranged_by: str = ""
    edges: list[Edge] = field(default_factory=list)


@dataclass(kw_only=True)
class _Placer:
    """Walks the units in the graph's order, so that what makes a value comes before its readers."""

    units: UnitGraph
    forms: Forms
    ranges: Ranges | None
    join_loss: float
    made: dict[ir.Value, _Pair] = field(default_factory=dict)
    """The pair behind what a unit makes."""
    beside: dict[tuple[ir.Value, Form, str], _Pair] = field(default_factory=dict)
    """Further pairs of a value, by form and, where the scale is another, by whose it is."""
    weights: list[WeightSite] = field(default_factory=list)
    biases: list[BiasSite] = field(default_factory=list)
    constants: list[tuple[ir.Value, Edge, Form, _Scale | None]] = field(default_factory=list)
    carriers: list[str] = field(default_factory=list)
    apart: set[ir.Value] = field(default_factory=set)
    """Quantities of different range side by side in float, up to where they are parted again."""
    notes: list[Note] = field(default_factory=list)

    def operator(self, node: ir.Node) -> None:
        operands, form = self.units.operators[node]
        if node.op_type == "Concat":
            # one with kernels that rescale its inputs still writes all of them with one scale
            read = [node.inputs[index] for index in operands.activations]
            joined = self._joined_form(node, form, [v for v in read if v is not None])
            if joined is None:
                del self.units.operators[node]
                self.apart.update(node.outputs)
                return
            form = joined
        for index in operands.activations:
            if (value := node.inputs[index]) is not None:
                self._read(value, form, edge_of(node, index))
        for index in operands.constants:
            if (value := node.inputs[index]) is not None:
                self.constants.append((value, edge_of(node, index), form, None))
        self.weights += weight_sites(node, operands, self.forms)
        self.biases += bias_sites(node, operands, self.forms)
        last = self.units.result(node)
        for value in last.outputs:
            if is_float(value):
                clamp = self.units.clamp(value)
                left = maxima_behind(value if clamp is None else clamp.outputs[0])
                by = "" if left is value else left.name or ""
                self._make(value, form, fixed=self.forms.output_range(last), ranged_by=by)

    def carrier(self, node: ir.Node) -> None:
        sources = [(node.inputs[i], edge_of(node, i)) for i in data_inputs(node)]
        given = [(v, edge) for v, edge in sources if v is not None]
        varying = [(v, edge) for v, edge in given if constant_array(v) is None]
        wanted = {form for out in node.outputs for form in self.units.demanded.get(out, ())}
        ready = [self.made[v] for v, _ in varying if v in self.made]
        if any(v in self.apart for v, _ in varying):
            self.apart.update(() if node.op_type in PARTS else node.outputs)
            return
        if not ready and not wanted:
            return
        form = self._carried_form([pair.form for pair in ready], wanted)
        if len(varying) > 1:
            joined = self._joined_form(node, form, [v for v, _ in varying])
            if joined is None:
                self.apart.update(node.outputs)
                return
            form = joined
        outputs = [self._make(v, form) for v in node.outputs if v.uses() or v.is_graph_output()]
        if not outputs:
            return
        self.carriers.append(node_name(node))
        scale = outputs[0].scale
        for other in outputs[1:]:
            scale.join(other.scale)
        for value, edge in varying:
            self._share(value, edge, form, scale, [v for v, _ in varying])
        for value, edge in given:
            if constant_array(value) is not None:
                self.constants.append((value, edge, form, scale))

    def placement(self) -> Placement:
        pairs = [*self.made.values(), *self.beside.values()]
        diverted = {edge for pair in self.beside.values() for edge in pair.edges}
        sites = [_site(pair, diverted) for pair in pairs]
        order = {name: i for i, name in enumerate(sorted({s.tensor for s in sites}))}
        sites.sort(key=lambda s: (order[s.tensor], s.converts, s.form, s.group))
        return Placement(
            activations=tuple(sites),
            weights=tuple(self.weights),
            biases=tuple(self.biases),
            constants=tuple(_constant(*found) for found in self.constants),
            integer_nodes=tuple(node_name(node) for node in self.units.operators),
            carriers=tuple(self.carriers),
            notes=(*self.units.notes, *self.notes),
        )

    def _make(
        self, value: ir.Value, form: Form, *, fixed: Interval | None = None, ranged_by: str = ""
    ) -> _Pair:
        scale = _Scale(name=value.name or "", fixed=fixed)
        pair = _Pair(value=value, form=form, scale=scale, whole=True, ranged_by=ranged_by)
        self.made[value] = pair
        return pair

    def _read(self, value: ir.Value, form: Form, edge: Edge, owner: str = "") -> _Pair:
        """The pair that the reader at `edge` sees, in `form` and on the scale of `owner`."""
        made = self.made.get(value)
        if made is not None and made.form == form and not owner:
            return made
        key = (value, form, owner)
        if key not in self.beside:
            scale = _Scale(name=f"{value.name} {form.type} {form.zero} {owner}")
            converts = made is not None
            pair = _Pair(value=value, form=form, scale=scale, converts=converts)
            self.beside[key] = pair
        self.beside[key].edges.append(edge)
        return self.beside[key]

    def _carried_form(self, ready: Sequence[Form], wanted: Collection[Form]) -> Form:
        """The form of what passes through: that of its inputs, or that of its readers."""
        known = set(ready) or set(wanted)
        if len(known) == 1:
            return next(iter(known))
        wide = [form for form in known if form.bits == 16]
        return self.forms.plain(max(wide).type) if wide and ready else self.forms.plain()

    def _joined_form(self, node: ir.Node, form: Form, values: Sequence[ir.Value]) -> Form | None:
        """The form in which `values` share one scale; None where they had better stay in float."""
        own = self._own(values, form)
        worst = _worst(own, form)
        if worst <= self.join_loss or not self.units.separates(node.outputs[0]):
            return form
        wide = self.forms.wide
        if wide is not None and wide.bits > form.bits and _worst(own, wide) <= self.join_loss:
            return wide
        text = f"one scale for all of its inputs would cost one of them {worst:.1f} bits"
        self.notes.append(kept(node, f"{text}, for an output that tells them apart"))
        return None

    def _share(
        self, value: ir.Value, edge: Edge, form: Form, scale: _Scale, values: Sequence[ir.Value]
    ) -> None:
        """Put `value` on `scale`: its own pair, unless that would cost its other readers."""
        pair = self.made.get(value)
        others = len(values) > 1
        if pair is not None and pair.form == form:
            fixed = pair.scale.root().fixed
            fits = (
                fixed is None
                or not others
                or all(v in self.made and self.made[v].scale.root().fixed == fixed for v in values)
            )
            if fits and (not others or self._affordable(value, pair, values)):
                scale.join(pair.scale)
                return
        owner = scale.name if others else ""
        scale.join(self._read(value, form, edge, owner).scale)

    def _affordable(self, value: ir.Value, pair: _Pair, values: Sequence[ir.Value]) -> bool:
        """Whether `value` has no other reader, or none that would lose much by the wider scale."""
        if len(value.uses()) == 1:
            return True
        own = self._own(values, pair.form)
        mine = self._own([value], pair.form)
        shared = union(interval for interval, _ in own)
        return all(lost_bits(i, f, shared, pair.form) <= self.join_loss for i, f in mine)

    def _own(self, values: Sequence[ir.Value], form: Form) -> list[tuple[Interval, Form]]:
        """Interval and form of each of `values` by itself, where a range is known."""
        found = []
        for value in values:
            pair = self.made.get(value)
            fixed = None if pair is None else pair.scale.root().fixed
            interval = fixed
            if interval is None and self.ranges is not None:
                name = (pair.ranged_by if pair else "") or value.name or ""
                interval = interval_of(name, self.ranges)
            if interval is not None and self.ranges is not None:
                found.append((interval, form if pair is None else pair.form))
        return found


def _worst(own: Sequence[tuple[Interval, Form]], joined: Form) -> float:
    """Bits that the worst of several quantities loses by one scale in the form `joined`."""
    shared = union(interval for interval, _ in own)
    return max((lost_bits(interval, form, shared, joined) for interval, form in own), default=0.0)


def _site(pair: _Pair, diverted: Collection[Edge]) -> ActivationSite:
    graph = pair.value.graph
    edges = set(pair.edges)
    if pair.whole:
        uses = (edge_of(node, i) for node, i in pair.value.uses() if node.graph is graph)
        edges |= {edge for edge in uses if edge not in diverted}
    scale = pair.scale.root()
    return ActivationSite(
        tensor=pair.value.name or "",
        form=pair.form,
        edges=tuple(sorted(edges)),
        group=scale.name,
        whole=pair.whole,
        converts=pair.converts,
        ranged_by=pair.ranged_by,
        fixed=scale.fixed,
    )


def _constant(value: ir.Value, edge: Edge, form: Form, scale: _Scale | None) -> ConstantSite:
    group = None if scale is None else scale.root().name
    return ConstantSite(tensor=value.name or "", edges=(edge,), form=form, group=group)
