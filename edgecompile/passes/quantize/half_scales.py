"""Scales of Q/DQ pairs in half precision: which fit, and what is done with weights' that do not."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.ir.names import Names

LEAST = 2.0**-18
"""Below 2^-14 half precision has steps of 2^-24: a scale from here on is wrong by 0.8 % at most."""
LARGEST = 65504.0 / 128
"""What the largest integer stands for must fit too."""
_NARROW = {ir.DataType.INT8: 127, ir.DataType.INT4: 7}


def scale_problem(node: ir.Node) -> str:
    """Why the scale of QuantizeLinear or DequantizeLinear must stay in single precision, or ''.

    The same for both halves of a pair.
    """
    scale = constant_array(node.inputs[1])
    if scale is None:
        return "its scale is no constant"
    if np.all((scale >= LEAST) & (scale <= LARGEST)):
        return ""
    low, high = float(scale.min()), float(scale.max())
    return f"its scales, {low:g} to {high:g}, do not fit into half precision"


def raise_scales(graph: ir.Graph) -> int:
    """Count stored weights again whose channels have scales below `LEAST`; how many there were.

    Such a channel holds numbers below 127 * 2^-18, which half precision hardly tells from 0.
    """
    changed, names = 0, Names(graph)
    for node in list(graph):
        if node.op_type != "DequantizeLinear" or node.domain or len(node.inputs) < 2:
            continue
        stored, scale = constant_array(node.inputs[0]), constant_array(node.inputs[1])
        source = node.inputs[0]
        most = _NARROW.get(source.dtype) if source is not None and source.dtype else None
        if stored is None or scale is None or most is None or np.all(scale >= LEAST):
            continue
        if "block_size" in node.attributes or _has_offset(node):
            continue
        raised = np.maximum(scale, np.float32(LEAST)).astype(np.float32)
        shape = [1] * stored.ndim
        if scale.ndim:
            shape[node.attributes["axis"].as_int() if "axis" in node.attributes else 1] = -1
        ratio = (scale / raised).reshape(shape)
        counted = np.clip(np.rint(stored.astype(np.float32) * ratio), -most, most)
        for index, array in ((0, counted.astype(stored.dtype)), (1, raised)):
            old = node.inputs[index]
            node.replace_input_with(index, _constant(graph, names, old, array))
            if old is not None and not old.uses():
                graph.initializers.pop(old.name or "", None)
        changed += 1
    return changed


def _has_offset(node: ir.Node) -> bool:
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    return zero is not None and bool(np.any(zero.astype(np.float32)))


def _constant(graph: ir.Graph, names: Names, old: ir.Value | None, array: np.ndarray) -> ir.Value:
    stem = "" if old is None else old.name
    name = names.unique(f"{stem}_raised")
    dtype = ir.DataType.FLOAT if old is None or old.dtype is None else old.dtype
    value = ir.Value(
        name=name,
        const_value=ir.tensor(np.asarray(array, order="C"), dtype=dtype, name=name),
        type=ir.TensorType(dtype),
        shape=ir.Shape(array.shape),
    )
    graph.register_initializer(value)
    return value
