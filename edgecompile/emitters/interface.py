"""What every runtime asks of a model as a whole: the types of what goes in and out, its opset."""

from __future__ import annotations

from collections.abc import Collection

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.emit import OPSET_UNSUPPORTED, TYPE_UNSUPPORTED
from edgecompile.ir.facts import input_specs, opset, output_specs
from edgecompile.ir.model import Model
from edgecompile.targets.schema import Target


def type_problems(model: Model, types: Collection[str], runtime: str) -> list[Diagnostic]:
    """Inputs and outputs that are none of numpy's `types`. Raises EC-119 for what is no tensor."""
    found = []
    for spec in (*input_specs(model), *output_specs(model)):
        if spec.dtype.name not in types:
            dtype = "string" if spec.dtype.name == "object" else spec.dtype.name
            where = Where(tensor=spec.name)
            found.append(TYPE_UNSUPPORTED.at(where, runtime=runtime, tensor=spec.name, dtype=dtype))
    return found


def opset_problems(model: Model, target: Target) -> list[Diagnostic]:
    """An opset that the target, with its release of the device's software, does not read."""
    version, limits = opset(model), target.opset
    if not version or limits.min <= version <= limits.max:
        return []
    release = f" with {target.stack.name} {target.stack.release}" if target.stack else ""
    runtime = f"target '{target.id}'{release}"
    return [OPSET_UNSUPPORTED.at(opset=version, runtime=runtime, min=limits.min, max=limits.max)]
