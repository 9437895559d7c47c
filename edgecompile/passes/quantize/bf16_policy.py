"""Which nodes must stay in float32 because bfloat16 would lose too much of what they compute.

bfloat16 has the range of float32, so nothing overflows, and 8 bits of precision: steps of 2^-8 of
a number, whole numbers up to 256. What accumulates, takes differences of near-equal numbers or
tells whole numbers apart stays; products and sums of a layer, whose kernels add in float32, do not.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.passes.quantize.fp16_policy import ANGLES, SUMS, normalisation_parts

WHOLE = 256
"""Up to here bfloat16 tells whole numbers apart."""
STATISTICS = frozenset(
    {
        "LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization",
        "BatchNormalization", "MeanVarianceNormalization", "LpNormalization",
    }
)  # fmt: skip
SUMMED_SQUARES = frozenset({"ReduceL2", "ReduceSumSquare"})
LONG = frozenset({"CumSum", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"})


def bf16_reasons(graph: ir.Graph) -> dict[ir.Node, str]:
    """Why each of these nodes stays; subgraphs stay anyway."""
    found = {node: reason for node in graph if (reason := _reason(node))}
    spreads = [node for node in graph if _spread(node)]
    for node in spreads:
        found.setdefault(node, "it squares the differences of a normalisation")
    for node, anchor in normalisation_parts(graph, spreads).items():
        found.setdefault(node, f"it belongs to the normalisation around '{anchor.name}'")
    return found


def _reason(node: ir.Node) -> str:
    if node.op_type in ANGLES:
        return "angles lose their precision"
    if node.op_type == "GridSample":
        return "coordinates lose their precision"
    if node.op_type in STATISTICS:
        return "its statistics are differences of near-equal numbers"
    if node.op_type in LONG or node.op_type in SUMS:
        return "it sums many numbers"
    if node.op_type == "Softmax":
        return "probabilities of many classes are too close to each other"
    for value in node.inputs:
        array = constant_array(value)
        if value is not None and array is not None and _counts(array):
            return f"constant '{value.name}' holds whole numbers beyond {WHOLE}"
    return ""


def _spread(node: ir.Node) -> bool:
    """Whether `node` squares and something averages that: a variance that is written out."""
    square = node.op_type == "Pow" or (node.op_type == "Mul" and node.inputs[0] is node.inputs[1])
    averaged = any(use.node.op_type in SUMS for value in node.outputs for use in value.uses())
    return node.op_type in SUMMED_SQUARES or (square and averaged)


def _counts(array: np.ndarray) -> bool:
    """Whether a constant tells whole numbers apart that bfloat16 cannot (positions, anchors)."""
    if array.dtype != np.float32 or not array.size or array.size == 1:
        return False
    finite = array[np.isfinite(array)]
    top = float(np.abs(finite).max(initial=0.0))
    return WHOLE < top < 2**24 and bool((finite == np.rint(finite)).all())
