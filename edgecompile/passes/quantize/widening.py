"""Give layers of a model that is quantized from input to output activations of 16 bits.

A layer's error is that of what it reads, so the operators that make its inputs write 16 bits too.
Their other readers get 8 bits through a pair that converts, as `quantize_static` places it. Weights
keep their integers; a bias is counted again in the finer scale of its products.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecompile.calibration.sample import Sample
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir.facts import constant_array
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.affine import AffineParameters, integer_type
from edgecompile.passes.quantize.biases import integer_bias
from edgecompile.passes.quantize.forms import Form, Forms, Interval
from edgecompile.passes.quantize.insert import Inserter
from edgecompile.passes.quantize.layers import Layer
from edgecompile.passes.quantize.operands import Operands, data_inputs, unit_operands
from edgecompile.passes.quantize.sites import Edge, edge_of, node_name
from edgecompile.passes.quantize.unit_graph import only_reader
from edgecompile.targets.schema import QdqStyle

Extremes = Mapping[str, Interval]


def can_widen(style: QdqStyle | None) -> bool:
    """Whether layers of this style can be given 16 bits one by one: it is narrower, and whole."""
    return style is not None and style.outputs and style.activations.wide is not None


def extremes(
    model: Model, reference: Model, samples: Iterable[Sample], *, threads: int = 1
) -> dict[str, Interval]:
    """Least and largest value, in the float model, of every tensor that has a pair in `model`.

    With 65536 levels there is next to no reason to clip. Raises EC-340 and EC-341.
    """
    paired = {float_name(node) for node in model.graph.graph if node.op_type == "QuantizeLinear"}
    present = [*reference.graph.graph.inputs]
    present += [value for node in reference.graph.graph for value in node.outputs]
    names = [value.name or "" for value in present if value.name in paired]
    inputs = {value.name for value in reference.graph.graph.inputs}
    inner = [name for name in names if name not in inputs]
    found: dict[str, Interval] = {}
    session = tapped_session(reference, inner, threads=threads)
    for sample in samples:
        arrays = {**sample.feeds, **session.run(sample.feeds, inner, sample=sample.name)}
        for name in names:
            array = arrays[name]
            if array.size and np.isfinite(array).all():
                low, high = found.get(name, (np.inf, -np.inf))
                found[name] = (min(low, float(array.min())), max(high, float(array.max())))
    return found


def widen_layers(
    model: Model, layers: Collection[Layer], reference: Model, style: QdqStyle, seen: Extremes
) -> Model:
    """`model` with `layers` and what makes their inputs in 16 bits, on the ranges `seen`.

    A layer that computes in float reads 16 bits where an integer operator makes its input.
    """
    result = model.clone()
    _Widener(result.graph.graph, reference, style, seen).widen(layers)
    RemoveUnusedNodesPass()(result.graph)
    return result


@dataclass(frozen=True, kw_only=True)
class _Wide:
    """What a pair of 16 bits gives."""

    value: ir.Value
    form: Form
    parameters: AffineParameters


class _Widener:
    """Edits one graph in place."""

    def __init__(self, graph: ir.Graph, reference: Model, style: QdqStyle, seen: Extremes) -> None:
        self._graph, self._style, self._seen = graph, style, seen
        self._originals = {n.outputs[0].name: n for n in reference.graph.graph if n.outputs}
        self._nodes = {node.outputs[0].name: node for node in graph}
        self._inserter = Inserter(graph)
        self._made: dict[ir.Value, _Wide] = {}
        """What a unit writes -> the wide pair behind it."""
        self._beside: dict[tuple[ir.Value, Form], _Wide] = {}
        """Wide pairs of what others write, which convert."""

    def widen(self, layers: Collection[Layer]) -> None:
        """Give `layers` 16 bits."""
        chosen = self._chosen(layers)
        for node in [node for node in self._graph if node in chosen]:
            if self._carries(node):
                self._carrier(node)
            else:
                self._operator(node)

    def _chosen(self, layers: Collection[Layer]) -> set[ir.Node]:
        """The units of `layers`, those that make their inputs, and carriers in between."""
        chosen: set[ir.Node] = set()
        pending: list[ir.Value] = []
        for layer in layers:
            node = self._nodes[layer.output]
            head = self._unit(node)
            if head is None or self._carries(head):
                pending += [v for v in node.inputs if v is not None and _pair(v) is not None]
            else:
                chosen.add(head)
                pending += self._read_by(head)
        while pending:
            head = self._head(_root(pending.pop()))
            if head is None or head in chosen:
                continue
            chosen.add(head)
            if self._carries(head):
                pending += self._read_by(head)
        return chosen

    def _written(self, node: ir.Node) -> ir.Value:
        """What the unit of the operator `node`, or of the one before the pair `node`, writes."""
        value = _root(node.outputs[0])
        reader = only_reader(value)
        fused = reader is not None and reader.op_type in self._style.fused_activations
        return reader.outputs[0] if reader is not None and fused else value

    def _unit(self, node: ir.Node) -> ir.Node | None:
        """The operator in whose unit `node` is; None where it computes in float, or is wide."""
        return self._head(self._written(node))

    def _head(self, value: ir.Value) -> ir.Node | None:
        """The operator whose unit writes `value` in 8 bits; None where it is another's or wide."""
        node = value.producer()
        readers = [use.node for use in value.uses()]
        whole = len(readers) == 1 and readers[0].op_type == "QuantizeLinear"
        if node is None or not whole or _wide(readers[0]):
            return None
        before = node.inputs[0] if node.inputs else None
        if before is not None and node.op_type in self._style.fused_activations:
            maker = before.producer()
            if maker is not None and maker.op_type != "DequantizeLinear":
                node = maker
        original = self._originals.get(self._float_name(node))
        if original is None or (len(data_inputs(node)) != 1 and self._carries(node)):
            return None
        return node if any(map(_pair, self._read_by(node))) else None

    def _read_by(self, node: ir.Node) -> list[ir.Value]:
        values = (node.inputs[index] for index in self._activations(node))
        return [value for value in values if value is not None]

    def _activations(self, node: ir.Node) -> tuple[int, ...]:
        if self._carries(node):
            return data_inputs(node)
        operands = self._operands(node)
        return () if operands is None else operands.activations

    def _operands(self, node: ir.Node) -> Operands | None:
        return unit_operands(self._originals[self._float_name(node)])

    def _carries(self, node: ir.Node) -> bool:
        return node.op_type in self._style.shared_scale

    def _float_name(self, node: ir.Node) -> str:
        """Name of the output of `node` in the float graph: a pair can have taken it over."""
        output = node.outputs[0]
        return (output.name or "") if output.name in self._originals else _restored(output)

    def _operator(self, node: ir.Node) -> None:
        original, operands = self._originals[self._float_name(node)], self._operands(node)
        assert operands is not None
        name = node_name(original)
        forms = Forms(style=self._style, precision={name: "int16"})
        form, scales = forms.activation(original, name, operands), list[float]()
        for index in operands.activations:
            value = node.inputs[index]
            if value is not None and _pair(value) is not None:
                wide = self._reading(value, form)
                node.replace_input_with(index, wide.value)
                scales.append(float(wide.parameters.scale))
        for index in operands.constants:
            self._constant(node, index, original.inputs[index], form)
        if operands.bias is not None and operands.weights and len(scales) == 1:
            weight = node.inputs[operands.weights[0].index]
            self._bias(edge_of(node, operands.bias), original, weight, scales[0])
        reader = only_reader(node.outputs[0])
        last = node if reader is None or reader.op_type == "QuantizeLinear" else reader
        fixed = forms.output_range(last)
        for value in last.outputs:
            narrow = _reader(value)
            if narrow is not None:
                own = form.fixed_parameters(*fixed) if fixed else self._fit(form, self._span(value))
                self._behind(value, narrow, form, own)

    def _carrier(self, node: ir.Node) -> None:
        (index,) = data_inputs(node)
        value, form = node.inputs[index], Forms(style=self._style).wide
        if value is None or form is None or _pair(value) is None:
            return
        wide = self._made.get(_root(value)) or self._reading(value, form)
        node.replace_input_with(index, wide.value)
        for output in node.outputs:
            narrow = _reader(output)
            if narrow is not None:
                self._behind(output, narrow, wide.form, wide.parameters)

    def _reading(self, value: ir.Value, form: Form) -> _Wide:
        """What stands for `value` in `form`: the pair of who makes it, or one of its own."""
        root = _root(value)
        made = self._made.get(root)
        if made is not None and made.form == form:
            return made
        own_pair = _pair(value)
        if made is None and own_pair is not None and _wide(own_pair):
            return _Wide(value=value, form=form, parameters=_parameters(own_pair))
        key = (root, form)
        if key not in self._beside:
            narrow = made is None and self._integers(root)
            behind = made.value if made else value if narrow else root
            span = _represented(own_pair) if narrow and own_pair else self._span(root)
            own = self._fit(form, span)
            wide = self._inserter.activation_pair(root.name or "", (), own, behind=behind)
            self._beside[key] = _Wide(value=wide, form=form, parameters=own)
        return self._beside[key]

    def _integers(self, value: ir.Value) -> bool:
        """Whether a unit writes `value`: nobody but its pair may read that."""
        node = value.producer()
        if node is not None and node.op_type in self._style.fused_activations:
            before = node.inputs[0]
            node = node if before is None or _pair(before) else before.producer()
        return node is not None and any(_pair(v) for v in node.inputs if v is not None)

    def _behind(
        self, value: ir.Value, narrow: ir.Node, form: Form, parameters: AffineParameters
    ) -> None:
        """A wide pair behind `value`, before the `narrow` one, which converts from now on."""
        wide = self._inserter.activation_pair(
            value.name or "", (), parameters, whole=True, behind=value
        )
        self._made[value] = _Wide(value=wide, form=form, parameters=parameters)
        restored = next(use.node for use in narrow.outputs[0].uses()).outputs[0]
        for reader, index in list(restored.uses()):
            if reader.op_type != "QuantizeLinear" and self._unit(reader) is not reader:
                reader.replace_input_with(index, wide)
        for position, output in enumerate(self._graph.outputs):
            if output is restored:
                self._graph.outputs[position] = wide
                wide.name, restored.name = restored.name, wide.name

    def _constant(self, node: ir.Node, index: int, original: ir.Value | None, form: Form) -> None:
        array = constant_array(original)
        if original is None or array is None or not array.size:
            return
        if _stored(node.inputs[index]) is not None:
            own = self._fit(form, (float(array.min()), float(array.max())))
            edges = (edge_of(node, index),)
            self._inserter.weight(original.name or "", edges, array.astype(np.float32), own)

    def _bias(self, edge: Edge, original: ir.Node, weight: ir.Value | None, scale: float) -> None:
        """Count the bias at `edge` again, where activations have this `scale`."""
        index = edge[1]
        stored = _stored(self._inserter.consumer(edge).inputs[index])
        of_weight, plain = _stored(weight), original.inputs[index]
        if self._style.bias != "int32" or stored is None or of_weight is None or plain is None:
            return
        integers, steps = (constant_array(value) for value in stored.inputs[:2])
        weights, exact = constant_array(of_weight.inputs[1]), constant_array(plain)
        if integers is None or steps is None or weights is None or exact is None:
            return
        bias = (integers.astype(np.float64) * steps).astype(np.float32)
        if exact.shape == bias.shape:  # what no step has corrected needs no rounding twice
            bias = np.where(np.abs(exact - bias) <= steps, exact, bias).astype(np.float32)
        found = integer_bias(bias, scale, weights)
        if found is not None:
            self._inserter.bias(edge, plain.name or "", *found)

    def _fit(self, form: Form, span: Interval) -> AffineParameters:
        return form.parameters(*span, power_of_two=self._style.power_of_two_scales)

    def _span(self, value: ir.Value) -> Interval:
        """What `value` was seen to span, or else what its 8 bits represent."""
        name = (value.name or "") if value.name in self._seen else _restored(value)
        reader = _reader(value)
        assert reader is not None
        return self._seen.get(name) or _represented(reader)


