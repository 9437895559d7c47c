"""`bound_masks`: attention masks of moderate size, which integers can hold beside the scores.

A mask adds a huge negative number (the lowest float, -1e9, minus infinity) to the scores that a
Softmax must not see. Softmax takes exp(score - largest score), so every number far enough below the
scores does the same: at -32 it leaves 1e-14 of the weight. But integers that reach to -1e9 have no
step left for the scores, and a quantized attention with such a mask computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import numpy as np
import onnx_ir as ir
from pydantic import Field

from edgecompile.ir.facts import constant_array
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Note, NoteBook, Outcome, Pass
from edgecompile.passes.graph.edit import add_constant, graphs, rewritten

HUGE = -1e3
"""Constants below this are no scores: they can only be meant to mask."""
_ON_THE_WAY = frozenset(
    {"Add", "Cast", "Concat", "Expand", "Gather", "Identity", "Max", "Min", "Mul", "Reshape"}
    | {"Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"}
)
"""Operators between the constant of a mask and the Softmax."""


class BoundMasks(Pass):
    """Replace the huge negative constants of attention masks by a number that does the same."""

    id: ClassVar[str] = "bound_masks"
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "numpy")

    floor: Annotated[float, Field(lt=0)] = -32.0
    """What takes their place. Scores lie within about 10 of each other, so -32 leaves nothing of
    what is masked; a type of 8 bits has less room and may want -24."""

    def run(self, model: Model, context: Context) -> Outcome:
        """Fires for constants all of whose ways lead to a Softmax and nowhere else."""
        book = NoteBook()
        return rewritten(model, lambda graph: _bound(graph, self.floor, book), book.notes)


def _bound(model: ir.Model, floor: float, book: NoteBook) -> None:
    for graph in graphs(model):
        for value in list(_constants(graph)):
            array = constant_array(value)
            if array is None or array.dtype.kind != "f" or not (array < HUGE).any():
                continue
            if not _only_masks(value, set()):
                text = "this huge negative constant does not end in a Softmax alone"
                book.notes.append(Note(message=text, tensor=value.name))
                continue
            bounded = np.maximum(array, floor).astype(array.dtype)
            new = add_constant(graph, bounded, f"{value.name}_bounded")
            for node, index in list(value.uses()):
                node.replace_input_with(index, new)
            graph.initializers.pop(value.name or "", None)
            text = f"{float(array.min()):.3g} becomes {floor:g}"
            book.notes.append(Note(message=text, tensor=value.name))


def _constants(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.initializers.values()
    for node in graph:
        if node.op_type == "Constant" and not node.domain:
            yield from node.outputs


def _only_masks(value: ir.Value, seen: set[ir.Value]) -> bool:
    """Whether everything that reads `value`, through adding and moving, is a Softmax."""
    if value in seen:
        return True
    seen.add(value)
    readers = [node for node, _ in value.uses()]
    if not readers or value.is_graph_output():
        return False
    return all(
        node.op_type == "Softmax"
        or (node.op_type in _ON_THE_WAY and all(_only_masks(v, seen) for v in node.outputs))
        for node in readers
    )
