"""Ranges that a graph fixes by itself: after Relu, Clip, Sigmoid, Softmax and the like."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecompile.ir.facts import constant_array

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.ir.model import Model


@dataclass(frozen=True, kw_only=True)
class Bound:
    """No value lies outside `low` to `high` (either may be infinite).

    `exact` says that the operator clips there, so that values at the bound are equal to it.
    """

    low: float = -math.inf
    high: float = math.inf
    exact: bool = False

    @property
    def known(self) -> bool:
        """Whether either end is finite."""
        return math.isfinite(self.low) or math.isfinite(self.high)


FREE = Bound()
_SAME_VALUES = frozenset(
    {"Identity", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split",
     "Expand", "Tile", "Gather", "MaxPool", "GlobalMaxPool", "DepthToSpace", "SpaceToDepth",
     "Dropout"}
)  # fmt: skip
"""Operators whose every output value is one of the values of their first input."""
_FIXED = {
    "Relu": Bound(low=0.0, exact=True),
    "HardSigmoid": Bound(low=0.0, high=1.0, exact=True),
    "Sigmoid": Bound(low=0.0, high=1.0),
    "Softmax": Bound(low=0.0, high=1.0),
    "Tanh": Bound(low=-1.0, high=1.0),
    "Softsign": Bound(low=-1.0, high=1.0),
    "Erf": Bound(low=-1.0, high=1.0),
    "Sin": Bound(low=-1.0, high=1.0),
    "Cos": Bound(low=-1.0, high=1.0),
    "Abs": Bound(low=0.0),
    "Exp": Bound(low=0.0),
    "Sqrt": Bound(low=0.0),
    "Softplus": Bound(low=0.0),
    "LogSoftmax": Bound(high=0.0),
    "HardSwish": Bound(low=-0.375),
}
"""By the operators' definitions in the ONNX specification; HardSwish is least at x = -1.5."""


def graph_bounds(model: Model) -> dict[str, Bound]:
    """The bound of every tensor of the main graph that has one."""
    found: dict[str, Bound] = {}
    for node in model.graph.graph:
        bound = _of(node, found)
        if bound.known:
            found.update({v.name: bound for v in node.outputs if v.name})
    return found


def _of(node: ir.Node, found: dict[str, Bound]) -> Bound:
    if node.domain not in {"", "ai.onnx"}:
        return FREE
    if node.op_type in _SAME_VALUES:
        return _input(node, 0, found)
    rule = _RULES.get(node.op_type)
    return rule(node, found) if rule else _FIXED.get(node.op_type, FREE)


def _input(node: ir.Node, index: int, found: dict[str, Bound]) -> Bound:
    value = node.inputs[index] if index < len(node.inputs) else None
    return FREE if value is None or value.name is None else found.get(value.name, FREE)


def _clip(node: ir.Node, found: dict[str, Bound]) -> Bound:
    before = _input(node, 0, found)
    low, high = _clip_limit(node, 1, "min", -math.inf), _clip_limit(node, 2, "max", math.inf)
    return Bound(low=max(before.low, low), high=min(before.high, high), exact=True)


def _clip_limit(node: ir.Node, index: int, attribute: str, default: float) -> float:
    if attribute in node.attributes:  # opset 6
        return node.attributes[attribute].as_float()
    value = node.inputs[index] if index < len(node.inputs) else None
    array = constant_array(value)
    return float(array) if array is not None and array.size == 1 else default


def _union(node: ir.Node, found: dict[str, Bound]) -> Bound:
    parts = [_input(node, i, found) for i in range(len(node.inputs))]
    return Bound(
        low=min((p.low for p in parts), default=-math.inf),
        high=max((p.high for p in parts), default=math.inf),
        exact=all(p.exact for p in parts),
    )


def _smaller(node: ir.Node, found: dict[str, Bound]) -> Bound:
    parts = [_operand(node, i, found) for i in range(len(node.inputs))]
    return Bound(low=min(p.low for p in parts), high=min(p.high for p in parts))


def _larger(node: ir.Node, found: dict[str, Bound]) -> Bound:
    parts = [_operand(node, i, found) for i in range(len(node.inputs))]
    return Bound(low=max(p.low for p in parts), high=max(p.high for p in parts))


def _operand(node: ir.Node, index: int, found: dict[str, Bound]) -> Bound:
    """The bound of an input, which may be a constant."""
    array = constant_array(node.inputs[index])
    if array is None or not array.size:
        return _input(node, index, found)
    return Bound(low=float(array.min()), high=float(array.max()))


def _average(node: ir.Node, found: dict[str, Bound]) -> Bound:
    # Padding may count as zeros, and the division rounds: the ends are no longer exact.
    before = _input(node, 0, found)
    return Bound(low=min(before.low, 0.0), high=max(before.high, 0.0))


_RULES: dict[str, Callable[[ir.Node, dict[str, Bound]], Bound]] = {
    "Clip": _clip,
    "Concat": _union,
    "Max": _larger,
    "Min": _smaller,
    "AveragePool": _average,
    "GlobalAveragePool": _average,
    "ReduceMean": _average,
}
