"""Chains of Relu, Min, Max and Clip by constants are one clamp.

clamp(x, a, b) = min(max(x, a), b),  a <= b
clamp(clamp(x, a, b), c, d) = clamp(x, clamp(a, c, d), clamp(b, c, d))
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from edgecompile.passes.base import NoteBook
from edgecompile.passes.fuse.terms import scalar
from edgecompile.passes.graph.edit import (
    add_constant,
    float_attribute,
    graph_of,
    input_at,
    is_onnx,
    only_consumer,
    prune,
    replace_node,
)

Interval = tuple[float, float]

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE})


def fuse_clamps(part: ir.Graph, usable: Collection[str], book: NoteBook) -> None:
    """Replace every chain of clamps in `part`, and every Min or Max by a constant, by one clamp."""
    for root in reversed(list(part)):
        if root.graph is not part or _step(root) is None or _continues(root):
            continue
        chain, source, interval = _follow(root)
        if len(chain) == 1 and not is_onnx(root, "Min", "Max"):
            continue
        op = "Relu" if interval == (0.0, math.inf) else "Clip"
        if op not in usable:
            book.fail(
                f"this is {op}, which the target or the opset does not have among its fused "
                "activations",
                root.name,
                op_type=root.op_type,
            )
        elif source.dtype in FLOATS:
            _write(root, op, source, interval)


def _step(node: ir.Node) -> tuple[ir.Value, Interval] | None:
    """The clamp that one node is: what it clamps, and to which interval."""
    source = node.inputs[0] if node.inputs else None
    if source is None:
        return None
    if is_onnx(node, "Relu"):
        return source, (0.0, math.inf)
    if is_onnx(node, "Clip"):
        low, high = _bound(node, 1, "min", -math.inf), _bound(node, 2, "max", math.inf)
        return (
            (source, (low, high)) if low is not None and high is not None and low <= high else None
        )
    if is_onnx(node, "Min", "Max") and len(node.inputs) == 2:
        for index in (0, 1):
            number, other = scalar(node.inputs[index]), node.inputs[1 - index]
            if number is not None and other is not None and not math.isnan(number):
                low, high = (-math.inf, number) if node.op_type == "Min" else (number, math.inf)
                return other, (low, high)
    return None


def _bound(node: ir.Node, index: int, name: str, default: float) -> float | None:
    if name in node.attributes:
        return float_attribute(node, name, default)
    value = input_at(node, index)
    return default if value is None else scalar(value)


def _continues(node: ir.Node) -> bool:
    """Whether the node's only user is a clamp too, so that the chain ends later."""
    user = only_consumer(node.outputs[0])
    if user is None or user.graph is not node.graph:
        return False
    step = _step(user)
    return step is not None and step[0] is node.outputs[0]


def _follow(root: ir.Node) -> tuple[list[ir.Node], ir.Value, Interval]:
    """All clamps that end in `root`, what they clamp, and to which interval in all."""
    chain: list[ir.Node] = []
    node: ir.Node | None = root
    source, (low, high) = root.outputs[0], (-math.inf, math.inf)
    while node is not None and (step := _step(node)) is not None:
        chain.append(node)
        source, (inner_low, inner_high) = step
        low, high = _clamp(inner_low, low, high), _clamp(inner_high, low, high)
        before = source.producer()
        joined = before is not None and before.graph is root.graph and only_consumer(source)
        node = before if joined else None
    return chain, source, (low, high)


def _clamp(number: float, low: float, high: float) -> float:
    return min(max(number, low), high)


def _write(root: ir.Node, op: str, source: ir.Value, interval: Interval) -> None:
    graph = graph_of(root)
    inputs: list[ir.Value | None] = [source]
    if op == "Clip":
        assert source.dtype is not None
        kind = source.dtype.numpy()
        for number, name in zip(interval, ("min", "max"), strict=True):
            array = np.array(number, kind)
            stem = f"{root.outputs[0].name}_{name}"
            inputs.append(add_constant(graph, array, stem) if math.isfinite(number) else None)
        while inputs[-1] is None:
            inputs.pop()
    new = ir.Node("", op, inputs, name=root.name)
    new.doc_string = root.doc_string
    new.metadata_props.update(root.metadata_props)
    before = [value.producer() for value in root.inputs if value is not None]
    replace_node(root, new)
    prune(*(node for node in before if node is not None))
