"""`cast_fp16`: weights and arithmetic in half precision, for runtimes that want it in the graph.

OpenVINO is not one of them: its IR stores half-precision constants by itself and each plugin picks
its own arithmetic, so recipes for OpenVINO set the emitter's option instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import onnx_ir as ir

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue import weights as rules
from edgecompile.diagnostics.catalogue.quantize import UNKNOWN_NODE
from edgecompile.ir.facts import constant_array, opset
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Note, Outcome, Pass, unchanged
from edgecompile.passes.quantize.fp16_policy import LARGEST, Policy
from edgecompile.passes.quantize.fp16_ports import PAIRS, Ports, narrow_ports
from edgecompile.passes.quantize.fp16_rewrite import NarrowWriter
from edgecompile.passes.quantize.half_scales import raise_scales, scale_problem
from edgecompile.passes.quantize.narrow import HALF
from edgecompile.passes.quantize.placement import node_name
from edgecompile.targets.schema import Target

SMALLEST_NORMAL = 2.0**-14
OPSET_OF_HALF_PAIRS = 19
NAMES_SHOWN = 5


class CastFp16(Pass):
    """Half precision wherever it is safe, with a Cast at every border.

    Operators stay in float32 whose squares, sums, epsilons, angles or constants do not fit into
    half precision; ranges from an earlier `calibrate` step make that exact.
    """

    id: ClassVar[str] = "cast_fp16"
    version: ClassVar[int] = 2
    facts: ClassVar[tuple[str, ...]] = ("precisions",)
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "onnx", "numpy")
    lossy: ClassVar[bool] = True

    keep_io: bool = True
    """Inputs and outputs of the model stay float32."""
    keep_float: tuple[str, ...] = ()
    """Names of nodes that stay in float32."""
    pairs: bool = False
    """Scales of Q/DQ pairs too, so that what an integer model leaves in float is in half precision
    without a Cast at each pair. Needs opset 19; below it nothing is changed."""

    def unfit(self, target: Target) -> list[str]:
        """Whether any compute unit of the target works in half precision."""
        if any("fp16" in unit for unit in target.precisions.values()):
            return []
        return ["no compute unit of the target lists fp16"]

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """Every value's type must be known, and every node in `keep_float` exist."""
        del context
        return cast_problems(model, self.id, self.keep_float)

    def run(self, model: Model, context: Context) -> Outcome:
        """Cast what can be cast."""
        if self.pairs and opset(model) < OPSET_OF_HALF_PAIRS:
            text = f"opset {opset(model)} has no pairs in half precision"
            return unchanged(model, [Note(message=text)])
        copy, notes = model.clone(), []
        graph = copy.graph.graph
        raised = raise_scales(graph) if self.pairs else 0
        if raised:
            text = f"{raised} weights with channels below 2^-11 counted again by larger scales"
            notes.append(Note(message=text))
        policy, half = Policy(graph, context.ranges), dict[ir.Node, Ports]()
        for node in graph:
            ports = narrow_ports(node, opset(model), HALF.schema, pairs=self.pairs)
            if ports is None:
                continue
            reason = policy.reasons.get(node, "")
            if not reason and node.op_type in PAIRS:
                reason = scale_problem(node)
            if node_name(node) in self.keep_float:
                reason = "named in keep_float"
            elif not ports.inputs:
                reason = f"{node.op_type} has no half-precision form"
            if reason:
                notes.append(_kept(node, reason))
            else:
                half[node] = ports
        if not half:
            return unchanged(model, notes)
        notes += _constant_notes(half)
        NarrowWriter(copy.graph, half, HALF).write(keep_io=self.keep_io)
        return Outcome(model=copy, changed=True, notes=(_summary(half, notes), *notes))


def cast_problems(model: Model, step: str, keep_float: Sequence[str]) -> list[Diagnostic]:
    """Values whose types are unknown, and names in `keep_float` that no node has."""
    where, graph = Where(step=step), model.graph.graph
    found = []
    untyped = [v.name or "" for node in graph for v in node.outputs if v.name and v.type is None]
    if untyped:
        names = ", ".join(f"'{name}'" for name in untyped[:NAMES_SHOWN])
        names += " ..." if len(untyped) > NAMES_SHOWN else ""
        rule = rules.UNTYPED_FOR_FP16
        found.append(rule.at(where, count=len(untyped), step=step, names=names))
    known = {node_name(node) for node in graph}
    missing = [name for name in keep_float if name not in known]
    return found + [UNKNOWN_NODE.at(where, node=name) for name in missing]


def _kept(node: ir.Node, reason: str) -> Note:
    return Note(message=reason, node=node_name(node), op_type=node.op_type, kept_float=True)


def _summary(half: dict[ir.Node, Ports], notes: list[Note]) -> Note:
    kept = sum(note.kept_float for note in notes)
    return Note(message=f"{len(half)} nodes in half precision, {kept} in single")


def _constant_notes(half: dict[ir.Node, Ports]) -> list[Note]:
    """What half precision does to constants: clipped masks, and numbers below its normal range."""
    notes, seen = [], set()
    for node, ports in half.items():
        for index in sorted(ports.inputs):
            value = node.inputs[index]
            array = None if value is None or value in seen else constant_array(value)
            if value is None or array is None or not array.size:
                continue
            seen.add(value)
            large = int(((abs(array) > LARGEST) & (abs(array) < float("inf"))).sum())
            small = int(((array != 0) & (abs(array) < SMALLEST_NORMAL)).sum())
            if large:
                message = f"{large} of {array.size} numbers beyond {LARGEST:g} are clipped"
                notes.append(_about(node, value, message))
            if small:
                message = f"{small} of {array.size} numbers are below 2^-14 and lose precision"
                notes.append(_about(node, value, message))
    return notes


def _about(node: ir.Node, value: ir.Value, message: str) -> Note:
    return Note(
        message=f"constant '{value.name}': {message}", node=node_name(node), tensor=value.name
    )
