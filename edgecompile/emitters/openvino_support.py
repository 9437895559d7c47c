"""What OpenVINO's ONNX importer translates, from its own documentation.

The table is a fast first opinion that needs no OpenVINO; an installed importer has the last word.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.emit import (
    DOMAIN_UNSUPPORTED,
    OPERATOR_LIMITED,
    OPERATOR_UNSUPPORTED,
    OPSET_UNSUPPORTED,
    TYPE_UNSUPPORTED,
)
from edgecompile.ir.facts import all_nodes, input_specs, opset, output_specs
from edgecompile.ir.model import Model
from edgecompile.targets.schema import Target

RUNTIME = "OpenVINO"
DEFAULT_DOMAIN = "ai.onnx"

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


@functools.cache
def operator_table() -> dict[str, dict[str, dict[str, Any]]]:
    """Domain -> operator -> `supported` and, for some, `limitation`."""
    text = files("edgecompile.emitters").joinpath("data/openvino_onnx.json").read_text("utf-8")
    table: dict[str, dict[str, dict[str, Any]]] = json.loads(text)["operators"]
    return table


def operator_problems(model: Model) -> list[Diagnostic]:
    """One diagnostic per operator that the table does not have, or has with a limitation."""
    users: dict[tuple[str, str], list[str]] = {}
    local = {(domain, name) for domain, name, _ in model.graph.functions}
    for node in all_nodes(model):
        if (node.domain, node.op_type) not in local:
            key = (node.domain or DEFAULT_DOMAIN, node.op_type)
            users.setdefault(key, []).append(node.name or node.op_type)
    found = (_operator(domain, op, names) for (domain, op), names in sorted(users.items()))
    return [problem for problem in found if problem is not None]


def _operator(domain: str, op: str, names: list[str]) -> Diagnostic | None:
    where, nodes = Where(node=names[0]), _nodes(names)
    table = operator_table()
    if domain not in table:
        return DOMAIN_UNSUPPORTED.at(where, runtime=RUNTIME, domain=domain, nodes=nodes)
    entry = table[domain].get(op, {"supported": False})
    shown = op if domain == DEFAULT_DOMAIN else f"{domain}::{op}"
    if not entry["supported"]:
        return OPERATOR_UNSUPPORTED.at(where, runtime=RUNTIME, op=shown, nodes=nodes)
    if "limitation" in entry:
        limit = entry["limitation"]
        return OPERATOR_LIMITED.at(where, runtime=RUNTIME, op=shown, limitation=limit, nodes=nodes)
    return None


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


def _nodes(names: Iterable[str]) -> str:
    listed = list(names)
    first = f"node '{listed[0]}'"
    return first if len(listed) == 1 else f"{len(listed)} nodes, the first is '{listed[0]}'"
