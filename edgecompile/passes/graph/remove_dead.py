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
        while _release_ghosts(graph):
            common.RemoveUnusedNodesPass()(graph)
        common.RemoveUnusedFunctionsPass()(graph)  # type: ignore[no-untyped-call]
        common.RemoveUnusedOpsetsPass()(graph)
    for subgraph in graphs(graph):
        for name, value in list(subgraph.initializers.items()):
            if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                del subgraph.initializers[name]


def _release_ghosts(graph: ir.Model) -> bool:
    """Let go of values that only nodes in the body of a removed If or Loop still hold on to."""
    nodes = list(graph.graph.all_nodes())
    alive = set(nodes)
    values = [output for node in nodes for output in node.outputs]
    for part in graphs(graph):
        values += [*part.inputs, *part.initializers.values()]
    ghosts = {(use.node, use.idx) for value in values for use in value.uses()}
    ghosts = {(node, index) for node, index in ghosts if node not in alive}
    for node, index in ghosts:
        node.replace_input_with(index, None)
    return bool(ghosts)


class RemoveDead(Pass):
    """Drop nodes, initializers, functions and opset imports that no output depends on."""

    id: ClassVar[str] = "remove_dead"

    def run(self, model: Model, context: Context) -> Outcome:
        """Graph inputs and outputs stay, also inputs that nothing reads."""
        return rewritten(model, drop_unused)
