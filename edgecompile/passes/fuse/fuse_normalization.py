"""`fuse_normalization`: write a spelled-out normalization as the one operator it is.

    d = x - mean(x);  y = d / sqrt(mean(d * d) + epsilon) * scale + bias

over the last axes it is LayerNormalization (opset 17; arXiv:1607.06450), over all spatial axes it
is InstanceNormalization (arXiv:1607.08022). The target gains one operator that stays whole and in
floating point: means and squares of a narrow range are what integers do worst. An RMS norm has no
mean to subtract and is left alone.
"""

from __future__ import annotations

import functools
import math
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.fuse.normalizations import Normalization, recognise
from edgecompile.passes.graph.edit import (
    Array,
    add_constant,
    graph_of,
    graphs,
    is_onnx,
    prune,
    replace_node,
    rewritten,
)

LAYER_NORMALIZATION_SINCE = 17


class FuseNormalization(Pass):
    """Write LayerNormalization and InstanceNormalization for the arithmetic that computes them."""

    id: ClassVar[str] = "fuse_normalization"
    facts: ClassVar[tuple[str, ...]] = ("opset",)

    def run(self, model: Model, context: Context) -> Outcome:
        """Needs constant scale and bias of the normalized axes, or of the channels."""
        book = NoteBook()
        highest = context.target.opset.max
        return rewritten(model, functools.partial(_fuse, highest=highest, book=book), book.notes)


def _fuse(graph: ir.Model, highest: int, book: NoteBook) -> None:
    opset = graph.opset_imports.get("", 0)
    for part in graphs(graph):
        for node in list(part):
            found = recognise(node) if node.graph is part and is_onnx(node, "Div", "Mul") else None
            if found is None:
                continue
            problem = _write(found, opset, highest)
            if problem:
                book.fail(problem, node.name, op_type=node.op_type)


def _write(found: Normalization, opset: int, highest: int) -> str | None:
    """Write the operator that fits; the reason of the likelier one where none does."""
    layer = functools.partial(_write_layer, opset=opset, highest=highest)
    # over all spatial axes of an image it is the other one, unless scale and bias say otherwise
    writers = (_write_instance, layer) if len(found.axes) > 1 else (layer, _write_instance)
    problems = []
    for candidate in found.prefixes():
        for write in writers:
            problem = write(candidate)
            if problem is None:
                return None
            problems.append(problem)
    return problems[0]


def _write_layer(found: Normalization, opset: int, highest: int) -> str | None:
    shape = found.shape
    first = len(shape) - len(found.axes)
    if found.axes != tuple(range(first, len(shape))):
        return "it does not normalize the last axes"
    if opset < LAYER_NORMALIZATION_SINCE:
        late = highest < LAYER_NORMALIZATION_SINCE
        ceiling = f", and the target takes {highest} at most" if late else ""
        return f"this is LayerNormalization, which needs opset 17; the model has {opset}{ceiling}"
    dims = [dim if isinstance(dim, int) else 0 for dim in shape[first:]]
    scale, bias = _fit(found.scale, dims), _fit(found.bias, dims)
    if found.scale is None and all(dims):
        scale = np.ones(dims, found.dtype)
    if scale is None or (found.bias is not None and bias is None):
        return "its scale and bias are not constants of the shape of the normalized axes"
    attributes = [
        ir.AttrInt64("axis", -len(found.axes)),
        ir.AttrFloat32("epsilon", found.epsilon),
    ]
    _replace(found, "LayerNormalization", [scale, bias], attributes)
    return None


def _write_instance(found: Normalization) -> str | None:
    shape = found.shape
    if len(shape) < 3 or found.axes != tuple(range(2, len(shape))):
        return f"it normalizes axes {list(found.axes)}: neither the last ones nor the spatial ones"
    channels = shape[1]
    if len(shape) == 3 and found.scale is None:
        return "of three axes the last one makes a LayerNormalization"
    if not isinstance(channels, int):
        return "its channel axis is dynamic"
    spread = [channels, *(1 for _ in found.axes)]
    scale = np.ones(spread, found.dtype) if found.scale is None else _fit(found.scale, spread)
    bias = np.zeros(spread, found.dtype) if found.bias is None else _fit(found.bias, spread)
    if scale is None or bias is None:
        return "its scale and bias are not constants of one value per channel"
    attributes = [ir.AttrFloat32("epsilon", found.epsilon)]
    parameters: list[Array | None] = [scale.reshape(-1), bias.reshape(-1)]
    _replace(found, "InstanceNormalization", parameters, attributes)
    return None


def _fit(array: Array | None, dims: list[int]) -> Array | None:
    """`array` in exactly the shape `dims`; None where it has other dimensions."""
    if array is None:
        return None
    shape = list(array.shape)
    while len(shape) > len(dims) and shape[0] == 1:
        shape.pop(0)
    if len(shape) > len(dims) or math.prod(dims) == 0:
        return None
    shape = [1] * (len(dims) - len(shape)) + shape
    if any(have not in (1, want) for have, want in zip(shape, dims, strict=True)):
        return None
    return np.ascontiguousarray(np.broadcast_to(array.reshape(shape), dims))


def _replace(
    found: Normalization, op: str, parameters: list[Array | None], attributes: list[ir.Attr]
) -> None:
    root = found.root
    graph = graph_of(root)
    stem = root.outputs[0].name
    inputs: list[ir.Value | None] = [found.source]
    for array, name in zip(parameters, ("scale", "bias"), strict=True):
        if array is not None:
            inputs.append(add_constant(graph, array, f"{stem}_{name}"))
    new = ir.Node("", op, inputs, attributes, name=root.name)
    new.doc_string = root.doc_string
    new.metadata_props.update(root.metadata_props)
    before = [value.producer() for value in root.inputs if value is not None]
    replace_node(root, new)
    prune(*(node for node in before if node is not None))
