"""What an elementwise node after a layer does to each output channel: `y = scale * x + offset`.

BatchNormalization at inference (ONNX specification; Ioffe and Szegedy, arXiv:1502.03167):

    y = gamma * (x - mean) / sqrt(var + epsilon) + beta
    scale  = gamma / sqrt(var + epsilon)
    offset = beta - mean * scale

Add, Sub, Mul and Div by a constant that varies over the channel axis only are the other cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.passes.graph.edit import (
    constant_at,
    float_attribute,
    int_attribute,
    is_onnx,
)

Floats = npt.NDArray[np.float64]

ARITHMETIC = ("Add", "Sub", "Mul", "Div")


@dataclass(frozen=True, kw_only=True)
class Affine:
    """`y = scale * x + offset` per channel; both are float64 of shape `[C]`."""

    scale: Floats
    offset: Floats


def affine_of(node: ir.Node, source: ir.Value, channels: int, rank: int) -> Affine | str:
    """The affine map that `node` applies to `source` along axis 1, or why there is none."""
    if is_onnx(node, "BatchNormalization"):
        return _batch_normalization(node, source, channels)
    if is_onnx(node, *ARITHMETIC):
        return _arithmetic(node, source, channels, rank)
    return f"{node.op_type} is no affine map"


def _batch_normalization(node: ir.Node, source: ir.Value, channels: int) -> Affine | str:
    if node.inputs[0] is not source:
        return "the layer feeds a parameter of the normalization"
    if int_attribute(node, "training_mode", 0) or any(out.uses() for out in node.outputs[1:]):
        return "the normalization is in training mode"
    if int_attribute(node, "spatial", 1) != 1:
        return "the normalization is not per channel (spatial=0)"
    arrays = [constant_at(node, index) for index in range(1, 5)]
    if any(array is None or array.shape != (channels,) for array in arrays):
        return "a parameter of the normalization is not a constant of one value per channel"
    gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + float_attribute(node, "epsilon", 1e-5))
        return _finite(scale, beta - mean * scale)


def _arithmetic(node: ir.Node, source: ir.Value, channels: int, rank: int) -> Affine | str:
    index = next(i for i, value in enumerate(node.inputs) if value is source)
    other = constant_at(node, 1 - index)
    if other is None or node.inputs[1 - index] is source:
        return "the other operand is not constant"
    if other.dtype.kind != "f":
        return "the other operand is not of a floating type that numpy knows"
    values = _per_channel(other, channels, rank)
    if values is None:
        return f"the other operand of shape {list(other.shape)} does not vary by channel only"
    one, zero = np.ones(channels), np.zeros(channels)
    with np.errstate(all="ignore"):
        match node.op_type, index:
            case "Add", _:
                return _finite(one, values)
            case "Mul", _:
                return _finite(values, zero)
            case "Sub", 0:
                return _finite(one, -values)
            case "Sub", 1:
                return _finite(-one, values)
            case "Div", 0:
                return _finite(1 / values, zero)
    return "the layer is the divisor"


def _per_channel(array: npt.NDArray[np.generic], channels: int, rank: int) -> Floats | None:
    """`array` as `[C]` when it broadcasts along axis 1 of a tensor of `rank` axes only."""
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(dim != 1 for axis, dim in enumerate(shape) if axis != 1) or shape[1] not in (
        1,
        channels,
    ):
        return None
    return np.broadcast_to(np.asarray(array, np.float64).reshape(-1), (channels,)).copy()


def _finite(scale: Floats, offset: Floats) -> Affine | str:
    if not (np.isfinite(scale).all() and np.isfinite(offset).all()):
        return "it would make weights that are not finite"
    return Affine(scale=scale, offset=offset)
