"""Spellings that mean the same are made one when a model is loaded."""

from __future__ import annotations

import onnx

from edgecompile.ir import walk
from edgecompile.ir.check import plain_domain

_FIRST_WITH_CONSTANTS = 4
"""Before IR version 4 every initializer had to be listed among the inputs as well."""


def normalise(proto: onnx.ModelProto) -> None:
    """Bring a checked `ModelProto` into the form that the rest of edgecompile relies on.

    The default domain is spelt ``, every graph has a name, no dimension is negative (exporters
    write -1 for unknown ones), no part is assigned to one of several devices (an edge device is
    one), and weights are not listed among the inputs of models that predate
    IR version 4, where that said nothing.
    """
    _domains(proto)
    proto.ClearField("configuration")
    for graph in walk.graphs(proto):
        if isinstance(graph, onnx.GraphProto):
            graph.name = graph.name or "graph"
        _drop_undefined(graph)
        for value in walk.values(graph):
            if value.type.HasField("tensor_type"):
                for dim in value.type.tensor_type.shape.dim:
                    if dim.dim_value < 0:
                        dim.ClearField("dim_value")
    if proto.ir_version < _FIRST_WITH_CONSTANTS:
        _unlist_weights(proto.graph)
        proto.ir_version = _FIRST_WITH_CONSTANTS


def _drop_undefined(graph: walk.Graph) -> None:
    """Forget types that do not say what their elements are: they are inferred anew."""
    for index in reversed(range(len(graph.value_info))):
        if not walk.is_defined(graph.value_info[index].type):
            del graph.value_info[index]
    if isinstance(graph, onnx.GraphProto):
        for value in (*graph.input, *graph.output):
            if not walk.is_defined(value.type):
                value.ClearField("type")


def _domains(proto: onnx.ModelProto) -> None:
    for part in (proto, *proto.functions):
        imports = {plain_domain(entry.domain): entry.version for entry in part.opset_import}
        del part.opset_import[:]
        for domain, version in imports.items():
            part.opset_import.add(domain=domain, version=version)
    for graph in walk.graphs(proto):
        for node in graph.node:
            node.ClearField("device_configurations")
            if node.domain == "ai.onnx":
                node.domain = ""


def _unlist_weights(graph: onnx.GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    for index in reversed(range(len(graph.input))):
        if graph.input[index].name in weights:
            del graph.input[index]