def _pair(value: ir.Value) -> ir.Node | None:
    """The QuantizeLinear of the pair that gives `value`."""
    node = value.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.inputs[0] is None:
        return None
    before = node.inputs[0].producer()
    return before if before is not None and before.op_type == "QuantizeLinear" else None


def _root(value: ir.Value) -> ir.Value:
    """What `value` was before its pairs."""
    while (node := _pair(value)) is not None and node.inputs[0] is not None:
        value = node.inputs[0]
    return value


def _reader(value: ir.Value) -> ir.Node | None:
    return next((u.node for u in value.uses() if u.node.op_type == "QuantizeLinear"), None)


def _restored(value: ir.Value) -> str:
    """Name of what the pair behind `value` gives."""
    reader = _reader(value)
    uses = [] if reader is None else list(reader.outputs[0].uses())
    return (uses[0].node.outputs[0].name or "") if uses else ""


def float_name(node: ir.Node) -> str:
    """Name, in the float graph, of what the QuantizeLinear `node` reads."""
    value = node.inputs[0]
    name = "" if value is None else value.name or ""
    return _restored(value) if value is not None and name.endswith("_unquantized") else name


def _stored(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear of a weight, which may be turned behind it."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Transpose" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _wide(node: ir.Node) -> bool:
    kind = node.outputs[0].dtype
    return kind is not None and kind.bitwidth > 8


def _parameters(node: ir.Node) -> AffineParameters:
    """Scale and zero point of the QuantizeLinear `node`."""
    scale, zero = (constant_array(value) for value in node.inputs[1:3])
    assert scale is not None and zero is not None
    return AffineParameters(scale=scale, zero_point=zero, type=integer_type(zero.dtype.name))


def _represented(node: ir.Node) -> Interval:
    """The least and the largest number that the integers of a QuantizeLinear stand for."""
    found = _parameters(node)
    ends, zero = np.iinfo(found.zero_point.dtype), int(found.zero_point)
    return (ends.min - zero) * float(found.scale), (ends.max - zero) * float(found.scale)
