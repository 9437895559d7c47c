"""Which operators make what a logarithm is taken of: there small numbers count as much as large.

Audio nets compute spectra in the graph: filter banks as convolutions or matrix products, squares,
sums, a Log. Steps of one size for the whole range leave nothing of the quiet parts, and the Log
makes as much of them as of the loud ones; no range and no scale per channel helps.
"""

from __future__ import annotations

import onnx_ir as ir

REASON = "a logarithm is taken of its result: small numbers count as much as large ones"
_ON_THE_WAY = frozenset(
    {
        "Abs", "Add", "Cast", "Clip", "Concat", "Conv", "Div", "Expand", "Flatten", "Gather",
        "Gemm", "Identity", "MatMul", "Max", "Mul", "Neg", "Pad", "Pow", "ReduceL2", "ReduceMean",
        "ReduceSum", "ReduceSumSquare", "Reshape", "Slice", "Split", "Sqrt", "Squeeze", "Sub",
        "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""Operators of filter banks and power spectra. Activations of nets are not among them."""


def before_logarithms(graph: ir.Graph) -> frozenset[ir.Node]:
    """Nodes of `graph` whose result reaches a Log through nothing but filters and magnitudes."""
    found: set[ir.Node] = set()
    for node in reversed(graph):
        readers = {use.node for output in node.outputs for use in output.uses()}
        filters = node.op_type in _ON_THE_WAY and node.domain in ("", "ai.onnx")
        if filters and any(reader.op_type == "Log" or reader in found for reader in readers):
            found.add(node)
    return frozenset(found)
