"""`onc_quantize`: onnx-neural-compressor instead of the built-in quantizer."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from edgecompile.ir.facts import all_nodes, op_census
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Note, Outcome
from edgecompile.passes.quantize.outside import OutsidePass, saturation_note
from edgecompile.targets.schema import Target

_NOT_ITS = {"ConvTranspose"}
"""Operators that it refuses to quantize."""
_TYPES = {"uint8": "UInt8", "int8": "Int8"}


class OncQuantize(OutsidePass):
    """Quantize with onnx-neural-compressor 1.0, in an environment of its own.

    Static quantization with ranges of minimum and maximum. Its SmoothQuant is not offered: it
    ruined the first model that it was tried on; the pass `smooth_quant` is the project's own. It
    asks for `edgecompile toolchain install neural-compressor`.
    """

    id: ClassVar[str] = "onc_quantize"
    version: ClassVar[int] = 1
    toolchain: ClassVar[str | None] = "neural-compressor"
    libraries: ClassVar[tuple[str, ...]] = ("onnx-neural-compressor",)

    operators: tuple[str, ...] | None = None
    """Quantize these operators; null takes the target's list of integer operators."""

    def unfit(self, target: Target) -> list[str]:
        """Also refuses targets whose integers it does not know."""
        found = super().unfit(target)
        style = target.quantization
        if style is not None:
            wanted = {style.activations.type, style.weights.type}
            found += [f"it has no {name} form" for name in sorted(wanted - _TYPES.keys())]
            if style.power_of_two_scales:
                found.append("it has no power-of-two scales")
        return found

    def run(self, model: Model, context: Context) -> Outcome:
        """Quantize in a guarded process. Raises EC-510 to EC-514 when it fails."""
        style = context.target.quantization
        assert style is not None  # `required_facts`
        wanted, present = set(self.operators or style.operators), set(op_census(model))
        options = {
            "activations": _TYPES[style.activations.type],
            "weights": _TYPES[style.weights.type],
            "activations_symmetric": style.activations.symmetric,
            "weights_symmetric": style.weights.symmetric,
            "per_channel": style.weights.per_channel,
            "operators": sorted(wanted & present - _NOT_ITS),
        }
        outcome = self._quantize(model, context, task_file="onc.py", options=options)
        notes = [
            Note(
                message="it has no integer form of it",
                node=n.name,
                op_type=n.op_type,
                kept_float=True,
            )
            for n in all_nodes(model)
            if n.op_type in wanted & _NOT_ITS
        ]
        return replace(outcome, notes=[*outcome.notes, *saturation_note(style), *notes])
