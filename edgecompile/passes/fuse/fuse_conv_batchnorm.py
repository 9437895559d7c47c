"""`fuse_conv_batchnorm`: fold an affine map after a layer into the layer's weights and bias.

    s * (W x + b) + t  =  (s W) x + (s b + t)          s, t per output channel

For Conv, ConvTranspose and Gemm. `affine` reads s and t from BatchNormalization and from Add, Sub,
Mul and Div by constants. The products are made in float64 and rounded once.
"""

from __future__ import annotations

import functools
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.fuse.affine import ARITHMETIC, Affine, affine_of
from edgecompile.passes.graph.edit import (
    Array,
    add_constant,
    bypass,
    constant_at,
    float_attribute,
    graph_of,
    graphs,
    input_at,
    int_attribute,
    is_onnx,
    only_consumer,
    prune,
    rewritten,
)

LAYERS = ("Conv", "ConvTranspose", "Gemm")


class FuseConvBatchnorm(Pass):
    """Fold BatchNormalization, and Mul, Add, Sub or Div by constants, into the layer before."""

    id: ClassVar[str] = "fuse_conv_batchnorm"

    def run(self, model: Model, context: Context) -> Outcome:
        """Layers are Conv, ConvTranspose and Gemm with constant weights of their own."""
        book = NoteBook()
        return rewritten(model, functools.partial(_fuse, book=book), book.notes)


def _fuse(graph: ir.Model, book: NoteBook) -> None:
    for part in graphs(graph):
        for layer in list(part):
            if is_onnx(layer, *LAYERS):
                while (node := _follower(layer)) is not None and _absorb(layer, node, book):
                    pass


def _follower(layer: ir.Node) -> ir.Node | None:
    """The only user of the layer's result, when it may be an affine map."""
    node = only_consumer(layer.outputs[0])
    if node is None or node.graph is not layer.graph:
        return None
    return node if is_onnx(node, "BatchNormalization", *ARITHMETIC) else None


def _absorb(layer: ir.Node, node: ir.Node, book: NoteBook) -> bool:
    weight = constant_at(layer, 1)
    channels = None if weight is None else _channels(layer, weight)
    affine: Affine | str
    if weight is None or channels is None:
        affine = f"the weights of {layer.op_type} '{layer.name}' are not constant floats"
    elif (shared := _sharer(layer)) is not None:
        affine = f"the weights of {layer.op_type} '{layer.name}' also serve '{shared.name}'"
    else:
        affine = affine_of(node, layer.outputs[0], channels, _rank(layer, weight))
    if isinstance(affine, Affine) and weight is not None and channels is not None:
        affine = _apply(layer, weight, channels, affine)
    if isinstance(affine, str):
        if not _two_computed(node):
            book.fail(affine, node.name, op_type=node.op_type)
        return False
    return bypass(node, layer.outputs[0])


def _two_computed(node: ir.Node) -> bool:
    """A sum or product of two computed values: nobody expects that to be folded."""
    return is_onnx(node, *ARITHMETIC) and all(constant_at(node, i) is None for i in (0, 1))


def _sharer(layer: ir.Node) -> ir.Node | None:
    """Another node that reads the layer's weights."""
    value = layer.inputs[1]
    others = [] if value is None else [u.node for u in value.uses() if u.node is not layer]
    return others[0] if others else None


def _channels(layer: ir.Node, weight: Array) -> int | None:
    if weight.dtype.kind != "f":
        return None
    if layer.op_type == "Conv":
        return int(weight.shape[0])
    if layer.op_type == "ConvTranspose":
        return int(weight.shape[1]) * int_attribute(layer, "group", 1)
    return int(weight.shape[0 if int_attribute(layer, "transB", 0) else 1])


def _rank(layer: ir.Node, weight: Array) -> int:
    return 2 if layer.op_type == "Gemm" else weight.ndim


def _apply(layer: ir.Node, weight: Array, channels: int, affine: Affine) -> str | Affine:
    """Write the new weights and bias; the reason where they cannot be made."""
    given = input_at(layer, 2)
    bias = constant_at(layer, 2)
    if given is not None and bias is None:
        return f"the bias of {layer.op_type} '{layer.name}' is computed"
    old = np.zeros(channels) if bias is None else np.asarray(bias, np.float64)
    if layer.op_type == "Gemm":
        old = old * float_attribute(layer, "beta", 1.0)
        if old.ndim == 2 and old.shape[0] != 1:
            return f"the bias of Gemm '{layer.name}' varies by row"
        old = old.reshape(-1)
    with np.errstate(all="ignore"):
        scaled = (np.asarray(weight, np.float64) * _along(layer, weight, affine.scale)).astype(
            weight.dtype
        )
        shifted = (old * affine.scale + affine.offset).astype(weight.dtype)
    if not (np.isfinite(scaled).all() and np.isfinite(shifted).all()):
        return f"the new weights would overflow {weight.dtype}"
    _write(layer, 1, scaled, f"{layer.outputs[0].name}_weight")
    _write(layer, 2, shifted, f"{layer.outputs[0].name}_bias")
    layer.attributes.pop("beta", None)
    return affine


def _along(
    layer: ir.Node, weight: Array, scale: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """`scale` of shape `[C]`, shaped to multiply the weights' output channels."""
    if layer.op_type == "Conv":
        return scale.reshape(-1, *(1,) * (weight.ndim - 1))
    if layer.op_type == "Gemm":
        return scale.reshape(-1, 1) if int_attribute(layer, "transB", 0) else scale.reshape(1, -1)
    # ConvTranspose weights are [C_in, M/group, ...]: rows of one group share its M/group scales
    group = int_attribute(layer, "group", 1)
    rows = np.repeat(scale.reshape(group, -1), weight.shape[0] // group, axis=0)
    return rows.reshape(*rows.shape, *(1,) * (weight.ndim - 2))


def _write(layer: ir.Node, index: int, array: Array, stem: str) -> None:
    """Give input `index` its new constant; an initializer that nobody else reads keeps its name."""
    value = input_at(layer, index)
    alone = value is not None and value.is_initializer() and len(value.uses()) == 1
    graph = graph_of(layer)
    if value is not None and alone and value.graph is graph and not value.is_graph_output():
        value.const_value = ir.Tensor(array, name=value.name)
        value.shape = ir.Shape(array.shape)
        return
    producer = None if value is None else value.producer()
    if index >= len(layer.inputs):
        layer.resize_inputs(index + 1)
    layer.replace_input_with(index, add_constant(graph, array, stem))
    if producer is not None:
        prune(producer)
