"""Shape inference: fills in what is missing and changes nothing that is known."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir
from onnx_ir import serde

from edgecompile.ir import walk
from edgecompile.ir.guard import bounded_memory
from edgecompile.ir.model import Model
from edgecompile.ir.proto import tensor_header, write_inline, write_model

_INLINE_BYTES = 4096
"""Tensors above this size are left out: none whose values decide a shape is that large."""
_INFERENCE_BYTES = 256 * 2**20
_INFERENCE_FACTOR = 16
"""Memory that inference may take: so much, and so many times the size of the skeleton."""


def infer(model: Model) -> Model:
    """The model with the types and shapes of values filled in, as far as ONNX can infer them.

    Best effort: never fails on a model that the checker accepts. A dimension that is known stays
    as it is; an unknown or symbolic one becomes a number where inference finds one. Returns the
    same object when it finds nothing new.
    """
    if not _incomplete(model.graph):
        return model
    inferred = _infer(write_model(model.graph, _write_small))
    if inferred is None or not any(_updates(model.graph, inferred)):
        return model
    copy = model.clone()
    _apply(copy.graph, inferred)
    return copy


def infer_in_place(graph: ir.Model, skeleton: onnx.ModelProto) -> None:
    """Fill in a freshly loaded graph from its own skeleton, if anything is missing."""
    if _missing(graph) and (inferred := _infer(skeleton)) is not None:
        _apply(graph, inferred)


def correct_false_scalars(skeleton: onnx.ModelProto) -> None:
    """Give outputs that are declared as scalars the shape that inference finds, if it is another.

    Some converters write an empty shape where they know of none; runtimes let it pass.
    """
    declared = [output for output in skeleton.graph.output if _scalar(output)]
    if not declared:
        return
    trial = onnx.ModelProto()
    trial.CopyFrom(skeleton)
    for output in trial.graph.output:
        if _scalar(output):
            output.type.tensor_type.ClearField("shape")
    inferred = _infer(trial)
    if inferred is None:
        return
    found = {output.name: output.type.tensor_type.shape for output in inferred.graph.output}
    for output in declared:
        if found[output.name].dim:
            output.type.tensor_type.shape.CopyFrom(found[output.name])


def _scalar(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return value.type.HasField("tensor_type") and kind.HasField("shape") and not kind.shape.dim


def _missing(model: ir.Model) -> bool:
    """Whether a value has no type or no shape at all."""
    values = (v for graph in model.graphs() for node in graph for v in node.outputs if v.name)
    return any(value.type is None or value.shape is None for value in values)


def _incomplete(model: ir.Model) -> bool:
    """Whether a value has no type, no shape, or a dimension that is not a number."""
    values = (v for graph in model.graphs() for node in graph for v in node.outputs if v.name)
    return any(v.type is None or v.shape is None or not v.shape.is_static() for v in values)


def _infer(skeleton: onnx.ModelProto) -> onnx.ModelProto | None:
    """ONNX's inference, first with the values of shapes followed through the graph.

    That needs memory in proportion to dimensions that the model may only claim, so it is bounded.
    """
    bound = _INFERENCE_BYTES + _INFERENCE_FACTOR * skeleton.ByteSize()
    for follow_values in (True, False):
        try:
            with bounded_memory(bound):
                return onnx.shape_inference.infer_shapes(
                    skeleton, check_type=False, strict_mode=False, data_prop=follow_values
                )
        except (onnx.shape_inference.InferenceError, MemoryError, RuntimeError, ValueError):
            continue
    return None


def _apply(model: ir.Model, inferred: onnx.ModelProto) -> None:
    for value, kind, shape in list(_updates(model, inferred)):
        value.type = kind
        value.shape = shape


Update = tuple[ir.Value, ir.TypeProtocol, ir.Shape | None]


def _updates(model: ir.Model, inferred: onnx.ModelProto) -> Iterator[Update]:
    """What inference found that the model does not say."""
    for graph, proto in _pairs(model.graph, inferred.graph):
        values = {value.name: value for node in graph for value in node.outputs}
        for info in (*proto.value_info, *proto.output):
            value = values.get(info.name)
            if value is None or not walk.is_defined(info.type):
                continue
            kind = value.type or serde.deserialize_type_proto_for_type(info.type)
            shape = _merge(value.shape, serde.deserialize_type_proto_for_shape(info.type))
            if kind is not None and (kind != value.type or shape != value.shape):
                yield value, kind, shape


def _pairs(graph: ir.Graph, proto: onnx.GraphProto) -> Iterator[tuple[ir.Graph, onnx.GraphProto]]:
    """Each graph with its message; two branches may use the same names for different values."""
    yield graph, proto
    for node, node_proto in zip(graph, proto.node, strict=True):
        for attribute in node_proto.attribute:
            if attribute.HasField("g"):
                yield from _pairs(node.attributes[attribute.name].as_graph(), attribute.g)
            if attribute.graphs:
                inner = node.attributes[attribute.name].as_graphs()
                for pair in zip(inner, attribute.graphs, strict=True):
                    yield from _pairs(*pair)


def _merge(known: ir.Shape | None, found: ir.Shape | None) -> ir.Shape | None:
    """`known`, with its unknown dimensions taken from `found` where ranks agree."""
    if known is None or found is None:
        return found if known is None else known
    if len(known) != len(found):
        return known
    return ir.Shape([_dim(a, b) for a, b in zip(known, found, strict=True)])


def _dim(known: int | ir.SymbolicDim, found: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    return found if isinstance(found, int) and not isinstance(known, int) else known


def _write_small(proto: onnx.TensorProto, tensor: ir.TensorProtocol, name: str) -> None:
    if tensor.nbytes <= _INLINE_BYTES or tensor.dtype == ir.DataType.STRING:
        write_inline(proto, tensor, name)
        return
    tensor_header(proto, tensor, name)
    proto.data_location = onnx.TensorProto.EXTERNAL
    proto.external_data.add(key="location", value="#")
