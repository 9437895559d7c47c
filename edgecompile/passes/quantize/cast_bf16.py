"""`cast_bf16`: weights and arithmetic in bfloat16, for runtimes that want it in the graph."""

from __future__ import annotations

from typing import ClassVar

from edgecompile.diagnostics import Diagnostic
from edgecompile.ir.facts import opset
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Note, Outcome, Pass, unchanged
from edgecompile.passes.quantize.bf16_policy import bf16_reasons
from edgecompile.passes.quantize.cast_fp16 import cast_problems
from edgecompile.passes.quantize.fp16_ports import narrow_ports
from edgecompile.passes.quantize.fp16_rewrite import NarrowWriter
from edgecompile.passes.quantize.narrow import BRAIN
from edgecompile.passes.quantize.placement import node_name
from edgecompile.targets.schema import Target


class CastBf16(Pass):
    """bfloat16 wherever 8 bits of precision are enough, with a Cast at every border.

    Inputs and outputs of the model stay float32. Convolutions have a bfloat16 form from opset 22 on
    (ONNX operator specification): give `convert_opset` that `at_least`, or they stay in float.
    """

    id: ClassVar[str] = "cast_bf16"
    version: ClassVar[int] = 1
    facts: ClassVar[tuple[str, ...]] = ("precisions",)
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "onnx", "numpy")
    lossy: ClassVar[bool] = True

    keep_float: tuple[str, ...] = ()
    """Names of nodes that stay in float32."""

    def unfit(self, target: Target) -> list[str]:
        """Whether any compute unit of the target works in bfloat16."""
        if any("bf16" in unit for unit in target.precisions.values()):
            return []
        return ["no compute unit of the target lists bf16"]

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """Every value's type must be known, and every node in `keep_float` exist."""
        del context
        return cast_problems(model, self.id, self.keep_float)

    def run(self, model: Model, context: Context) -> Outcome:
        """Cast what can be cast."""
        del context
        copy = model.clone()
        graph, notes, narrow = copy.graph.graph, [], {}
        reasons = bf16_reasons(graph)
        for node in graph:
            ports = narrow_ports(node, opset(model), BRAIN.schema)
            if ports is None:
                continue
            reason = reasons.get(node, "")
            if node_name(node) in self.keep_float:
                reason = "named in keep_float"
            elif not ports.inputs:
                reason = f"{node.op_type} has no bfloat16 form in opset {opset(model)}"
            if reason:
                name = node_name(node)
                note = Note(message=reason, node=name, op_type=node.op_type, kept_float=True)
                notes.append(note)
            else:
                narrow[node] = ports
        if not narrow:
            return unchanged(model, notes)
        NarrowWriter(copy.graph, narrow, BRAIN).write(keep_io=True)
        text = f"{len(narrow)} nodes in bfloat16, {len(notes)} in single precision"
        return Outcome(model=copy, changed=True, notes=(Note(message=text), *notes))
