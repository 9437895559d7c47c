"""Write a placement into a graph: scales from ranges and weights, then Q/DQ pairs and integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgecompile.calibration.ranges import Ranges
from edgecompile.ir.facts import constant_array
from edgecompile.passes.base import Note
from edgecompile.passes.quantize.affine import (
    AffineParameters,
    FloatArray,
    channel_parameters,
    integer_type,
)
from edgecompile.passes.quantize.biases import (
    DoubleArray,
    Found,
    integer_bias,
    least_weight_scale,
    own_scale_bias,
)
from edgecompile.passes.quantize.forms import Interval
from edgecompile.passes.quantize.insert import Inserter
from edgecompile.passes.quantize.sites import (
    ActivationSite,
    BiasSite,
    ConstantSite,
    Edge,
    Placement,
    WeightSite,
)
from edgecompile.passes.quantize.weights import (
    Clip,
    clip_to_reach,
    pair_reach,
    weight_reach,
    weight_steps,
)
from edgecompile.targets.schema import QdqStyle


@dataclass(kw_only=True)
class Writer:
    """Edits the graph of `inserter`. `avoid`: weights must be safe from 16-bit saturation."""

    inserter: Inserter
    style: QdqStyle
    ranges: Ranges
    clip: Clip
    avoid: bool
    seen: dict[Edge, AffineParameters] = field(default_factory=dict)
    """What each quantized input of an operator is read with."""
    notes: list[Note] = field(default_factory=list)

    def write(self, placement: Placement) -> list[Note]:
        """Insert everything; what there is to tell about it."""
        self._activations(placement)
        self._weights(placement.weights, placement.biases)
        for site in placement.biases:
            self._bias(site)
        return self.notes

    def _activations(self, placement: Placement) -> None:
        intervals = _group_intervals(placement.activations, self.ranges)
        shared: dict[str, AffineParameters] = {}
        behind: dict[str, ir.Value] = {}
        for site in sorted(placement.activations, key=lambda site: site.converts):
            parameters = self._activation_parameters(site, intervals)
            shared[site.group] = parameters
            self.seen |= dict.fromkeys(site.edges, parameters)
            made = self.inserter.activation_pair(
                site.tensor,
                site.edges,
                parameters,
                whole=site.whole,
                behind=behind.get(site.tensor) if site.converts else None,
            )
            if site.whole:
                behind[site.tensor] = made
        self._constants(placement.constants, shared)

    def _activation_parameters(
        self, site: ActivationSite, intervals: dict[str, Interval]
    ) -> AffineParameters:
        if site.fixed is not None:
            return site.form.fixed_parameters(*site.fixed)
        low, high = intervals[site.group]
        return site.form.parameters(low, high, power_of_two=self.style.power_of_two_scales)

    def _constants(
        self, sites: Iterable[ConstantSite], shared: dict[str, AffineParameters]
    ) -> None:
        groups: dict[tuple[str, object, object], list[ConstantSite]] = {}
        for site in sites:
            groups.setdefault((site.tensor, site.form, site.group), []).append(site)
        for (tensor, _, _), group in groups.items():
            values = constant_array(self.inserter.value(tensor))
            if values is None or not np.isfinite(values).all() or not values.size:
                continue
            values, first = values.astype(np.float32), group[0]
            parameters = (
                shared[first.group]
                if first.group
                else first.form.parameters(
                    float(values.min()),
                    float(values.max()),
                    power_of_two=self.style.power_of_two_scales,
                )
            )
            edges = tuple(edge for site in group for edge in site.edges)
            self.seen |= dict.fromkeys(edges, parameters)
            self.inserter.weight(tensor, edges, values, parameters)

    def _weights(self, sites: Iterable[WeightSite], biases: Sequence[BiasSite]) -> None:
        shared: dict[tuple[object, ...], list[WeightSite]] = {}
        for site in sites:
            shared.setdefault((site.tensor, site.axis, site.form, site.turned), []).append(site)
        for group in shared.values():
            first = group[0]
            values = constant_array(self.inserter.value(first.tensor))
            if values is None:
                continue
            edges = tuple(site.edge for site in group)
            summed = next((site for site in group if site.inner is not None), first)
            floor = self._floor(edges, biases)
            weights, parameters, widened = self._weight_parameters(
                values.astype(np.float32), summed, floor
            )
            self.seen |= dict.fromkeys(edges, parameters)
            self.inserter.weight(first.tensor, edges, weights, parameters, turned=first.turned)
            if widened > 1.0:
                text = f"scale of weights up to {widened:.2f} times wider, so that u8 x s8 pairs"
                note = Note(message=f"{text} cannot saturate 16 bits", tensor=first.tensor)
                self.notes.append(note)

    def _floor(self, edges: Sequence[Edge], biases: Sequence[BiasSite]) -> DoubleArray:
        """Smallest scale of the weights at `edges` with which their INT32 biases fit."""
        floor: DoubleArray = np.zeros((), np.float64)
        for site in biases if self.style.bias == "int32" else ():
            bias = constant_array(self.inserter.value(site.tensor))
            if site.weight in edges and bias is not None:
                scale = float(self.seen[site.activation].scale)
                floor = np.maximum(floor, least_weight_scale(bias, scale))
        return floor

    def _weight_parameters(
        self, weights: FloatArray, site: WeightSite, floor: DoubleArray
    ) -> tuple[FloatArray, AffineParameters, float]:
        """Clipped weights, their parameters, how much overflow safety widened the worst channel.

        A wider scale must not give back what was clipped: the pairs were told safe without it.
        """
        narrow = self.style.weights.narrow_range
        dtype, axis = integer_type(site.form.type, narrow=narrow), site.scale_axis
        powers = self.style.power_of_two_scales
        reach = weight_reach(weights, axis, dtype, clip=self.clip, power_of_two=powers)
        weights, widened = clip_to_reach(weights, reach, axis), 1.0
        if self.avoid and dtype.bits == 8 and site.inner is not None:
            safe = pair_reach(weights, site.axis, site.inner, dtype)
            safe = safe if axis is not None else safe.max()
            widened = float(np.max(safe / np.where(reach > 0, reach, np.inf), initial=1.0))
            reach = np.maximum(reach, safe)
        fits = floor.ndim == 0 or (axis is not None and floor.size == reach.size)
        least = floor if fits else floor.max()
        least = least if axis is not None else np.max(least)
        raised = np.maximum(reach, (least * weight_steps(dtype)).astype(np.float32))
        if np.any((raised > reach) & (reach > 0)):
            text = "scale of weights raised to hold a bias that is far larger in 32 bits"
            self.notes.append(Note(message=text, tensor=site.tensor))
        parameters = channel_parameters(raised, dtype, axis=axis, power_of_two=powers)
        return weights, parameters, widened

    def _bias(self, site: BiasSite) -> None:
        bias = constant_array(self.inserter.value(site.tensor))
        weight = self.seen.get(site.weight)
        if bias is None or weight is None:
            return
        found: Found | None
        if self.style.bias == "int8":
            found = own_scale_bias(bias, power_of_two=self.style.power_of_two_scales)
        else:
            found = integer_bias(bias, float(self.seen[site.activation].scale), weight.scale)
        if found is None:
            text = f"bias of shape {list(bias.shape)} has no axis for the scales: it stays float"
            self.notes.append(Note(message=text, tensor=site.tensor))
            return
        integers, parameters = found
        self.seen[site.edge] = parameters
        self.inserter.bias(site.edge, site.tensor, integers, parameters)


def _group_intervals(sites: Iterable[ActivationSite], ranges: Ranges) -> dict[str, Interval]:
    """Union of the calibrated ranges of the tensors that share a scale, by group."""
    intervals: dict[str, Interval] = {}
    for site in sites:
        if site.fixed is not None:
            continue
        own = ranges.tensors[site.measured].interval(site.form.bits)
        low, high = intervals.get(site.group, own)
        intervals[site.group] = (min(low, own[0]), max(high, own[1]))
    return intervals
