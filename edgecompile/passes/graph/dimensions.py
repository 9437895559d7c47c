"""What a shape computation gives, number by number, without running it.

`Concat(Unsqueeze(Gather(Shape(x), 0)), [-1])` for x of shape [N, 3, H, W] is `[N, -1]`: each entry
a number, or the dimension of a value that it is read from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.passes.graph.edit import constant_at, input_at, int_attribute, is_onnx

Entry = int | ir.SymbolicDim
Entries = tuple[Entry, ...]

LONGEST = 64
"""Longer constants are data, not shapes."""
DEEPEST = 32


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """The entries of an integer tensor of at most one axis."""

    entries: Entries
    scalar: bool = False

    def numbers(self) -> tuple[int, ...] | None:
        """All entries, when all are numbers."""
        known = tuple(entry for entry in self.entries if isinstance(entry, int))
        return known if len(known) == len(self.entries) else None


def dimensions(value: ir.Value | None, depth: int = 0) -> Dimensions | None:
    """The entries of `value`; None when it is computed from more than shapes and constants."""
    if value is None or depth > DEEPEST:
        return None
    array = constant_array(value)
    if array is not None:
        if array.dtype.kind != "i" or array.ndim > 1 or array.size > LONGEST:
            return None
        return _of(tuple(int(n) for n in array.reshape(-1)), scalar=array.ndim == 0)
    node = value.producer()
    if node is None or not is_onnx(node, *READERS):
        return None
    return READERS[node.op_type](node, depth + 1)


def _of(entries: Entries, *, scalar: bool = False) -> Dimensions:
    return Dimensions(entries=entries, scalar=scalar)


def _shape(node: ir.Node, depth: int) -> Dimensions | None:
    source = node.inputs[0]
    if source is None or source.shape is None or depth > DEEPEST:
        return None
    end = node.attributes.get("end")
    last = None if end is None or end.is_ref() else end.as_int()
    return _of(tuple(source.shape)[int_attribute(node, "start", 0) : last])


def _same(node: ir.Node, depth: int) -> Dimensions | None:
    return dimensions(node.inputs[0], depth)


def _cast(node: ir.Node, depth: int) -> Dimensions | None:
    whole = int_attribute(node, "to", 0) in (ir.DataType.INT64.value, ir.DataType.INT32.value)
    return dimensions(node.inputs[0], depth) if whole else None


def _unsqueeze(node: ir.Node, depth: int) -> Dimensions | None:
    found = dimensions(node.inputs[0], depth)
    shape = node.outputs[0].shape
    if found is None or not found.scalar or shape is None or len(shape) != 1:
        return None
    return _of(found.entries)


def _squeeze(node: ir.Node, depth: int) -> Dimensions | None:
    found = dimensions(node.inputs[0], depth)
    if found is None or len(found.entries) != 1:
        return None
    return _of(found.entries, scalar=True)


def _gather(node: ir.Node, depth: int) -> Dimensions | None:
    found, index = dimensions(node.inputs[0], depth), constant_at(node, 1)
    if found is None or found.scalar or index is None or index.ndim > 1:
        return None
    if int_attribute(node, "axis", 0) not in (0, -1):
        return None
    size = len(found.entries)
    picked = [int(i) for i in index.reshape(-1)]
    if any(not -size <= i < size for i in picked):
        return None
    return _of(tuple(found.entries[i] for i in picked), scalar=index.ndim == 0)


def _slice(node: ir.Node, depth: int) -> Dimensions | None:
    found = dimensions(node.inputs[0], depth)
    parts = [constant_at(node, index) for index in (1, 2, 4)]
    if found is None or parts[0] is None or parts[1] is None:
        return None
    if parts[2] is None and input_at(node, 4) is not None:
        return None
    start, end = int(parts[0].reshape(-1)[0]), int(parts[1].reshape(-1)[0])
    step = 1 if parts[2] is None else int(parts[2].reshape(-1)[0])
    return _of(found.entries[start:end:step]) if step == 1 else None


def _concat(node: ir.Node, depth: int) -> Dimensions | None:
    parts = [dimensions(value, depth) for value in node.inputs]
    if any(part is None for part in parts):
        return None
    return _of(tuple(entry for part in parts if part is not None for entry in part.entries))


def _arithmetic(node: ir.Node, depth: int) -> Dimensions | None:
    """Numbers only; what is symbolic becomes an unknown dimension."""
    left, right = (dimensions(value, depth) for value in node.inputs[:2])
    if left is None or right is None:
        return None
    length = max(len(left.entries), len(right.entries))
    if len(left.entries) not in (1, length) or len(right.entries) not in (1, length):
        return None
    pairs = zip(_spread(left, length), _spread(right, length), strict=True)
    entries = tuple(_compute(node.op_type, a, b) for a, b in pairs)
    return _of(entries, scalar=left.scalar and right.scalar)


def _spread(found: Dimensions, length: int) -> Entries:
    return found.entries * length if len(found.entries) == 1 else found.entries


def _compute(op_type: str, left: Entry, right: Entry) -> Entry:
    if not isinstance(left, int) or not isinstance(right, int):
        return ir.SymbolicDim(None)
    if op_type == "Div":
        # ONNX divides integers towards zero
        return int(np.fix(left / right)) if right else ir.SymbolicDim(None)
    return {"Add": left + right, "Sub": left - right, "Mul": left * right}[op_type]


READERS: dict[str, Callable[[ir.Node, int], Dimensions | None]] = {
    "Shape": _shape,
    "Identity": _same,
    "Cast": _cast,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
}
