"""`remove_identity`: take out nodes that only pass their input on, and pairs that undo each other.

Transpose(Transpose(x, p), q) -> Transpose(x, p[q]), or x where that is the identity
Reshape(Reshape(x, a), b)     -> Reshape(x, b)
Cast(Cast(x, float), float16) -> Cast(x, float16)
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.graph.edit import (
    add_constant,
    constant_at,
    graph_of,
    graphs,
    int_attribute,
    ints_attribute,
    is_onnx,
    prune,
    rewritten,
)
from edgecompile.passes.graph.noops import drop_noops


class RemoveIdentity(Pass):
    """Take out Identity, Dropout at inference, no-op Cast, Reshape, Transpose and the like."""

    id: ClassVar[str] = "remove_identity"

    def run(self, model: Model, context: Context) -> Outcome:
        """A no-op that joins a graph input to a graph output stays: both names must."""
        book = NoteBook()
        return rewritten(model, functools.partial(_remove, book=book), book.notes)


def _remove(graph: ir.Model, book: NoteBook) -> None:
    while drop_noops(graph) or merge_pairs(graph):
        pass
    for part in graphs(graph):
        for node in part:
            if is_onnx(node, "Identity") and not node.outputs[0].is_graph_output():
                book.fail("the Identity could not be bypassed", node.name, op_type="Identity")


def merge_pairs(graph: ir.Model) -> bool:
    """Merge Transpose and Reshape with one of their own kind before them; whether any was."""
    changed = False
    for part in graphs(graph):
        for node in list(part):
            if is_onnx(node, "Transpose"):
                changed |= _merge_transposes(node)
            elif is_onnx(node, "Reshape"):
                changed |= _merge_reshapes(node)
    return changed


def _before(node: ir.Node) -> ir.Node | None:
    """The node of the same kind that makes the first input, in the same graph."""
    source = node.inputs[0]
    producer = None if source is None else source.producer()
    if producer is None or producer.graph is not node.graph or not is_onnx(producer, node.op_type):
        return None
    return producer


def _merge_transposes(node: ir.Node) -> bool:
    first = _before(node)
    if first is None:
        return False
    inner, outer = ints_attribute(first, "perm", ()), ints_attribute(node, "perm", ())
    if not inner or len(inner) != len(outer):
        return False
    node.replace_input_with(0, first.inputs[0])
    node.attributes["perm"] = ir.AttrInt64s("perm", [inner[axis] for axis in outer])
    prune(first)
    return True


def _merge_reshapes(node: ir.Node) -> bool:
    first = _before(node)
    shape = constant_at(node, 1)
    if first is None or shape is None:
        return False
    if int_attribute(node, "allowzero", 0) or not all(shape != 0):
        return _merge_known_zeros(node, first, shape.tolist())
    node.replace_input_with(0, first.inputs[0])
    prune(first)
    return True


def _merge_known_zeros(node: ir.Node, first: ir.Node, wanted: Sequence[int]) -> bool:
    """A 0 copies a dimension of the first Reshape's result: replace it where that is a number."""
    between = first.outputs[0].shape
    if int_attribute(node, "allowzero", 0) or between is None:
        return False
    known = [between[axis] if dim == 0 else dim for axis, dim in enumerate(wanted)]
    numbers = [dim for dim in known if isinstance(dim, int)]
    if len(numbers) != len(wanted) or 0 in numbers:
        return False
    value = add_constant(
        graph_of(node), np.array(numbers, np.int64), f"{node.outputs[0].name}_dims"
    )
    node.replace_input_with(1, value)
    node.replace_input_with(0, first.inputs[0])
    prune(first)
    return True
