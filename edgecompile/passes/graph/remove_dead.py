"""`remove_dead`: drop nodes, initializers, functions and opset imports that nothing uses."""

from __future__ import annotations

from typing import ClassVar

import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.passes.graph.edit import graphs, quiet, rewritten


def drop_unused(graph: ir.Model) -> None:
    """Remove what does not reach a graph output, in place."""
    from onnx_ir.passes import common

    with quiet("onnx_ir"):
        common.RemoveUnusedNodesPass()(graph)
        common.RemoveUnusedFunctionsPass()(graph)  # type: ignore[no-untyped-call]
        common.RemoveUnusedOpsetsPass()(graph)
    for subgraph in graphs(graph):
        for name, value in list(subgraph.initializers.items()):
            if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                del subgraph.initializers[name]


class RemoveDead(Pass):
    """Drop nodes, initializers, functions and opset imports that no output depends on."""

    id: ClassVar[str] = "remove_dead"

    def run(self, model: Model, context: Context) -> Outcome:
        """Graph inputs and outputs stay, also inputs that nothing reads."""
        return rewritten(model, drop_unused)
