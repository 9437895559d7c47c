"""`quark_quantize`: AMD's Quark instead of the built-in quantizer."""

from __future__ import annotations

from typing import ClassVar, Literal

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.quantize.outside import OutsidePass
from edgecompile.targets.schema import Target


class QuarkQuantize(OutsidePass):
    """Quantize with amd-quark 0.13, in an environment of its own.

    It asks for `edgecompile toolchain install quark`. XINT8 has uint8 activations with zero point
    128 and INT8 biases, every scale a power of two; A8W8 has int8 and INT32 biases.
    """

    id: ClassVar[str] = "quark_quantize"
    version: ClassVar[int] = 1
    toolchain: ClassVar[str | None] = "quark"
    libraries: ClassVar[tuple[str, ...]] = ("amd-quark",)

    preset: Literal["XINT8", "A8W8"] | None = None
    """Null takes XINT8 where the target wants powers of two, else A8W8."""

    def unfit(self, target: Target) -> list[str]:
        """Also refuses targets whose integers it does not make."""
        found, style = super().unfit(target), target.quantization
        if style is not None:
            if not style.activations.symmetric:
                found.append("it makes symmetric activations only")
            if style.power_of_two_scales and self.preset == "A8W8":
                found.append("the scales of A8W8 are no powers of two")
        return found

    def run(self, model: Model, context: Context) -> Outcome:
        """Quantize in a guarded process. Raises EC-510 to EC-514 when it fails."""
        style = context.target.quantization
        assert style is not None  # `required_facts`
        preset = self.preset or ("XINT8" if style.power_of_two_scales else "A8W8")
        return self._quantize(model, context, task_file="quark.py", options={"preset": preset})
