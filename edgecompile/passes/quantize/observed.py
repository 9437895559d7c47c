"""Where fidelity tells most: the last tensors of a model that change smoothly with its weights."""

from __future__ import annotations

import onnx_ir as ir

from edgecompile.ir.facts import constant_tensor
from edgecompile.ir.model import Model

MOST_PARTS = 16
_SHAPES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast"})
_SELECTS = frozenset(
    {
        "ArgMax", "ArgMin", "TopK", "NonMaxSuppression", "NonZero", "Greater", "GreaterOrEqual",
        "Less", "LessOrEqual", "Equal", "Not", "And", "Or", "Round", "Floor", "Ceil", "Sign",
        "Compress", "Unique", "OneHot",
    }
)  # fmt: skip
"""Operators that pick or decide: a small error changes nothing, or everything."""
_PICKS = frozenset({"Gather", "GatherND", "GatherElements", "Where", "ScatterND", "Slice"})
"""Operators that do so where what they pick by is computed."""


def observed(reference: Model) -> tuple[str, ...]:
    """Names of tensors to judge the outputs of `reference` by, in the order of the outputs.

    An output that joins parts is judged by each of them: boxes in pixels and scores below one, say,
    whose errors cannot be compared. One that is picked or decided (classes, boxes that survive
    non-maximum suppression) is judged by what it is picked from. Others stand for themselves.
    """
    found: dict[str, None] = {}
    seen: set[ir.Value] = set()
    for output in reference.graph.graph.outputs:
        parts: dict[str, None] = {}
        _collect(output, parts, seen)
        own = {output.name or "": None} if _is_float(output) else {}
        plain = not _joins(_unshaped(output).producer())
        found |= own if own and (plain or len(parts) > MOST_PARTS) else parts
    return tuple(found)


def _unshaped(value: ir.Value) -> ir.Value:
    """What only changes its shape on the way to `value`."""
    node = value.producer()
    while node is not None and node.op_type in _SHAPES and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _joins(node: ir.Node | None) -> bool:
    """Whether what it gives is judged by what it reads."""
    if node is None or node.domain not in ("", "ai.onnx"):
        return False
    return node.op_type == "Concat" or node.op_type in _SELECTS or _picks(node)


def _collect(value: ir.Value, found: dict[str, None], seen: set[ir.Value]) -> None:
    pending = [value]
    while pending:
        value = pending.pop()
        if value in seen or constant_tensor(value) is not None:
            continue
        seen.add(value)
        value = _unshaped(value)
        node = value.producer()
        behind = list(node.inputs) if node is not None and _joins(node) else []
        if node is not None and not behind and _is_float(value):
            found[value.name or ""] = None
        pending += reversed([v for v in behind if v is not None])


def _picks(node: ir.Node) -> bool:
    if node.op_type not in _PICKS:
        return False
    by = node.inputs[:1] if node.op_type == "Where" else node.inputs[1:]
    return any(v is not None and constant_tensor(v) is None and not _of_shapes(v) for v in by)


def _of_shapes(value: ir.Value) -> bool:
    """Whether it is computed from shapes alone, and so the same in every quantized model."""
    node = value.producer()
    for _ in range(64):
        if node is None or node.op_type in ("Shape", "Size"):
            return node is not None
        before = next((v for v in node.inputs if v and constant_tensor(v) is None), None)
        node = None if before is None else before.producer()
    return False


def _is_float(value: ir.Value) -> bool:
    return value.dtype is None or value.dtype.is_floating_point()
