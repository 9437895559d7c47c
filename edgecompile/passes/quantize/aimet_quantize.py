"""`aimet_quantize`: AIMET instead of the built-in quantizer."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.quantize.outside import OutsidePass, saturation_note
from edgecompile.targets.schema import Target


class AimetQuantize(OutsidePass):
    """Quantize with aimet-onnx 2.42, in an environment of its own.

    Cross-layer equalization: Nagel et al. 2019, arXiv:1906.04721. AdaRound: Nagel et al. 2020,
    arXiv:2004.10568. It asks for `edgecompile toolchain install aimet`.
    """

    id: ClassVar[str] = "aimet_quantize"
    version: ClassVar[int] = 1
    toolchain: ClassVar[str | None] = "aimet"
    libraries: ClassVar[tuple[str, ...]] = ("aimet-onnx",)

    equalize: bool = False
    """Cross-layer equalization first. It also replaces ReLU6 by ReLU."""
    rounding: Literal["nearest", "seq_mse", "adaround"] = "nearest"
    """How weights become integers. `seq_mse` searches each scale for the least error of its
    layer's output; `adaround` learns the rounding, which takes minutes and more."""
    iterations: Annotated[int, Field(ge=1)] = 10_000
    """Steps of `adaround` for each layer."""

    def unfit(self, target: Target) -> list[str]:
        """Also refuses targets whose integers it does not make."""
        found = super().unfit(target)
        style = target.quantization
        if style is not None:
            if style.weights.type != "int8" or not style.weights.symmetric:
                found.append("it makes symmetric int8 weights only")
            if not style.weights.per_channel:
                found.append("it makes a scale for each channel of the weights")
            if style.power_of_two_scales:
                found.append("it has no power-of-two scales")
        return found

    def run(self, model: Model, context: Context) -> Outcome:
        """Quantize in a guarded process. Raises EC-510 to EC-514 when it fails."""
        style = context.target.quantization
        assert style is not None  # `required_facts`
        options = {
            "activations": 16 if style.activations.type.endswith("16") else 8,
            "force_activation_as": "unsigned" if style.activations.type[0] == "u" else "signed",
            "equalize": self.equalize,
            "rounding": self.rounding,
            "iterations": self.iterations,
        }
        outcome = self._quantize(model, context, task_file="aimet.py", options=options)
        return replace(outcome, notes=[*outcome.notes, *saturation_note(style)])
