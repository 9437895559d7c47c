"""`onnx-vitisai`: an ONNX model for VitisAI, AMD's provider for the NPU of Ryzen AI.

XINT8 wants every scale a power of two and every zero point zero, per tensor; A8W8 and A16W8 want
symmetric integers with any scale; in BF16 the provider converts a float model itself (Ryzen AI
1.8.0, docs/model_quantization.rst and modelrun.rst).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.emit import SCALE_FORM
from edgecompile.emitters import onnx_model
from edgecompile.emitters.base import Emitter, KitScripts
from edgecompile.ir.facts import all_nodes, constant_array
from edgecompile.ir.model import Model
from edgecompile.targets.schema import QdqStyle, Target

_PAIR = {"QuantizeLinear", "DequantizeLinear"}


class OnnxVitisAi(Emitter):
    """Writes `model.onnx` and `session.json`."""

    id: ClassVar[str] = "onnx-vitisai"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnx-ir")

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """Operators that the NPU leaves to the CPU, and scales or zero points that it refuses."""
        found = onnx_model.problems(model, target, {})
        style = target.quantization
        return found if style is None else [*found, *scale_problems(model, style)]

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Write the files and say which nodes run where, by the provider's operator table."""
        del source
        return onnx_model.emit(self.id, model, target, directory, free={})

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """ONNX Runtime with VitisAI, which compiles the model there and reports its partition."""
        return onnx_model.kit(target, {})


def scale_problems(model: Model, style: QdqStyle) -> Iterator[Diagnostic]:
    """Q and DQ nodes whose scales or zero points are not what `style` allows.

    Symmetric unsigned integers have the middle of their range for zero point.
    """
    for node in all_nodes(model):
        if node.op_type not in _PAIR or node.domain not in {"", "com.microsoft"}:
            continue
        scale = constant_array(node.inputs[1])
        point = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
        reason = _wrong(scale, point, style)
        if reason:
            where = Where(node=node.name)
            yield SCALE_FORM.at(where, node=node.name or node.op_type, reason=reason)


def _wrong(scale: np.ndarray | None, point: np.ndarray | None, style: QdqStyle) -> str:
    if scale is None:
        return "its scale is not a constant"
    if scale.size > 1 and not style.weights.per_channel:
        return f"it has {scale.size} scales, and the target takes one per tensor"
    if style.power_of_two_scales and (np.frexp(scale.astype(np.float64))[0] != 0.5).any():
        return f"its scale {float(scale.reshape(-1)[0]):g} is no power of two"
    if point is not None and style.activations.symmetric:
        middle = 2 ** (8 * point.dtype.itemsize - 1) if point.dtype.kind == "u" else 0
        if (point != middle).any():
            return f"its zero point is {int(point.reshape(-1)[0])} and not {middle}"
    return ""
