"""Write down shapes that a graph computes although they are known.

`Reshape(x, Concat(Shape(x)[0], 12, 32))` becomes `Reshape(x, [0, 12, 32])`: the chain of shape
arithmetic dies, dynamic axes stay dynamic. In a Reshape, 0 means "as in the input" and -1 "the
rest" (ONNX operator specification, Reshape).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.ir.names import Names
from edgecompile.passes.graph.dimensions import READERS, Entries, Entry, dimensions
from edgecompile.passes.graph.edit import (
    add_constant,
    bypass,
    graph_of,
    graphs,
    int_attribute,
    is_onnx,
    only_consumer,
    prune,
)

SQUEEZE_AXES_AS_INPUT = 13
"""Opset since which a Squeeze reads its axes instead of having them as an attribute."""
_NUMBER_BY_NUMBER = frozenset(
    {"Abs", "Add", "Clip", "Div", "Exp", "Mul", "Neg", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"}
)


def settle_shapes(graph: ir.Model) -> bool:
    """Replace computed shapes by constants where they are known; whether any was."""
    changed, opset = False, graph.opset_imports.get("", 0)
    for part in graphs(graph):
        for node in list(part):
            if is_onnx(node, "Reshape"):
                changed |= _settle_reshape(node) or _settle_scalar(node, opset)
            elif is_onnx(node, "Squeeze"):
                changed |= _settle_squeeze(node, opset)
            elif is_onnx(node, "Range"):
                changed |= _settle_range(node)
            elif is_onnx(node, *READERS):
                changed |= _settle_numbers(node)
    return changed


def _settle_numbers(node: ir.Node) -> bool:
    """Shape arithmetic that comes out as plain numbers becomes a constant."""
    output = node.outputs[0]
    found = None if output.is_graph_output() or not output.uses() else dimensions(output)
    numbers = None if found is None else found.numbers()
    if found is None or numbers is None or output.dtype is None:
        return False
    array = np.array(numbers, output.dtype.numpy())
    part = graph_of(node)
    value = add_constant(part, array[0] if found.scalar else array, f"{output.name}_known")
    output.replace_all_uses_with(value)
    prune(node)
    return True


def _settle_range(node: ir.Node) -> bool:
    """Range takes scalars. A computed list of one passes at run time, a constant one does not."""
    changed = False
    for index, value in enumerate(node.inputs):
        array = constant_array(value)
        if value is not None and array is not None and array.ndim and array.size == 1:
            scalar = add_constant(graph_of(node), array.reshape(()), f"{value.name}_scalar")
            node.replace_input_with(index, scalar)
            changed = True
    return changed


def _settle_squeeze(node: ir.Node, opset: int) -> bool:
    """A Squeeze that names no axes leaves its rank open, which runtimes refuse; a scalar's is 0."""
    axes = "axes" in node.attributes or any(value is not None for value in node.inputs[1:])
    return not axes and _is_scalar(node.outputs[0]) and _squeeze_all(node, opset)


def _settle_scalar(node: ir.Node, opset: int) -> bool:
    """A Reshape to no axes is a Squeeze of all of them: OpenVINO 2026.4.1 crashes on the former."""
    shape = constant_array(node.inputs[1])
    return shape is not None and not shape.size and _squeeze_all(node, opset)


def _squeeze_all(node: ir.Node, opset: int) -> bool:
    """Let a Squeeze of all axes take the place of `node`; not where their number is unknown."""
    data, output, part = node.inputs[0], node.outputs[0], graph_of(node)
    if data is None or data.shape is None or not len(data.shape):
        return False
    axes = list(range(len(data.shape)))
    if opset >= SQUEEZE_AXES_AS_INPUT:
        constant = add_constant(part, np.array(axes, np.int64), f"{output.name}_axes")
        squeeze = ir.node("Squeeze", [data, constant], name=node.name)
    else:
        squeeze = ir.node("Squeeze", [data], {"axes": axes}, name=node.name)
    squeeze.outputs[0].name = Names(part).unique(f"{output.name}_scalar")
    squeeze.outputs[0].type, squeeze.outputs[0].shape = output.type, ir.Shape([])
    part.insert_before(node, squeeze)
    return bypass(node, squeeze.outputs[0])


def _is_scalar(value: ir.Value | None) -> bool:
    """Whether a declared output of no axes comes from `value` number by number."""
    while value is not None and not value.is_graph_output():
        reader = only_consumer(value)
        if reader is None or reader.op_type not in _NUMBER_BY_NUMBER:
            return False
        value = reader.outputs[0]
    return value is not None and value.shape is not None and len(value.shape) == 0


def _settle_reshape(node: ir.Node) -> bool:
    data, target, made = node.inputs[0], node.inputs[1], node.outputs[0].shape
    if data is None or target is None or constant_array(target) is not None:
        return False
    if int_attribute(node, "allowzero", 0):
        return False
    found = dimensions(target)
    candidates = [found.entries if found else None, None if made is None else tuple(made)]
    for entries in candidates:
        wanted = None if entries is None else _literal(entries, data.shape)
        if wanted is not None:
            part, before = graph_of(node), target.producer()
            stem = f"{node.outputs[0].name}_shape"
            node.replace_input_with(1, add_constant(part, np.array(wanted, np.int64), stem))
            if before is not None:
                prune(before)
            return True
    return False


def _literal(entries: Entries, given: ir.Shape | None) -> list[int] | None:
    """`entries` as a constant of a Reshape; None when more than one cannot be expressed."""
    wanted: list[int] = []
    for axis, entry in enumerate(entries):
        if isinstance(entry, int):
            wanted.append(entry)
        elif given is not None and axis < len(given) and _same(entry, given[axis]):
            wanted.append(0)
        else:
            wanted.append(-1)
    return wanted if wanted.count(-1) <= 1 else None


def _same(left: Entry, right: Entry) -> bool:
    return (
        isinstance(left, ir.SymbolicDim)
        and isinstance(right, ir.SymbolicDim)
        and left.value is not None
        and left.value == right.value
    )
