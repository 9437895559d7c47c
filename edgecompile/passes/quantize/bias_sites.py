"""Where a linear layer's output takes a correction per channel: its bias, or an Add behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.graph.edit import (
    add_constant,
    constant_at,
    float_attribute,
    graph_of,
    input_at,
    is_onnx,
    only_consumer,
)
from edgecompile.passes.quantize.channel_scale import set_constant
from edgecompile.passes.quantize.stored_bias import shift_bias, takes_shift

Vector = npt.NDArray[np.float64]
"""One number per output channel, [M]."""


@dataclass(frozen=True, kw_only=True)
class BiasSite:
    """An integer layer: its node's output name, and the axis of the output's channels."""

    tensor: str
    axis: int
    channels: int

    def mean(self, array: npt.NDArray[Any]) -> Vector:
        """Mean of the layer's output per channel."""
        rows = np.moveaxis(array, self.axis, -1).reshape(-1, self.channels)
        found: Vector = rows.mean(axis=0, dtype=np.float64)
        return found


def bias_sites(model: Model) -> list[BiasSite]:
    """The Conv, Gemm and MatMul of the main graph with integer weights, in graph order."""
    return [site for node in model.graph.graph if (site := _site(node)) is not None]


def _site(node: ir.Node) -> BiasSite | None:
    if not is_onnx(node, "Conv", "Gemm", "MatMul"):
        return None
    value = node.inputs[1]
    source = None if value is None else value.producer()
    if source is None or source.op_type != "DequantizeLinear":
        return None
    weights = constant_array(source.inputs[0])
    if weights is None or weights.ndim < 2:
        return None
    if node.op_type == "MatMul":
        # a graph output's name stays on its node: there is no room behind it, and where outputs
        # are rounded an Add would be an operator of its own, in float
        if node.outputs[0].is_graph_output() or _rounded(node):
            return None
    elif not _free(node) and not takes_shift(node):
        return None
    first = node.op_type == "Conv" or bool(node.attributes.get_int("transB", 0))
    return BiasSite(
        tensor=node.outputs[0].name or "",
        axis=1 if node.op_type == "Conv" else -1,
        channels=int(weights.shape[0 if first else -1]),
    )


def _free(node: ir.Node) -> bool:
    """Whether the bias input of a Conv or Gemm is a float constant, or may become one."""
    bias = constant_at(node, 2)
    absent = input_at(node, 2) is None
    return (absent and not _rounded(node)) or (bias is not None and bias.dtype == np.float32)


def _rounded(node: ir.Node) -> bool:
    user = only_consumer(node.outputs[0])
    return user is not None and user.op_type == "QuantizeLinear"


def correct(node: ir.Node, correction: Vector, names: Names) -> None:
    """Add `correction` to what the integer layer `node` computes, in place."""
    if takes_shift(node):
        shift_bias(node, correction, names)
        return
    if node.op_type != "MatMul":
        _to_bias(node, correction, names)
        return
    user = only_consumer(node.outputs[0])
    if user is not None and is_onnx(user, "Add"):
        index = 1 if user.inputs[0] is node.outputs[0] else 0
        constant = constant_at(user, index)
        if constant is not None and (constant.size == 1 or constant.size == constant.shape[-1]):
            total = constant.astype(np.float64) + correction
            set_constant(user, index, total.astype(np.float32), names)
            return
    _behind(node, correction, names)


def _to_bias(node: ir.Node, correction: Vector, names: Names) -> None:
    beta = 1.0
    if node.op_type == "Gemm" and input_at(node, 2) is not None:
        beta = float_attribute(node, "beta", 1.0)
    old = constant_at(node, 2)
    if old is None or beta == 0.0:
        node.attributes.pop("beta", None)
        node.resize_inputs(3)
        stem = f"{node.outputs[0].name}_bias"
        bias = add_constant(graph_of(node), correction.astype(np.float32), stem, names)
        node.replace_input_with(2, bias)
        return
    total = old.astype(np.float64) + correction / beta
    set_constant(node, 2, total.astype(np.float32), names)


def _behind(node: ir.Node, correction: Vector, names: Names) -> None:
    output, graph = node.outputs[0], graph_of(node)
    stem = f"{output.name}_bias"
    constant = add_constant(graph, correction.astype(np.float32), stem, names)
    added = ir.node("Add", [output, constant], name=names.unique(f"{output.name}_corrected"))
    added.outputs[0].name = names.unique(f"{output.name}_corrected_output")
    added.outputs[0].type, added.outputs[0].shape = output.type, output.shape
    output.replace_all_uses_with(added.outputs[0])
    added.replace_input_with(0, output)
    graph.insert_after(node, added)
