"""Shape inference in place, for passes that ask about shapes while they edit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import onnx_ir as ir

from edgecompile.passes.graph.dimensions import dimensions
from edgecompile.passes.graph.edit import graphs, hidden, is_onnx, quiet

LONGEST_LIST = 1 << 16


@contextlib.contextmanager
def inferred_shapes(graph: ir.Model, *, keep_outputs: bool = True) -> Iterator[None]:
    """Shapes as far as ONNX's inference knows them, with data propagation, while the block runs.

    Afterwards the numbers stay, and the symbols that inference made up are taken out again: their
    numbering depends on the order of everything, and says nothing. The declared shapes of graph
    inputs are the model's interface and stay; those of the outputs too, unless `keep_outputs` is
    false.
    """
    refresh_shapes(graph, keep_outputs=keep_outputs)
    yield
    forget_made_up_symbols(graph)


def refresh_shapes(graph: ir.Model, *, keep_outputs: bool = True) -> None:
    """Infer again after an edit."""
    from onnx_ir.passes import common

    interface = [*graph.graph.inputs, *(graph.graph.outputs if keep_outputs else ())]
    declared = [(value, value.shape) for value in interface]
    forget_made_up_symbols(graph)
    with quiet("onnx_ir"), hidden(_explosive(graph)):
        common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(graph)
    for value, shape in declared:
        if shape is not None:
            value.shape = shape


def _explosive(graph: ir.Model) -> list[ir.Node]:
    """Gathers from a long list: data propagation makes a dimension for each of its elements.

    That takes 70 bytes each, and the length can be any number that a model of 100 bytes declares.
    """
    return [
        node
        for part in graphs(graph)
        for node in part
        if is_onnx(node, "Gather") and not _is_short(node.inputs[0])
    ]


def _is_short(value: ir.Value | None) -> bool:
    if value is None or dimensions(value) is not None:
        return True
    if value.shape is None:
        return False
    return len(value.shape) != 1 or (
        isinstance(value.shape[0], int) and value.shape[0] <= LONGEST_LIST
    )


def forget_made_up_symbols(graph: ir.Model) -> None:
    """Inference names what it does not know `unk__1`, and would take that for known next time.

    Symbols of the inputs mean something; operators of other domains cannot be inferred again.
    """
    meant = {
        dim.value
        for value in graph.graph.inputs
        for dim in (() if value.shape is None else value.shape)
        if isinstance(dim, ir.SymbolicDim)
    }
    for part in graphs(graph):
        for node in part:
            for value in () if node.domain else node.outputs:
                if value.shape is not None and not value.is_graph_output():
                    value.shape = ir.Shape(
                        None if isinstance(dim, ir.SymbolicDim) and dim.value not in meant else dim
                        for dim in value.shape
                    )
