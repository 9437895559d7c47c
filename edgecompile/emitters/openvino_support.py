"""What OpenVINO takes at the borders of a model: element types and opsets."""

from __future__ import annotations

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.emit import (
    OPSET_UNSUPPORTED,
    TYPE_UNSUPPORTED,
)
from edgecompile.ir.facts import input_specs, opset, output_specs
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
    found: list[Diagnostic] = []
    for spec in (*input_specs(model), *output_specs(model)):
        if spec.dtype.name not in ELEMENT_TYPES:
            dtype = "string" if spec.dtype.name == "object" else spec.dtype.name
            where = Where(tensor=spec.name)
            found.append(TYPE_UNSUPPORTED.at(where, runtime=RUNTIME, tensor=spec.name, dtype=dtype))
    version, limits = opset(model), target.opset
    if version and not limits.min <= version <= limits.max:
        found.append(
            OPSET_UNSUPPORTED.at(
                opset=version, runtime=f"target '{target.id}'", min=limits.min, max=limits.max
            )
        )
    return found
