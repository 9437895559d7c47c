"""Reading arithmetic regardless of how an exporter wrote it down.

`0.5 * (x * (1 + e))`, `(x * 0.5) * (e + 1)` and `x * (e + 1) / 2` are one product. `product` gives
its scalar and its factors, so that a pattern is compared once instead of once per spelling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.passes.graph.edit import is_onnx, only_consumer

CLOSE = 1e-3
"""Relative tolerance for constants: exporters write them in float16 too."""


@dataclass
class Product:
    """`scalar * factors[0] * factors[1] * ...`; `nodes` are what computes it, root first."""

    scalar: float = 1.0
    factors: list[ir.Value] = field(default_factory=list)
    nodes: list[ir.Node] = field(default_factory=list)


def scalar(value: ir.Value | None) -> float | None:
    """The number that a constant of one element holds; more axes could add some by broadcasting."""
    array = constant_array(value)
    if array is None or array.size != 1 or array.ndim > 1 or array.dtype.kind not in "fiu":
        return None
    return float(array.reshape(-1)[0])


def close(number: float | None, wanted: float) -> bool:
    """Whether a constant is the wanted one, up to the rounding of exporters."""
    return number is not None and math.isclose(number, wanted, rel_tol=CLOSE, abs_tol=1e-12)


def product(root: ir.Node) -> Product:
    """The product that `root` (Mul or Div) computes, through nodes that serve nothing else."""
    result = Product()
    _collect(root, result, root.graph)
    return result


def _collect(node: ir.Node, result: Product, graph: object) -> None:
    result.nodes.append(node)
    left, right = node.inputs
    divisor = scalar(right) if is_onnx(node, "Div") else None
    if divisor:
        result.scalar /= divisor
        _factor(left, result, graph)
        return
    for value in (left, right):
        _factor(value, result, graph)


def _factor(value: ir.Value | None, result: Product, graph: object) -> None:
    if value is None:
        return
    number = scalar(value)
    if number is not None:
        result.scalar *= number
        return
    node = value.producer()
    inner = (
        node is not None
        and node.graph is graph
        and only_consumer(value) is not None
        and (is_onnx(node, "Mul") or (is_onnx(node, "Div") and scalar(node.inputs[1])))
    )
    if node is not None and inner:
        _collect(node, result, graph)
    else:
        result.factors.append(value)


def other_input(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """The input of a binary node that is not `value`; None where neither or both are."""
    left, right = node.inputs[0], node.inputs[1]
    if (left is value) == (right is value):
        return None
    return right if left is value else left


def plus(value: ir.Value, wanted: float) -> ir.Value | None:
    """v where `value` is `v + wanted`."""
    node = value.producer()
    if node is None or not is_onnx(node, "Add"):
        return None
    for index in (0, 1):
        if close(scalar(node.inputs[index]), wanted):
            return node.inputs[1 - index]
    return None


def made_by(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node that makes `value`, when it is one of these."""
    node = None if value is None else value.producer()
    return node if node is not None and is_onnx(node, *op_types) else None
