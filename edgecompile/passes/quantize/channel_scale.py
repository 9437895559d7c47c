"""Scales of channels that move between a linear layer's weights and what makes its input.

With x the input of a layer and W its weights, W x = (W diag(s)) (diag(1/s) x): the layer takes s
into its weights, and whatever makes x divides by it. Both `smooth_quant` and `equalize` do that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.ir.names import Names
from edgecompile.passes.graph.edit import (
    add_constant,
    constant_at,
    float_attribute,
    graph_of,
    input_at,
    int_attribute,
    is_onnx,
    only_consumer,
    remove_unread,
)
from edgecompile.passes.quantize.affine import FloatArray

Numbers = npt.NDArray[Any]
Scales = npt.NDArray[np.float64]
"""One positive factor per channel, [C]."""

PASSING = frozenset({"Relu", "LeakyRelu", "PRelu", "Identity"})
"""f(s x) = s f(x) for s > 0, whatever the axis. PRelu keeps its slopes: they are factors of x."""
POOLING = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
"""The same per channel of axis 1."""
LAYERS = ("Conv", "MatMul", "Gemm")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A Conv, MatMul or Gemm that multiplies its input 0 with constant weights of its own."""

    node: ir.Node
    weights: FloatArray

    @property
    def channel_axis(self) -> int:
        """Axis of the channels of its input and its output: 1 for Conv, else the last."""
        return 1 if self.node.op_type == "Conv" else -1

    @property
    def channels(self) -> int:
        """How many channels its input has."""
        if self.node.op_type == "Conv":
            return int(self.weights.shape[1]) * self.groups
        return int(self.weights.shape[int(self._flipped)])

    @property
    def outputs(self) -> int:
        """How many channels its output has."""
        if self.node.op_type == "Conv":
            return int(self.weights.shape[0])
        return int(self.weights.shape[1 - int(self._flipped)])

    @property
    def groups(self) -> int:
        """Groups of a Conv; 1 for the others."""
        return int_attribute(self.node, "group", 1) if self.node.op_type == "Conv" else 1

    @property
    def _flipped(self) -> bool:
        return self.node.op_type == "Gemm" and bool(int_attribute(self.node, "transB", 0))

    def by_input(self, weights: Numbers) -> Numbers:
        """`weights` as [G, M/G, C/G, kernel]: output channels before input channels."""
        if self.node.op_type != "Conv":
            return (weights if self._flipped else weights.T)[None, :, :, None]
        groups = self.groups
        return weights.reshape(groups, weights.shape[0] // groups, weights.shape[1], -1)

    def input_reach(self) -> Scales:
        """Largest weight of each input channel, [C]."""
        reach = np.abs(self.by_input(self.weights)).max(axis=(1, 3))
        return np.asarray(reach.reshape(-1), np.float64)

    def output_reach(self) -> Scales:
        """Largest weight of each output channel, [M]."""
        reach = np.abs(self.by_input(self.weights)).max(axis=(2, 3))
        return np.asarray(reach.reshape(-1), np.float64)

    def times_input(self, scales: Scales) -> Scales:
        """The weights for an input that is divided by `scales`, [C]."""
        weights = self.weights.astype(np.float64)
        if self.node.op_type != "Conv":
            return weights * (scales[None, :] if self._flipped else scales[:, None])
        whole = self.by_input(weights) * scales.reshape(self.groups, 1, -1, 1)
        return whole.reshape(weights.shape)

    def times_output(self, scales: Scales) -> Scales:
        """The weights that make outputs `scales`, [M], times as large."""
        weights = self.weights.astype(np.float64)
        if self.node.op_type == "Conv" or self._flipped:
            return weights * scales.reshape(-1, *(1,) * (weights.ndim - 1))
        return weights * scales


def layer_of(node: ir.Node | None) -> Layer | None:
    """`node` as a `Layer`; None when it is none, or shares its weights with another node."""
    if node is None or not is_onnx(node, *LAYERS) or int_attribute(node, "transA", 0):
        return None
    weights, value = constant_at(node, 1), input_at(node, 1)
    if weights is None or value is None or weights.dtype != np.float32:
        return None
    if len(value.uses()) != 1 or constant_at(node, 0) is not None:
        return None
    plain = weights.ndim > 2 if node.op_type == "Conv" else weights.ndim == 2
    return Layer(node=node, weights=weights.astype(np.float32)) if plain else None


@dataclass
class Division:
    """What must change so that a tensor comes out divided by a scale per channel."""

    end: str = ""
    """The operator that takes the scale in for good; empty while there is none."""
    layer: Layer | None = None
    """That operator, when it is a linear layer."""
    edits: list[Callable[[Scales, Names], None]] = field(default_factory=list)

    def apply(self, scales: Scales, names: Names) -> None:
        """Make the changes."""
        for edit in self.edits:
            edit(scales, names)


def division(
    value: ir.Value, users: Collection[ir.Node], axis: int, channels: int
) -> Division | str:
    """How to divide `value` per channel of `axis` (1 or -1), or why there is no way.

    `users` are the nodes that will make up for it; nobody else may read the tensor.
    """
    found = Division()
    if value.is_graph_output() or {use.node for use in value.uses()} - set(users):
        return "others read the tensor too"
    while not found.end:
        node = value.producer()
        if node is None or node.graph is None:
            return "a graph input cannot be scaled"
        reason = _step(found, node, axis, channels)
        if reason:
            return reason
        if not found.end:
            value = _source(node)
            if only_consumer(value) is not node:
                return f"others read the input of {node.op_type} '{node.name}' too"
    return found


def _source(node: ir.Node) -> ir.Value:
    """The computed input of a node that `_step` lets the scale pass through."""
    for index in (0, 1):
        value = input_at(node, index)
        if value is not None and constant_at(node, index) is None:
            return value
    raise ValueError(f"node '{node.name}' computes a constant")


def _step(found: Division, node: ir.Node, axis: int, channels: int) -> str:
    """Let `node` divide, or pass the scale on to what is before it; else why it cannot."""
    if is_onnx(node, *PASSING) or (axis == 1 and is_onnx(node, *POOLING)):
        return "" if constant_at(node, 0) is None else "its input is constant"
    if is_onnx(node, "Mul", "Add"):
        return _arithmetic(found, node, axis, channels)
    if is_onnx(node, "LayerNormalization") and axis == -1:
        return _normalization(found, node, channels)
    layer = layer_of(node)
    if layer is None or layer.channel_axis != axis:
        return f"{node.op_type} '{node.name}' cannot take the scale"
    return _layer(found, layer, channels)


def _arithmetic(found: Division, node: ir.Node, axis: int, channels: int) -> str:
    index = 0 if constant_at(node, 0) is not None else 1
    constant, other = constant_at(node, index), input_at(node, 1 - index)
    if constant is None or other is None or constant_at(node, 1 - index) is not None:
        return f"{node.op_type} '{node.name}' joins two computed tensors"
    rank = None if other.shape is None else len(other.shape)
    shape = _channel_shape(constant, axis, channels, rank)
    producer = other.producer()
    if shape is None or constant.dtype != np.float32:
        return f"the constant of {node.op_type} '{node.name}' varies over other axes"
    if node.op_type == "Mul" and producer is not None and producer.op_type == "Mul":
        return f"Mul '{node.name}' may be part of an activation that the runtime fuses"
    widened = np.broadcast_to(constant.reshape(-1), (channels,)).astype(np.float64).reshape(shape)

    def edit(scales: Scales, names: Names) -> None:
        _set(node, index, widened / scales.reshape(shape), names)

    found.edits.append(edit)
    found.end = "Mul" if node.op_type == "Mul" else ""
    return ""


def _channel_shape(
    constant: Numbers, axis: int, channels: int, rank: int | None
) -> tuple[int, ...] | None:
    """Shape in which a constant varies per channel; None when it varies over other axes too."""
    if rank is None or constant.ndim > rank or constant.size not in (1, channels):
        return None
    wanted = tuple(channels if i == axis % rank else 1 for i in range(rank))
    whole = (1,) * (rank - constant.ndim) + constant.shape
    return wanted if constant.size == 1 or whole == wanted else None


def _normalization(found: Division, node: ir.Node, channels: int) -> str:
    arrays = {i: constant_at(node, i) for i in (1, 2) if input_at(node, i) is not None}
    if any(a is None or a.shape != (channels,) or a.dtype != np.float32 for a in arrays.values()):
        return f"the scale of LayerNormalization '{node.name}' is not one constant per channel"
    if any(out.uses() for out in node.outputs[1:]):
        return f"others read the statistics of LayerNormalization '{node.name}'"

    def edit(scales: Scales, names: Names) -> None:
        for index, array in arrays.items():
            if array is not None:
                _set(node, index, array.astype(np.float64) / scales, names)

    found.edits.append(edit)
    found.end = "LayerNormalization"
    return ""


def _layer(found: Division, layer: Layer, channels: int) -> str:
    node = layer.node
    bias = constant_at(node, 2)
    if layer.outputs != channels:
        return f"{node.op_type} '{node.name}' has other channels"
    if input_at(node, 2) is not None and (bias is None or bias.size not in (1, channels)):
        return f"the bias of {node.op_type} '{node.name}' is not one constant per channel"
    if float_attribute(node, "beta", 1.0) == 0.0:
        bias = None

    def edit(scales: Scales, names: Names) -> None:
        whole = Layer(node=node, weights=np.asarray(constant_at(node, 1), np.float32))
        _set(node, 1, whole.times_output(1 / scales), names)
        if bias is not None:
            _set(node, 2, bias.astype(np.float64).reshape(-1) / scales, names)

    found.edits.append(edit)
    found.end, found.layer = node.op_type, layer
    return ""


def _set(node: ir.Node, index: int, array: Numbers, names: Names) -> None:
    set_constant(node, index, array.astype(np.float32), names)


def set_constant(node: ir.Node, index: int, array: Numbers, names: Names) -> None:
    """Give input `index` a constant of its own, and drop the old one when nobody else reads it."""
    old, graph = node.inputs[index], graph_of(node)
    stem = (old.name if old is not None else "") or f"{node.outputs[0].name}_{index}"
    stem = stem.removesuffix("_scaled")
    node.replace_input_with(index, add_constant(graph, array, f"{stem}_scaled", names))
    remove_unread(graph, old)


def scale_inputs(layer: Layer, scales: Scales, names: Names) -> None:
    """Let `layer` make up for an input that is divided by `scales`."""
    current = Layer(node=layer.node, weights=np.asarray(constant_at(layer.node, 1), np.float32))
    _set(layer.node, 1, current.times_input(scales), names)
