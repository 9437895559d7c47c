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
            there = _cast(output, NARROW, names)
            back = _cast(there.outputs[0], SINGLE, names)
            users = [use for use in output.uses() if use.node is not there]
            for use in users:
                use.node.replace_input_with(use.idx, back.outputs[0])
            graph.insert_after(node, [there, back])
    return result


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
