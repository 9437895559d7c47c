"""bfloat16 graphs for a runtime that has hardly any bfloat16 kernels: computed in float32.

ONNX Runtime's CPU provider casts to bfloat16 and back, and little else. The same numbers come from
float32 operators whose results are rounded to bfloat16: kernels that compute in bfloat16 add in
float32 and round once, at the end.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_tensor
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names

NARROW, SINGLE = ir.DataType.BFLOAT16, ir.DataType.FLOAT


def holds_bfloat16(model: Model) -> bool:
    """Whether any value of the main graph is bfloat16."""
    graph = model.graph.graph
    computed = (value.dtype == NARROW for node in graph for value in node.outputs)
    return any(computed) or any(v.dtype == NARROW for v in graph.initializers.values())


def in_float32(model: Model) -> Model:
    """`model` with its bfloat16 values in float32, rounded to bfloat16 behind every operator."""
    result = model.clone()
    graph, names = result.graph.graph, Names(result.graph.graph)
    for value in graph.initializers.values():
        if value.dtype == NARROW:
            tensor = constant_tensor(value)
            if tensor is not None:
                array = tensor.numpy().astype(np.float32)
                value.const_value = ir.tensor(array, name=value.name)
            value.type = ir.TensorType(SINGLE)
    for node in list(graph):
        for output in node.outputs:
            if output.dtype != NARROW:
                continue
            if node.op_type == "Cast" and not node.domain:
                _back(graph, node, output, names)
                continue
            output.type = ir.TensorType(SINGLE)
            rounding(graph, output, names)
    return result


def rounding(graph: ir.Graph, value: ir.Value, names: Names) -> None:
    """Let all readers of `value`, float32 of `graph`, get it rounded to bfloat16."""
    there = _cast(value, NARROW, names)
    back = _cast(there.outputs[0], SINGLE, names)
    for use in [use for use in value.uses() if use.node is not there]:
        use.node.replace_input_with(use.idx, back.outputs[0])
    maker = value.producer()
    if maker is not None:
        graph.insert_after(maker, [there, back])
    else:
        graph.insert_before(graph[0], [there, back])


def without_rounding(model: Model) -> Model:
    """`model` without pairs of Casts to bfloat16 and back to float32: itself where it has none."""
    if not any(map(_back_from, model.graph.graph)):
        return model
    result = model.clone()
    graph = result.graph.graph
    for node in list(graph):
        there = _back_from(node)
        source = None if there is None else there.inputs[0]
        if there is not None and source is not None and not node.outputs[0].is_graph_output():
            node.outputs[0].replace_all_uses_with(source)
            graph.remove(node, safe=True)
            if not there.outputs[0].uses():
                graph.remove(there, safe=True)
    return result


def _back_from(node: ir.Node) -> ir.Node | None:
    """The Cast to bfloat16, of float32, that `node` casts back."""
    if node.op_type != "Cast" or node.domain or node.outputs[0].dtype != SINGLE:
        return None
    value = node.inputs[0]
    there = None if value is None or value.dtype != NARROW else value.producer()
    if there is None or there.op_type != "Cast" or there.inputs[0] is None:
        return None
    return there if there.inputs[0].dtype == SINGLE else None


def _back(graph: ir.Graph, node: ir.Node, output: ir.Value, names: Names) -> None:
    """Behind a Cast to bfloat16: its readers get float32."""
    back = _cast(output, SINGLE, names)
    for use in list(output.uses()):
        if use.node is not back:
            use.node.replace_input_with(use.idx, back.outputs[0])
    graph.insert_after(node, back)


def _cast(value: ir.Value, dtype: ir.DataType, names: Names) -> ir.Node:
    name = names.unique(f"{value.name}_{dtype.name.lower()}")
    node = ir.node("Cast", [value], attributes={"to": int(dtype)}, name=name)
    node.outputs[0].name = names.unique(f"{name}_output")
    node.outputs[0].type, node.outputs[0].shape = ir.TensorType(dtype), value.shape
    return node
