"""`quantize_fp8`: insert Q/DQ pairs of 8-bit floats where the target's runtime has such kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import ml_dtypes
import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue import quantize as rules
from edgecompile.diagnostics.core import Where
from edgecompile.ir.facts import op_census, opset
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Note, Outcome, unchanged
from edgecompile.passes.quantize.affine import (
    AffineParameters,
    FloatArray,
    IntArray,
    IntegerType,
)
from edgecompile.passes.quantize.insert import Inserter
from edgecompile.passes.quantize.placed import PlacedPass
from edgecompile.passes.quantize.placement import place
from edgecompile.passes.quantize.sites import Edge
from edgecompile.passes.quantize.unranged import nodes_without_range
from edgecompile.passes.quantize.writing import Writer
from edgecompile.targets.schema import Target

LARGEST = 448.0
"""Of E4M3 without infinities (Micikevicius et al. 2022, "FP8 Formats for Deep Learning")."""
OPSET = 19
"""From here on QuantizeLinear and DequantizeLinear have 8-bit floats."""
_E4M3 = IntegerType(name="float8e4m3fn", bits=8, signed=True)


class QuantizeFp8(PlacedPass):
    """Static quantization to 8-bit floats (E4M3): Q/DQ pairs with scales of amax / 448.

    One scale for an activation, one per output channel for weights. A float loses the same share
    of every number that it holds, so ranges are better not clipped: `method: minmax` in
    `calibrate`. Operators are those that the target takes in INT8.
    """

    id: ClassVar[str] = "quantize_fp8"
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RANGES})
    facts: ClassVar[tuple[str, ...]] = ("precisions", "quantization")
    required_facts: ClassVar[tuple[str, ...]] = ("quantization",)
    lossy: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "numpy", "ml-dtypes")

    def unfit(self, target: Target) -> list[str]:
        """Whether any compute unit of the target works in 8-bit floats."""
        if any("fp8" in unit for unit in target.precisions.values()):
            return super().unfit(target)
        return ["no compute unit of the target lists fp8"]

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """Ranges, opset 19, and a model that is still float."""
        where, found = Where(step=self.id), list[Diagnostic]()
        if context.ranges is None:
            found.append(rules.NO_RANGES.at(where, step=self.id))
        if opset(model) < OPSET:
            low = rules.OPSET_TOO_LOW.at(where, opset=opset(model), step=self.id, needed=OPSET)
            found.append(low)
        count = op_census(model).get("DequantizeLinear", 0)
        if count:
            found.append(rules.ALREADY_QUANTIZED.at(where, count=count))
        return found

    def run(self, model: Model, context: Context) -> Outcome:
        """Insert the pairs that `placement.place` decides, with 8-bit floats in them."""
        style, ranges = self.style(context.target), context.ranges
        if style is None or ranges is None:
            return unchanged(model)
        kept: dict[str, str] = {}
        while True:
            placement = place(
                model,
                style,
                keep_float=(*self.floats_of(model), *kept),
                operators=self.operators,
                products=self.products == "integer",
                embeddings=False,
                precision=self.widths(model),
                ranges=ranges,
            )
            lost = nodes_without_range(model, placement, ranges)
            if not lost:
                break
            kept |= lost
        notes = [*(note for note in placement.notes if note.node not in kept), *_unranged(kept)]
        if not placement.integer_nodes:
            return unchanged(model, notes)
        result = model.clone()
        inserter = Fp8Inserter(result.graph.graph)
        writer = Writer(inserter=inserter, style=style, ranges=ranges, clip="none", avoid=False)
        notes += writer.write(placement)
        RemoveUnusedNodesPass()(result.graph)
        return Outcome(model=result, changed=True, notes=notes)


class Fp8Inserter(Inserter):
    """Inserts pairs of 8-bit floats for the integers that it is asked for."""

    def activation_pair(
        self,
        tensor: str,
        edges: tuple[Edge, ...],
        parameters: AffineParameters,
        *,
        whole: bool = False,
        behind: ir.Value | None = None,
    ) -> ir.Value:
        """As for integers."""
        parameters = as_fp8(parameters)
        return super().activation_pair(tensor, edges, parameters, whole=whole, behind=behind)

    def weight(
        self,
        tensor: str,
        edges: tuple[Edge, ...],
        values: FloatArray,
        parameters: AffineParameters,
        *,
        turned: bool = False,
    ) -> None:
        """As for integers."""
        super().weight(tensor, edges, values, as_fp8(parameters), turned=turned)

    def stored(self, values: FloatArray, parameters: AffineParameters) -> IntArray:
        """`values` over their scale, rounded to the nearest 8-bit float."""
        scale, _ = parameters.aligned(values.ndim)
        scaled = np.clip(values.astype(np.float32) / scale, -LARGEST, LARGEST)
        rounded: IntArray = scaled.astype(ml_dtypes.float8_e4m3fn)
        return rounded


def as_fp8(parameters: AffineParameters) -> AffineParameters:
    """The scale whose largest 8-bit float is what the largest integer stands for."""
    steps = float(-parameters.type.qmin)
    scale = np.asarray(parameters.scale * np.float32(steps / LARGEST), np.float32)
    zero = np.zeros(scale.shape, ml_dtypes.float8_e4m3fn)
    return replace(parameters, scale=scale, zero_point=zero, type=_E4M3)


def _unranged(kept: dict[str, str]) -> list[Note]:
    return [
        Note(message=f"no calibrated range: {why}", node=node, kept_float=True)
        for node, why in kept.items()
    ]
