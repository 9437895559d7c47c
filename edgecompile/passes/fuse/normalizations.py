"""Recognising normalizations in arithmetic; the equation heads `fuse_normalization`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.passes.fuse.terms import close, made_by, other_input, scalar
from edgecompile.passes.graph.edit import (
    Array,
    constant_at,
    input_at,
    int_attribute,
    ints_attribute,
    is_onnx,
    only_consumer,
)


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """`scale * normalize(source, axes, epsilon) + bias`."""

    source: ir.Value
    axes: tuple[int, ...]
    epsilon: float
    steps: tuple[ir.Node, ...]
    """The node that divides, then those that apply scale and bias, as far as there are any."""
    scale: Array | None = None
    bias: Array | None = None

    @property
    def root(self) -> ir.Node:
        """The node that makes the result."""
        return self.steps[-1]

    @property
    def shape(self) -> ir.Shape:
        """Shape of the source; its rank is always known."""
        assert self.source.shape is not None
        return self.source.shape

    @property
    def dtype(self) -> npt.DTypeLike:
        """Element type of the source."""
        return np.float32 if self.source.dtype is None else self.source.dtype.numpy()

    def prefixes(self) -> list[Normalization]:
        """This one, the same without its bias, and without scale and bias."""
        found = [self]
        if self.bias is not None:
            found.append(dataclasses.replace(self, steps=self.steps[:2], bias=None))
        if self.scale is not None:
            found.append(dataclasses.replace(self, steps=self.steps[:1], scale=None, bias=None))
        return found


def recognise(node: ir.Node) -> Normalization | None:
    """The normalization whose division by the standard deviation is `node`."""
    for deviation, inverse in _quotients(node):
        centred = _centred(deviation)
        variance = _under_root(inverse)
        if centred is None or variance is None:
            continue
        source, axes = centred
        value, epsilon = variance
        again = _mean_of_squares(value)
        if again is None or again != (source, axes):
            continue
        plain = Normalization(source=source, axes=axes, epsilon=epsilon, steps=(node,))
        return _with_affine(plain)
    return None


def _quotients(node: ir.Node) -> list[tuple[ir.Value, ir.Node]]:
    """(d, s) where `node` is d / s, with s made by a Sqrt, or by a Pow to -1/2."""
    left, right = node.inputs[0], node.inputs[1]
    if left is None or right is None:
        return []
    if is_onnx(node, "Div"):
        root = made_by(right, "Sqrt")
        return [] if root is None else [(left, root)]
    pairs = []
    for deviation, inverse in ((left, right), (right, left)):
        reciprocal = made_by(inverse, "Reciprocal")
        if reciprocal is None and (quotient := made_by(inverse, "Div")) is not None:
            reciprocal = quotient if close(scalar(quotient.inputs[0]), 1) else None
        if reciprocal is not None:
            root = made_by(reciprocal.inputs[-1], "Sqrt")
        else:
            root = made_by(inverse, "Pow")
            root = root if root is not None and close(scalar(root.inputs[1]), -0.5) else None
        if root is not None:
            pairs.append((deviation, root))
    return pairs


def _under_root(node: ir.Node) -> tuple[ir.Value, float] | None:
    """The variance and epsilon in `sqrt(variance + epsilon)`."""
    total = made_by(node.inputs[0], "Add")
    if total is None:
        return None
    for index in (0, 1):
        epsilon, variance = scalar(total.inputs[index]), total.inputs[1 - index]
        if epsilon is not None and variance is not None:
            return variance, epsilon
    return None


def _mean(value: ir.Value | None) -> tuple[ir.Value, tuple[int, ...]] | None:
    """(x, axes) where `value` is the mean of x over axes that are kept."""
    node = made_by(value, "ReduceMean")
    if node is None or not int_attribute(node, "keepdims", 1):
        return None
    source = node.inputs[0]
    axes = constant_at(node, 1) if input_at(node, 1) else ints_attribute(node, "axes", ())
    if source is None or source.shape is None or axes is None or not len(axes):
        return None
    rank = len(source.shape)
    return source, tuple(sorted(int(axis) % rank for axis in axes))


def _centred(value: ir.Value | None) -> tuple[ir.Value, tuple[int, ...]] | None:
    """(x, axes) where `value` is x minus its mean over axes."""
    node = made_by(value, "Sub")
    mean = None if node is None else _mean(node.inputs[1])
    if node is None or mean is None or node.inputs[0] is not mean[0]:
        return None
    return mean


def _mean_of_squares(value: ir.Value) -> tuple[ir.Value, tuple[int, ...]] | None:
    """(x, axes) where `value` is the variance of x over axes."""
    mean = _mean(value)
    square = None if mean is None else made_by(mean[0], "Mul", "Pow")
    if mean is None or square is None:
        return None
    if square.op_type == "Mul" and square.inputs[0] is not square.inputs[1]:
        return None
    if square.op_type == "Pow" and not close(scalar(square.inputs[1]), 2):
        return None
    centred = _centred(square.inputs[0])
    return centred if centred is not None and centred[1] == mean[1] else None


def _with_affine(plain: Normalization) -> Normalization:
    """Take in a Mul by a constant that follows, and an Add of a constant after that."""
    value = plain.root.outputs[0]
    scaled = only_consumer(value)
    scale = _operand(scaled, "Mul", value)
    if scaled is None or scale is None:
        return plain
    found = dataclasses.replace(plain, steps=(plain.root, scaled), scale=scale)
    shifted = only_consumer(scaled.outputs[0])
    bias = _operand(shifted, "Add", scaled.outputs[0])
    if shifted is None or bias is None:
        return found
    return dataclasses.replace(found, steps=(*found.steps, shifted), bias=bias)


def _operand(node: ir.Node | None, op_type: str, value: ir.Value) -> Array | None:
    if node is None or not is_onnx(node, op_type) or node.graph is not value.graph:
        return None
    return constant_array(other_input(node, value))
