"""Write down shapes that a graph computes although they are known.

`Reshape(x, Concat(Shape(x)[0], 12, 32))` becomes `Reshape(x, [0, 12, 32])`: the chain of shape
arithmetic dies, dynamic axes stay dynamic. In a Reshape, 0 means "as in the input" and -1 "the
rest" (ONNX operator specification, Reshape).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.passes.graph.edit import (
    add_constant,
    constant_at,
    graph_of,
    graphs,
    int_attribute,
    is_onnx,
)


def settle_shapes(graph: ir.Model) -> bool:
    """Replace computed shapes by constants where inference knows them; whether any was."""
    changed = False
    for part in graphs(graph):
        for node in list(part):
            if is_onnx(node, "Reshape"):
                changed |= _settle_reshape(node)
            elif is_onnx(node, "Gather"):
                changed |= _settle_dimension(node)
    return changed


def _settle_reshape(node: ir.Node) -> bool:
    data, target, made = node.inputs[0], node.inputs[1], node.outputs[0].shape
    if data is None or target is None or constant_array(target) is not None or made is None:
        return False
    if int_attribute(node, "allowzero", 0) or any(dim == 0 for dim in made):
        return False
    wanted = _literal(made, data.shape)
    if wanted is None:
        return False
    shape = add_constant(
        graph_of(node), np.array(wanted, np.int64), f"{node.outputs[0].name}_shape"
    )
    node.replace_input_with(1, shape)
    return True


def _literal(made: ir.Shape, given: ir.Shape | None) -> list[int] | None:
    """Dimensions for a Reshape constant; None when more than one cannot be expressed."""
    wanted: list[int] = []
    for axis, dim in enumerate(made):
        if isinstance(dim, int):
            wanted.append(dim)
        elif given is not None and axis < len(given) and _same(dim, given[axis]):
            wanted.append(0)
        else:
            wanted.append(-1)
    if wanted.count(-1) > 1:
        return None
    return wanted


def _same(left: int | ir.SymbolicDim, right: int | ir.SymbolicDim) -> bool:
    return (
        isinstance(left, ir.SymbolicDim)
        and isinstance(right, ir.SymbolicDim)
        and left.value is not None
        and left.value == right.value
    )


def _settle_dimension(node: ir.Node) -> bool:
    """`Gather(Shape(x), i)` with a fixed dimension i of x becomes that number."""
    source = node.inputs[0]
    producer = None if source is None else source.producer()
    index = constant_at(node, 1)
    if producer is None or index is None or not is_onnx(producer, "Shape"):
        return False
    data = producer.inputs[0]
    if data is None or data.shape is None or int_attribute(node, "axis", 0) != 0:
        return False
    start = int_attribute(producer, "start", 0)
    end = producer.attributes.get("end")
    dims = list(data.shape)[start : None if end is None else end.as_int()]
    picked = [dims[int(i)] for i in index.reshape(-1) if -len(dims) <= int(i) < len(dims)]
    numbers = [dim for dim in picked if isinstance(dim, int)]
    if len(numbers) != index.size:
        return False
    output, part = node.outputs[0], graph_of(node)
    if output.is_graph_output():
        return False
    value = add_constant(
        part, np.array(numbers, np.int64).reshape(index.shape), f"{output.name}_known"
    )
    output.replace_all_uses_with(value)
    part.remove(node, safe=True)
    return True
