"""`quantize_static`: insert Q/DQ pairs where the target's runtime has integer kernels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecompile.calibration.ranges import Ranges
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue import quantize as rules
from edgecompile.diagnostics.core import Where
from edgecompile.ir.facts import constant_array, op_census, opset
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Note, Outcome, unchanged
from edgecompile.passes.quantize.affine import (
    AffineParameters,
    FloatArray,
    channel_parameters,
    integer_type,
    tensor_parameters,
)
from edgecompile.passes.quantize.insert import Inserter
from edgecompile.passes.quantize.placed import PlacedPass
from edgecompile.passes.quantize.placement import (
    ActivationSite,
    Form,
    Placement,
    WeightSite,
    node_name,
    place,
)
from edgecompile.passes.quantize.weights import (
    Clip,
    clip_to_reach,
    pair_reach,
    weight_reach,
)
from edgecompile.targets.schema import QdqStyle, Saturation, Target


class QuantizeStatic(PlacedPass):
    """Static INT8 quantization: Q/DQ pairs in the target's style, from calibrated ranges."""

    id: ClassVar[str] = "quantize_static"
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RANGES})
    facts: ClassVar[tuple[str, ...]] = ("id", "quantization")
    required_facts: ClassVar[tuple[str, ...]] = ("quantization",)
    lossy: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "numpy")

    activations: Literal["uint8", "int8", "uint16", "int16"] | None = None
    """Integer type of activations; null takes the target's."""
    weights: Literal["int8", "uint8", "int16"] | None = None
    """Integer type of weights; null takes the target's."""
    embeddings: Literal["integer", "float"] = "integer"
    """Tables that a Gather picks rows from, such as those of words: integers, a scale per row."""
    weight_clip: Clip = "mse"
    """How far to clip each channel's weights: `none` keeps the maximum, `mse` least error."""
    overflow: Literal["auto", "avoid", "ignore"] = "auto"
    """Whether weights must be safe from 16-bit saturation (x86 without VNNI).

    `auto` takes the target's facts.
    """

    def unfit(self, target: Target) -> list[str]:
        """Also the parts of a Q/DQ style that are not made yet: ignoring them would be silent."""
        reasons, style = super().unfit(target), target.quantization
        wanted = {} if style is None else _not_made(style)
        if any(name != "float" for name in self.precision.values()):
            wanted["a width for single operators"] = True
        return reasons + [
            f"the target or the recipe wants {what}, which this pass does not make yet"
            for what, asked in wanted.items()
            if asked
        ]

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """A target with a Q/DQ style, ranges, opset 13, and a model that is still float."""
        found: list[Diagnostic] = []
        where = Where(step=self.id)
        if context.target.quantization is None:
            found.append(rules.NO_QDQ_STYLE.at(where, target=context.target.id, step=self.id))
        if context.ranges is None:
            found.append(rules.NO_RANGES.at(where, step=self.id))
        needed = 21 if self._sixteen_bits(context.target.quantization) else 13
        if opset(model) < needed:
            low = rules.OPSET_TOO_LOW.at(where, opset=opset(model), step=self.id, needed=needed)
            found.append(low)
        census = op_census(model)
        count = census.get("QuantizeLinear", 0) + census.get("DequantizeLinear", 0)
        if count:
            found.append(rules.ALREADY_QUANTIZED.at(where, count=count))
        names = {node_name(node) for node in model.graph.graph}
        found += [
            rules.UNKNOWN_NODE.at(where, node=name)
            for name in dict.fromkeys((*self.keep_float, *self.precision))
            if name not in names
        ]
        return found

    def ensures(self, before: Model, after: Model, context: Context) -> list[Diagnostic]:
        """A warning when all of the model stays in float."""
        if op_census(after).get("DequantizeLinear", 0):
            return []
        return [rules.NOTHING_QUANTIZED.at(Where(step=self.id), step=self.id)]

    def run(self, model: Model, context: Context) -> Outcome:
        """Insert the pairs that `placement.place` decides."""
        style, ranges = context.target.quantization, context.ranges
        if style is None or ranges is None:
            return unchanged(model)
        placement, missing = self._place_calibrated(model, style, ranges)
        notes = [note for note in placement.notes if note.node not in missing]
        notes += [_no_range(node, why) for node, why in missing.items()]
        if not placement.integer_nodes:
            return unchanged(model, notes)
        result = model.clone()
        inserter = Inserter(result.graph.graph)
        self._insert_activations(inserter, placement.activations, style, ranges)
        notes += self._insert_weights(inserter, placement.weights, style)
        RemoveUnusedNodesPass()(result.graph)
        return Outcome(model=result, changed=True, notes=notes)

    def _place_calibrated(
        self, model: Model, style: QdqStyle, ranges: Ranges
    ) -> tuple[Placement, dict[str, str]]:
        """Places whose ranges are known, and the nodes left in float for want of one: why.

        A node in float can hold a pair back below a pass-through operator, on a tensor that nobody
        calibrated; so it takes rounds.
        """
        missing: dict[str, str] = {}
        while True:
            placement = self._place(model, style, (*self.floats, *missing))
            lost = _nodes_without_range(model, placement, ranges)
            if not lost:
                return placement, missing
            missing |= lost

    def _sixteen_bits(self, style: QdqStyle | None) -> bool:
        kinds = (style.activations.type, style.weights.type) if style else ("", "")
        chosen = (self.activations or kinds[0], self.weights or kinds[1])
        return any(name.endswith("16") for name in chosen)

    def _place(self, model: Model, style: QdqStyle, keep_float: tuple[str, ...]) -> Placement:
        return place(
            model,
            style,
            keep_float=keep_float,
            operators=self.operators,
            products=self.products == "integer",
            embeddings=self.embeddings == "integer",
        )

    def _insert_activations(
        self,
        inserter: Inserter,
        sites: Iterable[ActivationSite],
        style: QdqStyle,
        ranges: Ranges,
    ) -> None:
        intervals = _group_intervals(sites, ranges)
        for site in sites:
            low, high = intervals[site.group]
            parameters = self._activation_parameters(site.form, low, high, style)
            inserter.activation_pair(site.tensor, site.edges, parameters)

    def _activation_parameters(
        self, form: Form, low: float, high: float, style: QdqStyle
    ) -> AffineParameters:
        dtype = integer_type(self.activations or style.activations.type)
        symmetric = style.activations.symmetric
        # an unsigned type has the zero point 0 by itself where nothing is negative
        unsure = dtype.signed or low < 0
        if form is Form.SIGNED or (form is Form.ZERO_POINT_0 and unsure):
            dtype, symmetric = integer_type(f"int{dtype.bits}"), True
        return tensor_parameters(
            low, high, dtype, symmetric=symmetric, power_of_two=style.power_of_two_scales
        )

    def _insert_weights(
        self, inserter: Inserter, sites: Iterable[WeightSite], style: QdqStyle
    ) -> list[Note]:
        avoid = self.overflow == "avoid" or (
            self.overflow == "auto" and style.saturation is not Saturation.NEVER
        )
        notes: list[Note] = []
        shared: dict[tuple[str, int | None], list[WeightSite]] = {}
        for site in sites:
            shared.setdefault((site.tensor, site.axis), []).append(site)
        for (tensor, _), group in shared.items():
            values = constant_array(inserter.value(tensor))
            if values is None:
                continue
            summed = next((site for site in group if site.inner is not None), group[0])
            weights, parameters, widened = self._weight_parameters(
                values.astype(np.float32), summed, style, avoid=avoid
            )
            inserter.weight(tensor, tuple(site.edge for site in group), weights, parameters)
            if widened > 1.0:
                text = f"scale of weights up to {widened:.2f} times wider, so that u8 x s8 pairs"
                notes.append(Note(message=f"{text} cannot saturate 16 bits", tensor=tensor))
        return notes

    def _weight_parameters(
        self, weights: FloatArray, site: WeightSite, style: QdqStyle, *, avoid: bool
    ) -> tuple[FloatArray, AffineParameters, float]:
        """Clipped weights, their parameters, how much overflow safety widened the worst channel.

        A wider scale must not give back what was clipped: the pairs were told safe without it.
        """
        dtype = integer_type(self.weights or style.weights.type, narrow=style.weights.narrow_range)
        axis = site.axis if style.weights.per_channel else None
        reach = weight_reach(weights, axis, dtype, clip=self.weight_clip)
        weights, widened = clip_to_reach(weights, reach, axis), 1.0
        if avoid and dtype.bits == 8 and site.inner is not None:
            safe = pair_reach(weights, site.axis, site.inner, dtype)
            safe = safe if axis is not None else safe.max()
            widened = float(np.max(safe / np.where(reach > 0, reach, np.inf), initial=1.0))
            reach = np.maximum(reach, safe)
        parameters = channel_parameters(
            reach, dtype, axis=axis, power_of_two=style.power_of_two_scales
        )
        return weights, parameters, widened


