"""Which layers TensorRT 8 must be told to compute in FP16 or FP32.

From TensorRT 10 on the graph types every layer. TensorRT 8 takes flags instead, and with `--fp16`
any layer that has no Q/DQ pairs may run in FP16, also one that is FP32 in the graph because
half precision overflows there (docs.nvidia.com/deeplearning/tensorrt/archives, 8.6, "Controlling
Computational Precision").
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.ir.qdq import PRODUCTS, integer_products

FP16, FP32 = "fp16", "fp32"
_CONVERSIONS = frozenset({"Cast", "Constant", "DequantizeLinear", "QuantizeLinear"})


def layer_precisions(model: Model) -> dict[str, str]:
    """Layer -> `fp16` or `fp32`, for what the flags alone would leave to the library.

    FP32 where the graph mixes half and single precision: what is single there must stay so. FP16
    for the products of an integer model that are left in float.
    """
    nodes = [node for node in model.graph.graph if node.op_type not in _CONVERSIONS and node.name]
    mixed = any(value.dtype == ir.DataType.FLOAT16 for node in nodes for value in node.outputs)
    if mixed:
        return {node.name: FP32 for node in nodes if _single(node) and node.name}
    integer = set(integer_products(model))
    products = [node.name for node in nodes if node.op_type in PRODUCTS and not node.domain]
    return {name: FP16 for name in products if name and name not in integer} if integer else {}


def constraint(precisions: Mapping[str, str]) -> str:
    """`obey` where FP32 must hold, `prefer` where FP16 is no more than wanted, else nothing."""
    kinds = set(precisions.values())
    return "obey" if FP32 in kinds else "prefer" if kinds else ""


def _single(node: ir.Node) -> bool:
    return any(value.dtype == ir.DataType.FLOAT for value in node.outputs)
