"""Options that say where Q/DQ pairs go: the same for calibrating and for quantizing."""

from __future__ import annotations

from typing import Literal

from edgecompile.passes.base import Pass
from edgecompile.targets.schema import Target


class PlacedPass(Pass):
    """A pass that looks at the places of Q/DQ pairs. Give `calibrate` and `quantize_static` alike:
    a tensor without a calibrated range leaves its operator in float."""

    operators: tuple[str, ...] | None = None
    """Quantize these operators; null takes the target's list of integer operators."""
    products: Literal["integer", "float"] = "float"
    """Products of two activations, as in attention: few of the multiplications of most models, and
    the dearest ones in accuracy."""
    keep_float: tuple[str, ...] = ()
    """Names of nodes that stay in float."""

    def unfit(self, target: Target) -> list[str]:
        """Operators that the target has no integer form of."""
        reasons = super().unfit(target)
        style = target.quantization
        if style is None or self.operators is None:
            return reasons
        known = {*style.operators, *style.carriers}
        return reasons + [
            f"the target takes no integers for operator '{name}'; those that it does are "
            f"{', '.join(sorted(known))}"
            for name in self.operators
            if name not in known
        ]
