"""What a Q/DQ graph says about its products: which of them are meant to multiply integers."""

from __future__ import annotations

import onnx_ir as ir

from edgecompile.ir.facts import all_nodes
from edgecompile.ir.model import Model

PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
MOVERS = frozenset(
    {"Cast", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool",
     "Reshape", "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Operators that only move numbers, so that they may stand between a pair and a product."""


def restored_type(value: ir.Value | None) -> ir.DataType | None:
    """The quantized type that `value` was restored from; None for plain floats."""
    node = None if value is None else value.producer()
    while node is not None and node.op_type in MOVERS and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.op_type != "DequantizeLinear" or node.inputs[0] is None:
        return None
    return node.inputs[0].dtype


def integer_products(model: Model) -> tuple[str, ...]:
    """Names of the products both of whose operands are signed 8-bit integers."""
    return products_in(model, ir.DataType.INT8)


def products_in(model: Model, kind: ir.DataType) -> tuple[str, ...]:
    """Names of the products both of whose operands are restored from `kind`."""
    return tuple(
        node.name or node.outputs[0].name or ""
        for node in all_nodes(model)
        if node.op_type in PRODUCTS
        and not node.domain
        and all(restored_type(value) == kind for value in node.inputs[:2])
    )
