"""Wider ranges for tensors whose clipped values matter, judged at the outputs of the model.

A range that makes a tensor's own error least clips what is rare. That can be the part which the
rest of the network listens to: errors of rounding have no common sign and average out in sums and
means, those of clipping all point the same way. Wider ranges cost nothing at run time, so they are
tried before layers go to 16 bits or float. Judged by the network's output as in Wu et al.,
arXiv:2004.09602, section 5, where the best calibration differs from network to network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecompile.ir.facts import constant_array
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import Context, Note
from edgecompile.passes.graph.edit import add_constant
from edgecompile.passes.quantize.affine import AffineParameters, integer_type, tensor_parameters
from edgecompile.passes.quantize.forms import Interval
from edgecompile.passes.quantize.gauge import Gauge
from edgecompile.passes.quantize.metering import of_model
from edgecompile.passes.quantize.operands import CONVOLUTIONS
from edgecompile.passes.quantize.precision import PrecisionBudget, excess
from edgecompile.passes.quantize.widening import extremes, float_name

CLIPPED = 1.02
"""A scale counts as clipping where that many times its size would hold all values."""
TRIED = 4
"""Scales that are tried one by one: each costs as many inferences as there are samples."""
WORTH = 0.9
"""A wider range stays where it leaves that share of the error at most."""
_PAIR = ("QuantizeLinear", "DequantizeLinear")


@dataclass(kw_only=True)
class Scale:
    """Pairs of one scale and zero point: those that must share it are not told from others."""

    parameters: AffineParameters
    nodes: list[str] = field(default_factory=list)
    """First outputs of the QuantizeLinear and DequantizeLinear nodes."""
    seen: Interval = (0.0, 0.0)

    @property
    def wider(self) -> AffineParameters:
        """Parameters that clip nothing of what was seen."""
        own, (low, high) = self.parameters, self.seen
        ends, zero = np.iinfo(own.zero_point.dtype), int(own.zero_point)
        scale = float(own.scale)
        low, high = min(low, (ends.min - zero) * scale), max(high, (ends.max - zero) * scale)
        middle = 0 if own.type.signed else 1 << (own.type.bits - 1)
        power = float(np.log2(scale)).is_integer()
        return tensor_parameters(low, high, own.type, symmetric=zero == middle, power_of_two=power)

    @property
    def growth(self) -> float:
        """How many times the step grows."""
        return float(self.wider.scale) / float(self.parameters.scale)


def with_wider_ranges(
    model: Model,
    reference: Model,
    gauge: Gauge,
    bounds: Sequence[PrecisionBudget],
    context: Context,
) -> tuple[Model, list[Note]]:
    """`model` with wider ranges where they bring it nearer to `bounds`, and what was done."""
    threads = context.threads
    scales = clipping(model, extremes(model, reference, gauge.samples, threads=threads))
    if not scales:
        return model, []

    def error(tried: Model) -> float:
        found = of_model(tried, gauge, threads)
        return max(excess(bound, found) for bound in bounds)

    before = error(model)
    found, chosen, after = better(model, scales, error, before)
    if not chosen:
        return model, []
    text = f"{len(chosen)} of {len(scales)} ranges that clip widened to all that was seen"
    return found, [Note(message=f"{text}: {100 * after / before:.3g} % of the error is left")]


def clipping(model: Model, seen: Mapping[str, Interval]) -> list[Scale]:
    """Scales of 8 bits that cut values off, those first that grow most; `seen` are the extremes
    of tensors of the float model."""
    found: dict[tuple[float, int, str], Scale] = {}
    for node in model.graph.graph:
        own = _parameters(node)
        if own is None:
            continue
        key = (float(own.scale), int(own.zero_point), own.type.name)
        scale = found.setdefault(key, Scale(parameters=own))
        scale.nodes.append(node.outputs[0].name or "")
        name = float_name(node) if node.op_type == _PAIR[0] else ""
        if name in seen:
            low, high = scale.seen
            scale.seen = (min(low, seen[name][0]), max(high, seen[name][1]))
    return sorted((s for s in found.values() if s.growth > CLIPPED), key=lambda s: -s.growth)


def widened(model: Model, scales: Collection[Scale]) -> Model:
    """`model` with those ranges wide; biases that are counted in their steps are counted again."""
    result = model.clone()
    graph, names = result.graph.graph, Names(result.graph.graph)
    growths: dict[str, float] = {}
    made: dict[int, tuple[ir.Value, ir.Value]] = {}
    at = {name: scale for scale in scales for name in scale.nodes}
    for node in graph:
        scale = at.get(node.outputs[0].name or "")
        if scale is None:
            continue
        if id(scale) not in made:
            new = scale.wider
            base = node.inputs[1].name if node.inputs[1] is not None else "scale"
            made[id(scale)] = (
                add_constant(graph, new.scale, f"{base}_wide", names),
                add_constant(graph, new.zero_point, f"{base}_wide_zero", names),
            )
        for index, value in enumerate(made[id(scale)], start=1):
            node.replace_input_with(index, value)
        growths[node.outputs[0].name or ""] = scale.growth
    for node in graph:
        if node.op_type in CONVOLUTIONS or node.op_type == "Gemm":
            _recount(graph, names, node, growths)
    RemoveUnusedNodesPass()(result.graph)
    return result


def _recount(graph: ir.Graph, names: Names, node: ir.Node, growths: Mapping[str, float]) -> None:
    """Hold the INT32 bias of `node` in the steps of its products."""
    first = node.inputs[0]
    growth = growths.get(first.name or "", 1.0) if first is not None else 1.0
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    stored = None if bias is None else bias.producer()
    if growth == 1.0 or stored is None or stored.op_type != _PAIR[1]:
        return
    integers, steps = (constant_array(value) for value in stored.inputs[:2])
    if integers is None or steps is None or integers.dtype != np.int32:
        return
    counted = np.rint(integers / growth).astype(np.int32)
    base = (stored.inputs[0].name if stored.inputs[0] is not None else None) or "bias"
    grown = (steps * np.float32(growth)).astype(steps.dtype)
    inputs = [
        add_constant(graph, counted, f"{base}_wide", names),
        add_constant(graph, grown, f"{base}_wide_scale", names),
        *stored.inputs[2:],
    ]
    copy = ir.Node("", _PAIR[1], inputs, stored.attributes.values(), name=None)
    copy.outputs[0].name = copy.name = names.unique(f"{base}_wide_dequantized")
    copy.outputs[0].type, copy.outputs[0].shape = bias.type, bias.shape  # type: ignore[union-attr]
    graph.insert_before(node, copy)
    node.replace_input_with(2, copy.outputs[0])


def better(
    model: Model, scales: list[Scale], error: Callable[[Model], float], before: float
) -> tuple[Model, list[Scale], float]:
    """The best of `model` with some of `scales` wider, which, and its `error`; `before` is that of
    `model`. All at once are tried first, then each by itself, the one that clips most first."""
    chosen: list[Scale] = []
    best, least = model, before
    everything = widened(model, scales)
    if len(scales) > 1 and (found := error(everything)) < WORTH * least:
        chosen, best, least = list(scales), everything, found
    for scale in scales[:TRIED]:
        other = [s for s in chosen if s is not scale] if scale in chosen else [*chosen, scale]
        if not other:
            continue
        changed = widened(model, other)
        if (found := error(changed)) < WORTH * least:
            chosen, best, least = other, changed, found
    return best, chosen, least


def _parameters(node: ir.Node) -> AffineParameters | None:
    """Scale and zero point of a node of an activation's pair with one scale of 8 bits."""
    if node.op_type not in _PAIR or len(node.inputs) < 3 or node.domain not in ("", "ai.onnx"):
        return None
    source = node.inputs[0]
    maker = None if source is None else source.producer()
    if node.op_type == _PAIR[1] and (maker is None or maker.op_type != _PAIR[0]):
        return None
    scale, zero = (constant_array(value) for value in node.inputs[1:3])
    if scale is None or zero is None or scale.ndim or zero.dtype.name not in ("int8", "uint8"):
        return None
    if source is None or constant_array(source) is not None:
        return None
    return AffineParameters(scale=scale, zero_point=zero, type=integer_type(zero.dtype.name))
