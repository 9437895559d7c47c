"""Options that say where Q/DQ pairs go: the same for calibrating and for quantizing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgecompile.ir.model import Model
from edgecompile.passes.base import Pass
from edgecompile.passes.quantize.forms import Precision
from edgecompile.passes.quantize.sites import node_name
from edgecompile.targets.schema import ActivationType, QdqStyle, Target


class PlacedPass(Pass):
    """A pass that looks at the places of Q/DQ pairs. Give `calibrate` and `quantize_static` alike:
    a tensor without a calibrated range leaves its operator in float."""

    activations: ActivationType | None = None
    """Integer type of activations; null takes the target's."""
    operators: tuple[str, ...] | None = None
    """Quantize these operators; null takes the target's list of integer operators."""
    products: Literal["integer", "float"] = "float"
    """Products of two activations, as in attention: few of the multiplications of most models, and
    the dearest ones in accuracy."""
    keep_float: tuple[str, ...] = ()
    """Names of nodes that stay in float."""
    precision: dict[str, Precision] = Field(default_factory=dict)
    """Node -> `int8`, `int16` (its activations; the weights keep their type) or `float`, where it
    is to be other than the target's style has it."""
    operator_precision: dict[str, Precision] = Field(default_factory=dict)
    """The same by operator, such as `{LayerNormalization: int16}`; `precision` goes before it."""

    def style(self, target: Target) -> QdqStyle | None:
        """The target's style, with the type of activations that the recipe wants."""
        style = target.quantization
        if style is None or self.activations is None:
            return style
        activations = style.activations.model_copy(update={"type": self.activations})
        return style.model_copy(update={"activations": activations})

    def widths(self, model: Model) -> dict[str, Precision]:
        """Node -> the width asked for, by its name or by its operator."""
        found: dict[str, Precision] = {
            node_name(node): self.operator_precision[node.op_type]
            for node in model.graph.graph
            if node.op_type in self.operator_precision
        }
        return found | self.precision

    def floats_of(self, model: Model) -> tuple[str, ...]:
        """Names of all nodes of `model` that are to stay in float."""
        kept = (name for name, wanted in self.widths(model).items() if wanted == "float")
        return tuple(dict.fromkeys((*self.keep_float, *kept)))

    def unfit(self, target: Target) -> list[str]:
        """Operators and widths that the target has no integer form of."""
        reasons = super().unfit(target)
        style = target.quantization
        asked = {*self.precision.values(), *self.operator_precision.values()}
        if style is not None and "int16" in asked and not _has_16_bits(style):
            reasons.append("the target takes no activations of 16 bits, which 'precision' asks for")
        if style is None or self.operators is None:
            return reasons
        known = {*style.operators, *style.carriers}
        return reasons + [
            f"the target takes no integers for operator '{name}'; those that it does are "
            f"{', '.join(sorted(known))}"
            for name in self.operators
            if name not in known
        ]


def _has_16_bits(style: QdqStyle) -> bool:
    return style.activations.wide is not None or style.activations.type.endswith("16")
