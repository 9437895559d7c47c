"""`fuse_input_affine`: fold an affine map in front of a convolution into its weights and bias.

    W (s x + t) + b  =  (W s) x + (W t + b)            without padding
    W (s x + t) + b  =  (W s) (x + t / s) + b          with zeros around it: the offset stays

s and t per input channel, from Mul, Div, Add and Sub by constants. What an exporter writes behind
an activation (PP-LCNet's learnable affine blocks, say) is an operator of its own otherwise, and on
a target that computes in integers a rounding of its own. Zero padding stands for zeros of
`s x + t`, so an offset cannot move past it; a scale can.
"""

from __future__ import annotations

import functools
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.fuse.affine import ARITHMETIC, Affine, Floats, affine_of
from edgecompile.passes.graph.edit import (
    Array,
    add_constant,
    bypass,
    constant_at,
    graphs,
    input_at,
    int_attribute,
    ints_attribute,
    is_onnx,
    only_consumer,
    remove_unread,
    replace_node,
    rewritten,
    string_attribute,
)

SMALLEST = 1e-3
"""An offset is not divided by a scale below this share of the largest one."""


class FuseInputAffine(Pass):
    """Fold Mul, Div, Add or Sub by constants into the Conv behind."""

    id: ClassVar[str] = "fuse_input_affine"

    def run(self, model: Model, context: Context) -> Outcome:
        """For convolutions with constant weights of their own that alone read the result."""
        book = NoteBook()
        return rewritten(model, functools.partial(_fuse, book=book), book.notes)


def _fuse(graph: ir.Model, book: NoteBook) -> None:
    for part in graphs(graph):
        for layer in list(part):
            if is_onnx(layer, "Conv"):
                while _absorb(layer, book):
                    pass


def _absorb(layer: ir.Node, book: NoteBook) -> bool:
    """Fold the node in front of `layer`; whether there was one and it could."""
    node, weight = _before(layer), constant_at(layer, 1)
    if node is None:
        return False
    problem: str | None = "its weights are no constant floats of its own"
    if weight is not None and weight.dtype.kind == "f" and _own(layer):
        source = _computed(node)
        channels = int(weight.shape[1]) * int_attribute(layer, "group", 1)
        found = affine_of(node, source, channels, weight.ndim)
        problem = found if isinstance(found, str) else _fold(layer, node, weight, found)
    if problem:
        book.fail(problem, node.name, op_type=node.op_type)
    return problem is None


def _before(layer: ir.Node) -> ir.Node | None:
    """The Mul, Div, Add or Sub by a constant that makes the input of `layer`, and nothing else."""
    value = layer.inputs[0]
    node = None if value is None else value.producer()
    if value is None or node is None or node.graph is not layer.graph:
        return None
    if only_consumer(value) is not layer or not is_onnx(node, *ARITHMETIC):
        return None
    constants = [constant_at(node, index) is not None for index in (0, 1)]
    return node if constants.count(True) == 1 else None


def _computed(node: ir.Node) -> ir.Value:
    value = node.inputs[1 if constant_at(node, 0) is not None else 0]
    assert value is not None, "ONNX requires both operands"
    return value


def _own(layer: ir.Node) -> bool:
    """Whether nobody else reads the weights, and the bias is a constant or absent."""
    weight, bias = layer.inputs[1], input_at(layer, 2)
    alone = weight is not None and len(weight.uses()) == 1 and not weight.is_graph_output()
    return alone and (bias is None or constant_at(layer, 2) is not None)


def _fold(layer: ir.Node, node: ir.Node, weight: Array, affine: Affine) -> str | None:
    """Give `layer` what `node` does; the reason where it stays."""
    source = _computed(node)
    if np.any(affine.offset) and _padded(layer):
        if np.all(affine.scale == 1):
            return _swap(layer, node, affine.offset)
        return "the layer pads with zeros, which an offset cannot move past"
    wide = weight.astype(np.float64)
    bias = constant_at(layer, 2)
    old = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    scaled = _times(layer, wide, affine.scale)
    shifted = old + _times(layer, wide, affine.offset).reshape(len(weight), -1).sum(axis=1)
    return _written(layer, node, source, scaled, shifted if np.any(affine.offset) else None)


def _written(
    layer: ir.Node, node: ir.Node, source: ir.Value, weight: Floats, bias: Floats | None
) -> str | None:
    old = constant_at(layer, 1)
    assert old is not None, "checked before"
    arrays = {1: weight.astype(old.dtype)}
    if bias is not None:
        arrays[2] = bias.astype(old.dtype)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        return f"the new weights would overflow {old.dtype}"
    for index, array in arrays.items():
        _set(layer, index, array)
    return None if bypass(node, source) else "a graph output has its name"


def _swap(layer: ir.Node, node: ir.Node, offset: Floats) -> str | None:
    """Take the scale in front of `node`, an offset, past it: s x + t = s (x + t / s)."""
    scaler = _computed(node).producer()
    source = None if scaler is None else _scaled(scaler, node)
    if scaler is None or source is None:
        return "the layer pads with zeros, which an offset cannot move past"
    weight = constant_at(layer, 1)
    assert weight is not None, "checked before"
    found = affine_of(scaler, source, len(offset), weight.ndim)
    if isinstance(found, str) or np.any(found.offset):
        return "no scale stands in front of the offset"
    reach = np.abs(found.scale)
    if reach.min() < SMALLEST * reach.max() or not reach.max():
        return "a scale in front of it is zero, or nearly"
    graph, shape = layer.graph, (1, -1, *(1,) * (weight.ndim - 2))
    assert isinstance(graph, ir.Graph), "as `_before` found"
    values = (offset / found.scale).astype(weight.dtype)
    constant = add_constant(graph, values.reshape(shape), f"{node.outputs[0].name}_offset")
    replace_node(node, ir.Node("", "Add", [source, constant], name=node.name))
    graph.remove(scaler, safe=True)
    _set(layer, 1, _times(layer, weight.astype(np.float64), found.scale).astype(weight.dtype))
    return None


def _scaled(scaler: ir.Node, node: ir.Node) -> ir.Value | None:
    """The input of `scaler`, when it is a product with a constant that only `node` reads."""
    if not is_onnx(scaler, "Mul", "Div") or only_consumer(scaler.outputs[0]) is not node:
        return None
    constants = [constant_at(scaler, index) is not None for index in (0, 1)]
    if scaler.graph is not node.graph or constants.count(True) != 1:
        return None
    return _computed(scaler)


def _times(layer: ir.Node, weight: Floats, factors: Floats) -> Floats:
    """`weight`, [M, C/G, kernel], times one factor per input channel, [C]."""
    groups = int_attribute(layer, "group", 1)
    whole = weight.reshape(groups, -1, weight.shape[1], *weight.shape[2:])
    shape = (groups, 1, weight.shape[1], *(1,) * (weight.ndim - 2))
    product: Floats = (whole * factors.reshape(shape)).reshape(weight.shape)
    return product


def _padded(layer: ir.Node) -> bool:
    if string_attribute(layer, "auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return True
    return any(ints_attribute(layer, "pads", ()))


def _set(layer: ir.Node, index: int, array: Array) -> None:
    graph = layer.graph
    assert isinstance(graph, ir.Graph), "as `_before` found"
    old = input_at(layer, index)
    if index >= len(layer.inputs):
        layer.resize_inputs(index + 1)
    stem = f"{layer.outputs[0].name}_{'weight' if index == 1 else 'bias'}"
    layer.replace_input_with(index, add_constant(graph, array, stem))
    remove_unread(graph, old)
