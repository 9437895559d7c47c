"""`quantize_static`: insert Q/DQ pairs where the target's runtime has integer kernels."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from onnx_ir.passes.common import RemoveUnusedNodesPass
from pydantic import Field

from edgecompile.calibration.ranges import Ranges
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue import quantize as rules
from edgecompile.diagnostics.catalogue.qnn import PRECISION_REFUSED
from edgecompile.diagnostics.core import Where
from edgecompile.ir.facts import op_census, opset
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Note, Outcome, unchanged
from edgecompile.passes.quantize.affine import integer_type
from edgecompile.passes.quantize.insert import Inserter
from edgecompile.passes.quantize.joins import JOIN_LOSS_BITS
from edgecompile.passes.quantize.placed import PlacedPass
from edgecompile.passes.quantize.placement import place
from edgecompile.passes.quantize.sites import Placement, node_name
from edgecompile.passes.quantize.unranged import nodes_without_range
from edgecompile.passes.quantize.weights import Clip
from edgecompile.passes.quantize.writing import Writer
from edgecompile.targets.schema import QdqStyle, Saturation, Target, WeightType


class QuantizeStatic(PlacedPass):
    """Static INT8 quantization: Q/DQ pairs in the target's style, from calibrated ranges."""

    id: ClassVar[str] = "quantize_static"
    version: ClassVar[int] = 2
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RANGES})
    facts: ClassVar[tuple[str, ...]] = ("id", "quantization")
    required_facts: ClassVar[tuple[str, ...]] = ("quantization",)
    lossy: ClassVar[bool] = True
    mends: ClassVar[frozenset[str]] = frozenset({PRECISION_REFUSED.code})
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "numpy")

    weights: WeightType | None = None
    """Integer type of weights; null takes the target's."""
    embeddings: Literal["integer", "float"] = "integer"
    """Tables that a Gather picks rows from, such as those of words: integers, a scale per row."""
    weight_clip: Clip = "mse"
    """How far to clip each channel's weights: `none` keeps the maximum, `mse` least error."""
    join_loss: Annotated[float, Field(ge=0)] = JOIN_LOSS_BITS
    """Most bits of resolution (6 dB each) that a quantity may lose by sharing the scale of others
    where it need not: in a Concat of a detector's boxes and scores, say, which then stays float."""
    overflow: Literal["auto", "avoid", "ignore"] = "auto"
    """Whether weights must be safe from 16-bit saturation (x86 without VNNI).

    `auto` takes the target's facts.
    """

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """A target with a Q/DQ style, ranges, opset 13, and a model that is still float."""
        found: list[Diagnostic] = []
        where = Where(step=self.id)
        if context.target.quantization is None:
            found.append(rules.NO_QDQ_STYLE.at(where, target=context.target.id, step=self.id))
        if context.ranges is None:
            found.append(rules.NO_RANGES.at(where, step=self.id))
        needed = self._needed_opset(model, context)
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
        style, ranges = self.style(context.target), context.ranges
        if style is None or ranges is None:
            return unchanged(model)
        placement, missing = self._place_calibrated(model, style, ranges)
        notes = [note for note in placement.notes if note.node not in missing]
        notes += [_no_range(node, why) for node, why in missing.items()]
        if not placement.integer_nodes:
            return unchanged(model, notes)
        result = model.clone()
        writer = Writer(
            inserter=Inserter(result.graph.graph),
            style=style,
            ranges=ranges,
            clip=self.weight_clip,
            avoid=self.overflow == "avoid"
            or (self.overflow == "auto" and style.saturation is not Saturation.NEVER),
        )
        notes += writer.write(placement)
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
            placement = self._place(model, style, (*self.floats_of(model), *missing), ranges)
            lost = nodes_without_range(model, placement, ranges)
            if not lost:
                return placement, missing
            missing |= lost

    def style(self, target: Target) -> QdqStyle | None:
        """The target's style, with the types that the recipe wants."""
        style = super().style(target)
        if style is None or self.weights is None:
            return style
        weights = style.weights.model_copy(update={"type": self.weights})
        return style.model_copy(update={"weights": weights})

    def _needed_opset(self, model: Model, context: Context) -> int:
        """13 for scales per channel; 21 for other types than 8 bits, if in the standard domain."""
        style = self.style(context.target)
        if style is None or style.contrib_types:
            return 13
        types = self._place(model, style, self.floats_of(model), context.ranges).types
        return 21 if any(integer_type(name).bits != 8 for name in types) else 13

    def _place(
        self, model: Model, style: QdqStyle, keep_float: tuple[str, ...], ranges: Ranges | None
    ) -> Placement:
        return place(
            model,
            style,
            keep_float=keep_float,
            operators=self.operators,
            products=self.products == "integer",
            embeddings=self.embeddings == "integer",
            precision=self.widths(model),
            ranges=ranges,
            join_loss=self.join_loss,
        )


def _no_range(node: str, why: str) -> Note:
    return Note(message=f"no calibrated range: {why}", node=node, kept_float=True)
