"""How many multiply-accumulates a node does."""

from __future__ import annotations

import math

import onnx_ir as ir

Dims = tuple[int, ...]


def macs(node: ir.Node, *, dynamic: int | None = None) -> int | None:
    """Multiply-accumulates of Conv, ConvTranspose, MatMul and Gemm, from the inferred shapes.

    None for other operators, and where a dimension that counts is not a known number. `dynamic`
    is a size to assume for those: with 1 and a dynamic batch, the figure is per sample. Additions
    of a bias are not counted.
    """
    if node.domain or len(node.inputs) < 2 or not node.outputs:
        return None
    values = (node.inputs[0], node.inputs[1], node.outputs[0])
    data, weight, out = (_dims(value, dynamic) for value in values)
    if data is None or weight is None or out is None:
        return None
    match node.op_type:
        case "Conv":  # every output element sums over the kernel; weights [M, C / group, k...]
            return math.prod(out) * math.prod(weight[1:])
        case "ConvTranspose":  # every input element is spread; weights [C, M / group, k...]
            return math.prod(data) * math.prod(weight[1:])
        case "MatMul" if data:  # every output element sums over the last axis of the first input
            return math.prod(out) * data[-1]
        case "Gemm" if len(data) == 2:  # A is [M, K], or [K, M] when transA is set
            return math.prod(out) * data[0 if node.attributes.get_int("transA", 0) else 1]
    return None


def _dims(value: ir.Value | None, dynamic: int | None) -> Dims | None:
    if value is None or value.shape is None:
        return None
    dims = [dim if isinstance(dim, int) else dynamic for dim in value.shape]
    known = tuple(dim for dim in dims if dim is not None)
    return known if len(known) == len(dims) else None