def _not_made(style: QdqStyle) -> dict[str, bool]:
    return {
        f"{style.bias.upper()} biases": style.bias != "float",
        "Q/DQ pairs at outputs": style.outputs,
        "rules for single operators": bool(style.rules),
        "one scale for all inputs of an element-wise operator": style.unify_elementwise_inputs,
        "a residual sum in the kernel of a convolution": style.fused_residual,
        "pairs of the domain com.microsoft": style.contrib_types,
    }


def _group_intervals(
    sites: Iterable[ActivationSite], ranges: Ranges
) -> dict[str, tuple[float, float]]:
    """Union of the calibrated ranges of the tensors that share a scale, by group."""
    intervals: dict[str, tuple[float, float]] = {}
    for site in sites:
        found = ranges.tensors[site.tensor]
        low, high = intervals.get(site.group, (found.min, found.max))
        intervals[site.group] = (min(low, found.min), max(high, found.max))
    return intervals


def _nodes_without_range(model: Model, placement: Placement, ranges: Ranges) -> dict[str, str]:
    """Integer nodes whose activations calibration gave no range for, and why.

    Pass-through operators carry a demand further up, so the operators below them are found by
    asking which integer nodes lose a site, transitively.
    """
    lost = {s.tensor for s in placement.activations if s.tensor not in ranges.tensors}
    if not lost:
        return {}
    owners = {node.outputs[0].name or "": node for node in model.graph.graph}
    integer = set(placement.integer_nodes)
    missing: dict[str, str] = {}
    pending = [(edge, site.tensor) for site in placement.activations for edge in site.edges
               if site.tensor in lost]  # fmt: skip
    while pending:
        (output, _), tensor = pending.pop()
        node = owners[output]
        if node_name(node) in integer:
            missing[node_name(node)] = ranges.skipped.get(tensor, f"'{tensor}' was not calibrated")
            continue
        pending += [((use.outputs[0].name or "", i), tensor) for use, i in node.outputs[0].uses()]
    return missing


def _no_range(node: str, why: str) -> Note:
    return Note(message=f"no calibrated range: {why}", node=node, kept_float=True)
