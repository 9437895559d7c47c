"""`convert_opset`: bring the default domain to an opset that passes and the target can work with.

Per-channel Q/DQ needs opset 13 (`axis` of QuantizeLinear); the target's importer sets the ceiling.
Only operators whose definition changed on the way are converted (`opset_bag`); everything else,
other domains, names, metadata and documentation included, is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import onnx
import onnx_ir as ir
from pydantic import Field

from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue.check import OPERATOR_TOO_NEW
from edgecompile.diagnostics.catalogue.emit import OPSET_UNSUPPORTED
from edgecompile.diagnostics.catalogue.graph import (
    OPSET_BLOCKED,
    OPSET_OUT_OF_RANGE,
    OPSET_UNKNOWN,
)
from edgecompile.ir.facts import opset
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass, unchanged
from edgecompile.passes.graph.attempt import inline_functions
from edgecompile.passes.graph.edit import graphs, rewritten
from edgecompile.passes.graph.inference import inferred_shapes
from edgecompile.passes.graph.opset_bag import convert_nodes
from edgecompile.passes.graph.opset_schema import (
    idle_attributes,
    known_problem,
    redefined,
    still_valid,
)
from edgecompile.passes.graph.splice import splice

QDQ_PER_CHANNEL = 13


class ConvertOpset(Pass):
    """Convert the model to an opset that the passes and the target can work with."""

    id: ClassVar[str] = "convert_opset"
    mends: ClassVar[frozenset[str]] = frozenset({OPSET_UNSUPPORTED.code, OPERATOR_TOO_NEW.code})
    facts: ClassVar[tuple[str, ...]] = ("opset",)
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnx-ir")

    target: int | None = Field(default=None, ge=7)
    """Opset to convert to. Left out: the model's own, raised or lowered into the range allowed."""
    at_least: int = Field(default=QDQ_PER_CHANNEL, ge=7)
    """Lowest opset to leave a model at; per-channel quantization needs 13."""
    prefer: int | None = Field(default=None, ge=7)
    """Raise the model to this opset too, as far as the target goes: later ones have operators that
    fusions make (HardSwish 14, LayerNormalization 17, Gelu 20)."""

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """The opset asked for must be one that the target imports, and that onnx knows."""
        allowed, given = context.target.opset, opset(model)
        wanted = self.target or self.at_least
        if given > (known := onnx.defs.onnx_opset_version()):
            return [OPSET_UNKNOWN.at(opset=given, known=known)]
        if not allowed.min <= wanted <= allowed.max:
            return [OPSET_OUT_OF_RANGE.at(wanted=wanted, low=allowed.min, high=allowed.max)]
        return []

    def run(self, model: Model, context: Context) -> Outcome:
        """Raises EC-420, naming every operator that has no conversion."""
        given = opset(model)
        lowest = max(self.at_least, self.prefer or 0)
        wanted = self.target or min(max(given, lowest), context.target.opset.max)
        if given in (0, wanted):
            return unchanged(model)
        book = NoteBook()
        return rewritten(model, lambda graph: _convert(graph, given, wanted, book), book.notes)


def _convert(graph: ir.Model, given: int, wanted: int, book: NoteBook) -> None:
    if graph.functions:
        if not inline_functions(graph, book):
            name = next(iter(graph.functions))[1]
            problem = "model-local functions have to be inlined first, and cannot be"
            raise OPSET_BLOCKED.error(op=name, opset=given, wanted=wanted, problem=problem)
        book.fail("model-local functions were inlined: they cannot be converted by themselves")
    with inferred_shapes(graph):
        nodes = list(_changing(graph, given, wanted))
        try:
            fragments = convert_nodes(nodes, given, wanted)
        except RuntimeError as error:
            raise _blocked(nodes, given, wanted, error) from error
    names = Names(graph.graph)
    for node, fragment in zip(nodes, fragments, strict=True):
        splice(node, fragment, names)
    if wanted < given:
        _drop_idle(graph, given, wanted)
    graph.opset_imports[""] = wanted
    needed = onnx.helper.find_min_ir_version_for(
        [onnx.helper.make_opsetid("", wanted)], ignore_unknown=True
    )
    graph.ir_version = max(graph.ir_version, needed)


def _drop_idle(graph: ir.Model, given: int, wanted: int) -> None:
    """Take out of nodes that mean the same as before what their older definition does not have."""
    for part in graphs(graph):
        for node in part:
            if not node.domain and all(
                onnx.defs.has(node.op_type, max_inclusive_version=v, domain="")
                for v in (given, wanted)
            ):
                for name in idle_attributes(node, given, wanted):
                    del node.attributes[name]


def _changing(graph: ir.Model, given: int, wanted: int) -> Iterator[ir.Node]:
    """Nodes of the default domain that must be converted to mean the same at `wanted`.

    Raises EC-420 where the converter is known to get it wrong without a word.
    """
    for part in graphs(graph):
        for node in part:
            if node.domain or not redefined(node.op_type, given, wanted):
                continue
            problem = known_problem(node, given, wanted)
            if problem:
                raise OPSET_BLOCKED.error(
                    Where(node=node.name),
                    op=node.op_type,
                    opset=given,
                    wanted=wanted,
                    problem=problem,
                )
            if not still_valid(node, given, wanted):
                yield node


def _blocked(
    nodes: list[ir.Node], given: int, wanted: int, error: RuntimeError
) -> EdgecompileError:
    """Every operator among `nodes` that has no conversion, each tried by itself."""
    found: dict[str, Diagnostic] = {}
    for node in nodes:
        if node.op_type in found:
            continue
        try:
            convert_nodes([node], given, wanted)
        except RuntimeError as problem:
            found[node.op_type] = OPSET_BLOCKED.at(
                Where(node=node.name),
                op=node.op_type,
                opset=given,
                wanted=wanted,
                problem=_reason(problem),
            )
    if not found:
        return OPSET_BLOCKED.error(op="?", opset=given, wanted=wanted, problem=_reason(error))
    return EdgecompileError(tuple(found.values()), OPSET_BLOCKED.exit_code)


def _reason(error: RuntimeError) -> str:
    """The converter's message without the place in its C++ source."""
    return str(error).split("failed: ")[-1].strip() or "no conversion exists"
