"""`fuse_linear_bias`: a product and its bias as the one layer that they are.

    MatMul(x, W) + b  ->  Reshape(Gemm(Reshape(x, [N, K]), W, b), [..., M])

A fully connected layer adds its bias to the sums, before they are rounded to integers. Exporters
write MatMul and Add where x has more than two axes, and every operator of a target that computes in
integers from input to output rounds its result: the sum without its bias, and the one with it.
Reshapes move nothing. For fixed shapes.
"""

from __future__ import annotations

import functools
import math
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.graph.edit import (
    add_constant,
    constant_at,
    graph_of,
    graphs,
    is_onnx,
    only_consumer,
    replace_node,
    rewritten,
)


class FuseLinearBias(Pass):
    """Write MatMul by constant weights, and Add of a bias behind it, as Gemm."""

    id: ClassVar[str] = "fuse_linear_bias"

    def run(self, model: Model, context: Context) -> Outcome:
        """For inputs of fixed shape and two axes or more."""
        book = NoteBook()
        return rewritten(model, functools.partial(_fuse, book=book), book.notes)


def _fuse(graph: ir.Model, book: NoteBook) -> None:
    names = Names(graph.graph)
    for part in graphs(graph):
        for product in list(part):
            total = only_consumer(product.outputs[0]) if is_onnx(product, "MatMul") else None
            if total is None or not is_onnx(total, "Add") or total.graph is not part:
                continue
            problem = _write(part, product, total, names)
            if problem:
                book.fail(problem, product.name, op_type=product.op_type)


def _write(part: ir.Graph, product: ir.Node, total: ir.Node, names: Names) -> str | None:
    """Put the Gemm where `total` is; the reason where it cannot be made."""
    weight, source = constant_at(product, 1), product.inputs[0]
    side = 1 if total.inputs[0] is product.outputs[0] else 0
    bias = constant_at(total, side)
    if weight is None or bias is None or source is None or constant_at(product, 0) is not None:
        return None  # a product of two activations, or a sum of two: no linear layer
    if weight.ndim != 2 or bias.size not in (1, weight.shape[1]) or bias.shape[-1:] != (bias.size,):
        return "its weights or bias vary over more than one layer's axes"
    shape = None if source.shape is None else source.shape.dims
    if shape is None or len(shape) < 2 or not all(isinstance(dim, int) for dim in shape):
        return "the shape of its input is not fixed"
    if bias.ndim > len(shape):
        return "the bias adds axes"
    stem = total.outputs[0].name or "linear"
    vector = np.broadcast_to(bias.reshape(-1), (weight.shape[1],)).astype(weight.dtype)
    operands = [product.inputs[1], add_constant(part, vector, f"{stem}_bias", names)]
    fixed = [int(dim) for dim in shape if isinstance(dim, int)]
    if len(fixed) == 2:
        replace_node(total, ir.Node("", "Gemm", [source, *operands], name=product.name))
    else:
        rows = _rows(total, source, [math.prod(fixed[:-1]), fixed[-1]], stem, names)
        gemm = ir.Node("", "Gemm", [rows, *operands], name=product.name)
        gemm.outputs[0].name = names.unique(f"{stem}_gemm")
        gemm.outputs[0].type = source.type
        gemm.outputs[0].shape = ir.Shape([math.prod(fixed[:-1]), weight.shape[1]])
        part.insert_before(total, gemm)
        whole = _shape(part, [*fixed[:-1], weight.shape[1]], stem, names)
        replace_node(total, ir.Node("", "Reshape", [gemm.outputs[0], whole], name=total.name))
    part.remove(product, safe=True)
    return None


def _rows(total: ir.Node, source: ir.Value, shape: list[int], stem: str, names: Names) -> ir.Value:
    """`source` as a matrix, made in front of `total`."""
    part = graph_of(total)
    node = ir.Node("", "Reshape", [source, _shape(part, shape, f"{stem}_rows", names)])
    node.name = names.unique(f"{stem}_rows")
    node.outputs[0].name = node.name
    node.outputs[0].type, node.outputs[0].shape = source.type, ir.Shape(shape)
    part.insert_before(total, node)
    return node.outputs[0]


def _shape(part: ir.Graph, shape: list[int], stem: str, names: Names) -> ir.Value:
    return add_constant(part, np.array(shape, np.int64), f"{stem}_shape", names)
