"""Shape inference in place, for passes that ask about shapes while they edit."""

from __future__ import annotations

import onnx_ir as ir

from edgecompile.passes.graph.edit import quiet


def infer_shapes(graph: ir.Model, *, keep_outputs: bool = True) -> None:
    """Fill in and sharpen what ONNX's inference knows, with data propagation.

    The declared shapes of graph inputs are the model's interface and stay; those of the outputs
    too, unless `keep_outputs` is false.
    """
    from onnx_ir.passes import common

    interface = [*graph.graph.inputs, *(graph.graph.outputs if keep_outputs else ())]
    declared = [(value, value.shape) for value in interface]
    with quiet("onnx_ir"):
        common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(graph)
    for value, shape in declared:
        if shape is not None:
            value.shape = shape
