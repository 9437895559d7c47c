"""Which operators of a quantized graph compute other than in the float graph that it came from.

Both graphs name the outputs of their operators alike: quantizers insert nodes and leave the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_tensor
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.operands import data_inputs, passes_through
from edgecompile.passes.quantize.placement import node_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One operator that reads quantized values or is itself of another kind than in float."""

    name: str
    output: str
    """Name of its output, equal in both graphs."""
    quantized: ir.Node
    original: ir.Node


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """The layers in the order of the graph, and what quantization put in between."""

    layers: tuple[Layer, ...]
    inserted: frozenset[ir.Value]
    """Values of the quantized graph that the float one lacks, or has without their rounding: those
    of pairs, of stored weights, and of operators that only pass rounded values on."""


def pair(model: Model, reference: Model) -> Pairing:
    """Match the operators of `model` with those of `reference`, the float model it came from."""
    originals = {node.outputs[0].name: node for node in reference.graph.graph if node.outputs}
    inserted: set[ir.Value] = set()
    layers: list[Layer] = []
    for node in model.graph.graph:
        original = originals.get(node.outputs[0].name)
        rounded = any(value in inserted for value in node.inputs if value is not None)
        if original is None or (rounded and _carries(original)):
            inserted.update(node.outputs)
        elif (rounded or node.op_type != original.op_type) and _separable(node, original):
            layers.append(
                Layer(
                    name=node_name(original),
                    output=original.outputs[0].name or "",
                    quantized=node,
                    original=original,
                )
            )
    return Pairing(layers=tuple(layers), inserted=frozenset(inserted))


def _carries(node: ir.Node) -> bool:
    """Whether `node` passes on values that something else has computed."""
    if not passes_through(node):
        return False
    return all(constant_tensor(node.inputs[index]) is None for index in data_inputs(node))


def _separable(node: ir.Node, original: ir.Node) -> bool:
    """One output, no graph inside: what can be computed in two ways side by side."""
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    plain = all(a.type not in graphs for n in (node, original) for a in n.attributes.values())
    return plain and len(node.outputs) == 1 and len(original.outputs) == 1


def same_constant(left: ir.TensorProtocol, right: ir.TensorProtocol) -> bool:
    """Whether both hold the same numbers."""
    if left is right:
        return True
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return left.tobytes() == right.tobytes() or np.array_equal(left.numpy(), right.numpy())
