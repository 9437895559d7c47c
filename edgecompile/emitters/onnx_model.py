"""What the formats share that are ONNX files for ONNX Runtime: the model, and how to load it.

`session.json` beside the model holds everything that a program needs to give to ONNX Runtime:
provider, its options, session options, and values for dimensions that the model leaves free.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecompile.artifacts.types import Artifact, Coverage, Fallback
from edgecompile.calibration.bfloat16 import without_rounding
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.check import OPERATOR_ELSEWHERE
from edgecompile.diagnostics.catalogue.emit import (
    DIMENSION_FREE,
)
from edgecompile.emitters.base import KitScripts, kit_files
from edgecompile.emitters.files import described, place
from edgecompile.emitters.interface import opset_problems
from edgecompile.emitters.operators import Cause, listed, operator_problems, refusals
from edgecompile.emitters.qnn_placement import coverage
from edgecompile.emitters.qnn_support import arithmetic_of, is_work, names_of
from edgecompile.ir.facts import all_nodes, input_specs, operator
from edgecompile.ir.kinds import is_transformer
from edgecompile.ir.model import Model
from edgecompile.ir.save import save
from edgecompile.targets.schema import OnnxRuntime, Target

SESSION = "session.json"
SCHEMA = "edgecompile/session@1"
WIDE = frozenset({ir.DataType.INT16, ir.DataType.UINT16})


def problems(model: Model, target: Target, free: Mapping[str, int]) -> list[Diagnostic]:
    """An opset that the runtime does not read, operators that run elsewhere, free dimensions."""
    found: list[Diagnostic] = []
    column, model = _column(model, target), without_rounding(model)
    found += opset_problems(model, target)
    found += operator_problems(model, target.operators, column=column)
    if not target.static_shapes:
        found += _free_dimensions(model, free)
    return found


def _column(model: Model, target: Target) -> str | None:
    """The column of the operator table that holds for the types in `model`; None for the first."""
    support = target.operators[0] if target.operators else None
    if support is None:
        return None
    kinds = {value.dtype for node in model.graph.graph for value in node.outputs}
    pairs = [node for node in all_nodes(model) if node.op_type == "QuantizeLinear"]
    points = [node.inputs[2] for node in pairs if len(node.inputs) > 2]
    if any(point is not None and point.dtype in WIDE for point in points):
        return support.wide_column
    converted = ir.DataType.BFLOAT16 in kinds
    if not pairs and not converted:
        # as it comes: what its default recipe will make of it
        converted = target.transformer_recipe is not None and is_transformer(model)
    return support.float_column if converted else None


def _free_dimensions(model: Model, free: Mapping[str, int]) -> Iterator[Diagnostic]:
    for spec in input_specs(model):
        open_ones = [dim for dim in spec.shape if not isinstance(dim, int) and dim not in free]
        if open_ones or not spec.ranked:
            shape = [dim if dim is not None else "?" for dim in spec.shape]
            yield DIMENSION_FREE.at(Where(tensor=spec.name), input=spec.name, shape=shape)


def emit(
    id_: str,
    model: Model,
    target: Target,
    directory: Path,
    *,
    free: Mapping[str, int],
) -> Artifact:
    """Write `model.onnx`, its weights where they are apart, and `session.json`."""
    facts = _facts(target)
    remarks, column = problems(model, target, free), _column(model, target)
    model = without_rounding(model)  # the runtime rounds by itself
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        work = Path(scratch).resolve()
        save(_tidy(model), work / "model.onnx")
        written = sorted(work.glob("model.onnx*"))
        settings = work / SESSION
        document = {"schema": SCHEMA, **session(facts, free)}
        settings.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        paths = place([*written, settings], directory)
    elsewhere = [
        Fallback(node=refusal.node, op=refusal.op, reason=refusal.reason)
        for support in target.operators[:1]
        for refusal in refusals(model, support, column=column)
        if refusal.cause is not Cause.LIMITED
    ]
    in_float = list(_left_in_float(model, target, facts.unit, {one.node for one in elsewhere}))
    elsewhere += in_float
    return Artifact(
        format=id_,
        toolchain={},
        coverage=_coverage(model, elsewhere, facts.unit, target),
        remarks=(*remarks, *_told(in_float, target)),
        notes=_notes(facts),
        **described(paths, directory),
    )


def _coverage(model: Model, elsewhere: Sequence[Fallback], unit: str, target: Target) -> Coverage:
    """Floats are in bfloat16 where the unit has no other half precision."""
    found, types = coverage(model, elsewhere), target.precisions.get(unit, ())
    if "bf16" in types and "fp16" not in types:
        kinds = {"bf16" if k == "fp16" else k: count for k, count in found.precision.items()}
        found = replace(found, precision=kinds)
    return replace(found, unit=unit)


def _left_in_float(model: Model, target: Target, unit: str, known: Set[str]) -> Iterator[Fallback]:
    """Nodes that compute in float, for a unit that has integers only."""
    types = target.precisions.get(unit, ())
    if not types or any("fp" in name or "bf" in name for name in types):
        return
    work = [node for node in model.graph.graph if is_work(node)]
    for node, name in zip(work, names_of(work), strict=True):
        if name not in known and arithmetic_of(node) == "fp16":
            yield Fallback(node=name, op=operator(node), reason=f"the {unit} has no float")


def _told(nodes: Sequence[Fallback], target: Target) -> Iterator[Diagnostic]:
    """One remark per operator that was left in float."""
    for op in sorted({one.op for one in nodes}):
        names = [one.node for one in nodes if one.op == op]
        reason = "it computes in float, of which the accelerator has none"
        runtime = target.operators[0].runtime if target.operators else target.id
        yield OPERATOR_ELSEWHERE.at(
            Where(node=names[0]),
            runtime=runtime,
            op=op,
            elsewhere="the CPU",
            reason=reason,
            nodes=listed(names),
        )


def session(facts: OnnxRuntime, free: Mapping[str, int]) -> dict[str, Any]:
    """How to load the model, as `session.json` and the device kit have it."""
    return {
        "provider": facts.provider,
        "provider_options": dict(sorted(facts.options.items())),
        "session_options": dict(sorted(facts.session.items())),
        "free_dimensions": dict(sorted(free.items())),
        "catalogued": facts.catalogued,
        "unit": facts.unit,
        "package": facts.package,
        "min_driver": facts.min_driver,
    }


def kit(target: Target, free: Mapping[str, int]) -> KitScripts:
    """ONNX Runtime with the target's provider."""
    return KitScripts(files=kit_files("onnxruntime"), options=session(_facts(target), free))


def _facts(target: Target) -> OnnxRuntime:
    if target.onnxruntime is None:
        raise ValueError(f"the target '{target.id}' declares no 'onnxruntime'")
    return target.onnxruntime


def _notes(facts: OnnxRuntime) -> tuple[str, ...]:
    driver = f", driver {facts.min_driver} or newer" if facts.min_driver else ""
    return (f"for {facts.provider} of {facts.package}{driver}", *facts.notes)


def _tidy(model: Model) -> Model:
    """Without opset imports of domains that no node is of: some providers refuse unknown ones."""
    used = {node.domain for node in all_nodes(model)} | {
        "",
        *(d for d, _, _ in model.graph.functions),
    }
    idle = [domain for domain in model.graph.graph.opset_imports if domain not in used]
    if not idle:
        return model
    copy = model.clone()
    graph: ir.Graph = copy.graph.graph
    for domain in idle:
        del graph.opset_imports[domain]
    return copy
