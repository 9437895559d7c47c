"""`simplify`: fold constants and shape arithmetic, drop no-ops, merge what is there twice.

The work is done by onnx_ir's and onnxscript's passes, repeated until nothing moves. Ours are the
bound on what folding may add (`folding`), shapes that inference knows (`reshapes`), no-ops
(`noops`), and keeping names, metadata and dynamic axes as they were.
"""

from __future__ import annotations

import functools
from typing import ClassVar

import onnx_ir as ir
from pydantic import Field

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.graph.attempt import attempt, inline_functions
from edgecompile.passes.graph.constants import lift_constants, settle_default_inputs
from edgecompile.passes.graph.edit import quiet, rewritten
from edgecompile.passes.graph.folding import fold_constants
from edgecompile.passes.graph.inference import inferred_shapes, refresh_shapes
from edgecompile.passes.graph.noops import drop_noops
from edgecompile.passes.graph.remove_dead import drop_unused
from edgecompile.passes.graph.remove_identity import merge_pairs
from edgecompile.passes.graph.reshapes import settle_shapes

ROUNDS = 8
"""Each round opens at most a few new folds; the zoo's models settle in two."""


class Simplify(Pass):
    """Fold constants and shape arithmetic, drop no-ops, share common subexpressions."""

    id: ClassVar[str] = "simplify"
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnx-ir", "onnxscript")

    max_constant_bytes: int = Field(default=1 << 18, ge=0)
    """Largest constant that a fold may add; one that only replaces its inputs may be larger."""
    inline_functions: bool = True
    """Replace calls of model-local functions by their bodies, so that passes see the operators."""

    def run(self, model: Model, context: Context) -> Outcome:
        """Constant nodes become initializers; dynamic axes stay dynamic."""
        book = NoteBook()
        return rewritten(model, functools.partial(self._simplify, book=book), book.notes)

    def _simplify(self, graph: ir.Model, book: NoteBook) -> None:
        if self.inline_functions and graph.functions:
            inline_functions(graph, book)
        settle_default_inputs(graph, book)
        lift_constants(graph, book)
        folded: bool | None = False
        with inferred_shapes(graph):
            for _ in range(ROUNDS):
                changed = settle_shapes(graph)
                folded = None if folded is None else self._fold(graph, book)
                changed |= bool(folded)
                lift_constants(graph, book)
                changed |= drop_noops(graph) | merge_pairs(graph) | _share(graph)
                drop_unused(graph)
                if not changed:
                    break
                refresh_shapes(graph)

    def _fold(self, graph: ir.Model, book: NoteBook) -> bool | None:
        """Whether anything was folded; None when the folder gave up."""
        return attempt(
            graph,
            lambda copy: fold_constants(copy, self.max_constant_bytes),
            library="onnxscript's constant folding",
            known=(RuntimeError,),
            book=book,
        )


def _share(graph: ir.Model) -> bool:
    """Merge equal nodes, and equal initializers of up to 1024 elements."""
    from onnx_ir.passes import common

    with quiet("onnx_ir"):
        same = common.CommonSubexpressionEliminationPass()(graph).modified
        return common.DeduplicateInitializersPass()(graph).modified or same
