"""Biases in INT32, whose scale is that of the input times that of the weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.ir.names import Names
from edgecompile.passes.graph.edit import graph_of, input_at
from edgecompile.passes.quantize.affine import FloatArray, IntArray
from edgecompile.passes.quantize.channel_scale import set_constant

BIAS = 2
LARGEST = 2**31 - 1


def takes_shift(node: ir.Node) -> bool:
    """Whether `node` has a bias of constant integers in INT32."""
    return _stored(node) is not None


def shift_bias(node: ir.Node, shift: npt.NDArray[np.float64], names: Names) -> None:
    """Add `shift`, [M], to the integer bias of `node`, rounded to its scale."""
    stored = _stored(node)
    assert stored is not None, "the caller has asked"
    source, integers, scale = stored
    steps = integers + np.rint(shift / scale.astype(np.float64))
    set_constant(source, 0, np.clip(steps, -LARGEST, LARGEST).astype(np.int32), names)


def _stored(node: ir.Node) -> tuple[ir.Node, IntArray, FloatArray] | None:
    """The DequantizeLinear of the integer bias of `node`, its integers and its scale."""
    value = input_at(node, BIAS)
    source = None if value is None else value.producer()
    if source is None or source.op_type != "DequantizeLinear":
        return None
    integers, scale = constant_array(source.inputs[0]), constant_array(source.inputs[1])
    if integers is None or scale is None or integers.dtype != np.int32:
        return None
    return source, integers, scale.astype(np.float32)


def rescale_bias(node: ir.Node, factors: FloatArray) -> None:
    """Let the integer bias of `node` follow weights whose scales grew by `factors`, [M].

    A bias in float stays: it has no scale.
    """
    stored = _stored(node)
    if stored is None:
        return
    source, integers, scale = stored
    grown = factors if scale.size > 1 else factors[:1].reshape(scale.shape)
    wide = scale.astype(np.float64) * grown
    steps = np.rint(integers * (scale.astype(np.float64) / wide))
    names = Names(graph_of(node))
    set_constant(source, 0, np.clip(steps, -LARGEST, LARGEST).astype(np.int32), names)
    set_constant(source, 1, wide.astype(np.float32), names)
