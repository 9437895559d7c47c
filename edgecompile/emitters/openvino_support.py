"""What OpenVINO takes at the borders of a model: element types and opsets."""

from __future__ import annotations

from edgecompile.diagnostics import Diagnostic
from edgecompile.emitters.interface import opset_problems, type_problems
from edgecompile.ir.model import Model
from edgecompile.targets.schema import Target

RUNTIME = "OpenVINO"

ELEMENT_TYPES = {
    "bool": "boolean",
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "f32",
    "float64": "f64",
    "int4": "i4",
    "uint4": "u4",
    **{f"int{bits}": f"i{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"u{bits}" for bits in (8, 16, 32, 64)},
}
"""NumPy (or ml_dtypes) name -> OpenVINO's name of the same element type."""


def interface_problems(model: Model, target: Target) -> list[Diagnostic]:
    """Inputs and outputs of types that the runtime lacks, and an opset outside its range."""
    return type_problems(model, ELEMENT_TYPES, RUNTIME) + opset_problems(model, target)
