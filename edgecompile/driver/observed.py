"""Which tensors `edgecompile calibrate` observes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecompile.ir.facts import constant_array
from edgecompile.passes.quantize.placement import place
from edgecompile.targets.catalogue import load_target

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.ir.model import Model

_FUSING = frozenset({"Add", "BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul"})
_FUSED = frozenset({"BatchNormalization", "Clip", "LeakyRelu", "PRelu", "Relu"})


def observed_tensors(model: Model, target: str | None, *, every: bool = False) -> list[str]:
    """Tensors that the target `target` would quantize; without one, activations at large.

    Then `every` takes in what runtimes fuse away. Raises EC-2xx for a target that does not exist.
    """
    style = load_target(target).quantization if target else None
    if style is not None:
        return list(place(model, style).tensors)
    return float_activations(model, fused=every)


def float_activations(model: Model, *, fused: bool) -> list[str]:
    """Every float tensor that the main graph takes or computes, in order.

    Without `fused`, not those between an operator and the activation, normalisation or constant
    sum behind it: where runtimes compute both at once no such tensor exists, and looking at it
    would keep ONNX Runtime from doing so.
    """
    graph = model.graph.graph
    values = [v for v in graph.inputs if v.name not in graph.initializers]
    values += [out for node in graph if node.op_type != "Constant" for out in node.outputs]
    return [
        v.name
        for v in values
        if v.name
        and v.dtype is not None
        and v.dtype.is_floating_point()
        and (fused or not _fused_away(v))
    ]


def _fused_away(value: ir.Value) -> bool:
    node, uses = value.producer(), value.uses()
    if node is None or node.op_type not in _FUSING or len(uses) != 1 or value.is_graph_output():
        return False
    reader, index = next(iter(uses))
    if reader.graph is not node.graph:
        return False
    if reader.op_type == "Add" and node.op_type == "MatMul":
        return constant_array(reader.inputs[1 - index]) is not None
    return reader.op_type in _FUSED and index == 0
