"""Shape inference in place, for passes that ask about shapes while they edit."""

from __future__ import annotations

import onnx_ir as ir

from edgecompile.passes.graph.edit import quiet


def infer_shapes(graph: ir.Model) -> None:
    """Fill in and sharpen what ONNX's inference knows, with data propagation.

    The declared shapes of graph inputs and outputs are the model's interface and stay.
    """
    from onnx_ir.passes import common

    declared = [(v, v.shape) for v in (*graph.graph.inputs, *graph.graph.outputs)]
    with quiet("onnx_ir"):
        common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(graph)
    for value, shape in declared:
        if shape is not None:
            value.shape = shape
