"""Worker: which layers the compiled model really runs, in which precision, and their arithmetic."""

from __future__ import annotations

import math
from typing import Any

from edgecompile.vendor.openvino.runner import compiled_model
from edgecompile.vendor.worker import Session

_NOT_RUN = {"Input", "Output"}
_BODIES = {"If", "Loop", "TensorIterator"}
"""Operators with graphs inside that run none or many times: what they multiply is not known."""
_ARITHMETIC = {
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
    "MatMul", "ScaledDotProductAttention", "LSTMSequence", "GRUSequence", "RNNSequence",
}  # fmt: skip


def layers(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Executed layers of the model that `runner.open_model` loaded, and multiply-accumulates.

    `payload["shapes"]` (input name -> shape) makes a dynamic model's arithmetic countable. Answers
    `layers`: name, kind, precision and the names of the operators that were fused into each;
    `macs`: operator name -> multiply-accumulates, null where they cannot be told.
    """
    graph = compiled_model(session, "runtime").get_runtime_model()
    found = []
    constant: set[str] = set()
    for node in graph.get_ordered_ops():
        info = node.get_rt_info()
        kind = info["layerType"].astype(str)
        sources = [p.get_source_output().get_node().get_friendly_name() for p in node.inputs()]
        if kind == "Const" or (sources and constant.issuperset(sources)):
            constant.add(node.get_friendly_name())  # computed once, when the model is compiled
            continue
        if kind in _NOT_RUN:
            continue
        origins = info["originalLayersNames"].astype(str)
        found.append(
            {
                "name": node.get_friendly_name(),
                "kind": kind,
                "precision": info["runtimePrecision"].astype(str),
                "origins": [name for name in origins.split(",") if name],
            }
        )
    return {"layers": found, "macs": _macs(session, payload["shapes"])}


def _macs(session: Session, shapes: dict[str, list[int]]) -> dict[str, int | None]:
    model = session.kept["model"].clone()
    if model.is_dynamic():
        try:
            model.reshape(shapes)
        except RuntimeError:
            return {}  # some models are only valid for shapes that depend on values
    counted: dict[str, int | None] = {}
    for node in model.get_ops():
        count = _count(node)
        if count != 0:
            counted[node.get_friendly_name()] = count
    return dict(sorted(counted.items()))


def _count(node: Any) -> int | None:
    """Multiply-accumulates of one operator; 0 for others, None where a shape is not known."""
    kind = node.get_type_name()
    if kind not in _ARITHMETIC:
        return None if kind in _BODIES else 0
    ports = [*node.inputs(), *node.outputs()]
    if any(port.get_partial_shape().is_dynamic for port in ports):
        return None
    inputs = [[int(dim) for dim in port.get_shape()] for port in node.inputs()]
    output = math.prod(int(dim) for dim in node.output(0).get_shape())
    match kind:
        case "Convolution":  # every output element sums over the kernel; [M, C, k...]
            return output * math.prod(inputs[1][1:])
        case "GroupConvolution":  # [G, M / G, C / G, k...]
            return output * math.prod(inputs[1][2:])
        case "ConvolutionBackpropData":  # every input element is spread; [C, M, k...]
            return math.prod(inputs[0]) * math.prod(inputs[1][1:])
        case "GroupConvolutionBackpropData":
            return math.prod(inputs[0]) * math.prod(inputs[1][2:])
        case "MatMul":
            transposed = node.get_attributes().get("transpose_a", False) and len(inputs[0]) > 1
            depth = inputs[0][-2] if transposed else inputs[0][-1]
            return output * depth
        case "ScaledDotProductAttention":  # query [..., L, E], key [..., S, E], value [..., S, V]
            length, value = inputs[2][-2:]
            return output // value * length * (inputs[0][-1] + value)
        case "LSTMSequence":  # W and R follow data, two states and the lengths
            return _recurrent(inputs, 4)
        case "GRUSequence" | "RNNSequence":  # one state only
            return _recurrent(inputs, 3)
    return 0


def _recurrent(inputs: list[list[int]], weights: int) -> int:
    """Every step multiplies W `[directions, gates * H, I]` and R `[directions, gates * H, H]`."""
    steps = inputs[0][0] * inputs[0][1]
    return steps * (math.prod(inputs[weights]) + math.prod(inputs[weights + 1]))
