"""Shape inference: fills in what is missing and changes nothing that is known."""

from __future__ import annotations

from edgecompile.ir.model import Model


def infer(model: Model) -> Model:
    """The model with the types and shapes of values filled in, as far as ONNX can infer them.

    Best effort: never fails on a model that the checker accepts. Returns the same object when
    nothing is missing.
    """
    from onnx_ir.passes.common import ShapeInferencePass

    copy = model.clone()
    ShapeInferencePass(check_type=False, strict_mode=False)(copy.graph)
    return copy
