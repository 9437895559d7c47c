"""Constant nodes and default inputs become plain initializers, which every later pass can read.

onnx_ir's own pass renames the tensors that it lifts. A clone shares them with the model that was
given, so the same is done here with tensors of our own around the same data.
"""

from __future__ import annotations

import onnx_ir as ir

from edgecompile.ir.facts import constant_tensor
from edgecompile.passes.base import NoteBook
from edgecompile.passes.graph.edit import graphs, is_onnx


def lift_constants(graph: ir.Model, book: NoteBook) -> None:
    """Turn Constant nodes into initializers of their graph; those that are outputs stay."""
    for part in graphs(graph):
        for node in list(part):
            if is_onnx(node, "Constant") and not node.outputs[0].is_graph_output():
                tensor = constant_tensor(node.outputs[0])
                if tensor is None:
                    book.fail("a sparse constant stays a node", node.name, op_type="Constant")
                else:
                    _lift(part, node, tensor)


def _lift(graph: ir.Graph, node: ir.Node, tensor: ir.TensorProtocol) -> None:
    output = node.outputs[0]
    name = output.name
    if tensor.dtype == ir.DataType.STRING and isinstance(tensor, ir.StringTensor):
        own: ir.TensorProtocol = ir.StringTensor(
            tensor.string_data(), shape=ir.Shape(tensor.shape.numpy()), name=name
        )
    else:
        own = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name)
    value = ir.Value(
        name=name,
        shape=ir.Shape(tensor.shape.numpy()),
        type=ir.TensorType(tensor.dtype),
        doc_string=output.doc_string,
        const_value=own,
        metadata_props=dict(output.metadata_props),
    )
    value.meta.update(output.meta)
    graph.register_initializer(value)
    output.replace_all_uses_with(value)
    graph.remove(node, safe=True)


def settle_default_inputs(graph: ir.Model, book: NoteBook) -> None:
    """Inputs with a default value become constants: many exporters list all weights as inputs."""
    from onnx_ir.passes import common

    names = [value.name for value in graph.graph.inputs if value.is_initializer()]
    if not names:
        return
    common.RemoveInitializersFromInputsPass()(graph)
    shown = ", ".join(f"'{name}'" for name in names[:3]) + (", ..." if len(names) > 3 else "")
    book.fail(f"{len(names)} inputs with a default value became constants: {shown}")
