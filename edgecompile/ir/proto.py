"""The one writer of `ModelProto`: canonical, and told by its caller where tensors go.

Canonical means that everything ONNX leaves unordered is sorted (opset imports, metadata,
initializers, attributes, value infos, functions) and that what can be derived is left out, so equal
content gives equal bytes. `onnx_ir.serde` serves single values and attributes; its own model writer
copies every weight, renames shared tensors and repeats the metadata of tensors, so it is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir import serde

TensorWriter = Callable[[onnx.TensorProto, ir.TensorProtocol, str], None]
"""Writes one tensor under a name: in place, as a digest, or as a reference into a file."""

_FUNCTION_VALUES_FROM_IR_VERSION = 10
_QUANT_ANNOTATION = "quant_parameter_tensor_names"
"""Key in `Value.meta` under which onnx_ir keeps a quantization annotation."""


def write_model(model: ir.Model, write_tensor: TensorWriter) -> onnx.ModelProto:
    """The canonical `ModelProto` of `model`, with its tensors written by `write_tensor`."""
    return _Writer(model.ir_version, write_tensor).model(model)


def tensor_header(proto: onnx.TensorProto, tensor: ir.TensorProtocol, name: str) -> None:
    """Write all of a tensor but its data: name, type, dimensions, documentation, metadata."""
    if name:
        proto.name = name
    proto.data_type = tensor.dtype.value
    proto.dims.extend(tensor.shape.numpy())
    if tensor.doc_string:
        proto.doc_string = tensor.doc_string
    _pairs(proto.metadata_props, tensor.metadata_props)


def write_inline(proto: onnx.TensorProto, tensor: ir.TensorProtocol, name: str) -> None:
    """Write a tensor with its data: strings as strings, all other types as `raw_data`."""
    tensor_header(proto, tensor, name)
    if tensor.dtype == ir.DataType.STRING:
        proto.string_data.extend(string_items(tensor))
    else:
        proto.raw_data = tensor.tobytes()


def string_items(tensor: ir.TensorProtocol) -> list[bytes]:
    """The entries of a string tensor in row-major order, as UTF-8."""
    if isinstance(tensor, ir.StringTensor):
        return list(tensor.string_data())
    items: list[bytes | str] = tensor.numpy().ravel().tolist()
    return [item.encode() if isinstance(item, str) else item for item in items]


def _pairs(target: Any, pairs: Mapping[str, str] | None) -> None:
    for key in sorted(pairs or ()):
        target.add(key=key, value=(pairs or {})[key])


def _has_info(value: ir.Value) -> bool:
    """Whether a value info would say anything. A shape without a type cannot be written."""
    return bool(value.name) and (
        value.type is not None or bool(value.doc_string) or bool(value.metadata_props)
    )


class _Writer:
    """Writes the parts of one model, top down."""

    def __init__(self, ir_version: int, write_tensor: TensorWriter) -> None:
        self.ir_version = ir_version
        self.write_tensor = write_tensor

    def model(self, model: ir.Model) -> onnx.ModelProto:
        proto = onnx.ModelProto(ir_version=model.ir_version)
        for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
            if content := getattr(model, field):
                setattr(proto, field, content)
        self._opsets(proto.opset_import, model.opset_imports)
        _pairs(proto.metadata_props, model.metadata_props)
        self.graph(proto.graph, model.graph)
        for _, function in sorted(model.functions.items()):
            self._function(proto.functions.add(), function)
        return proto

    def graph(self, proto: onnx.GraphProto, graph: ir.Graph) -> None:
        proto.name = graph.name or ""
        if graph.doc_string:
            proto.doc_string = graph.doc_string
        _pairs(proto.metadata_props, graph.metadata_props)
        inputs = {value.name for value in graph.inputs}
        outputs = {value.name for value in graph.outputs}
        informed: list[ir.Value] = []
        for name, value in sorted(graph.initializers.items()):
            if value.const_value is not None:
                self.write_tensor(proto.initializer.add(), value.const_value, name)
            if name not in inputs and (value.doc_string or value.metadata_props):
                informed.append(value)
        for node in graph:
            self._node(proto.node.add(), node)
            informed += [v for v in node.outputs if v.name not in outputs and _has_info(v)]
        for value in graph.inputs:
            serde.serialize_value_into(proto.input.add(), value)
        for value in graph.outputs:
            serde.serialize_value_into(proto.output.add(), value)
        self._value_infos(proto.value_info, informed)
        self._annotations(proto, graph)

    def _value_infos(self, target: Any, values: Iterable[ir.Value]) -> None:
        for value in sorted(values, key=lambda v: v.name or ""):
            serde.serialize_value_into(target.add(), value)

    def _annotations(self, proto: onnx.GraphProto, graph: ir.Graph) -> None:
        values = [*graph.inputs, *graph.initializers.values()]
        values += [output for node in graph for output in node.outputs]
        found = {v.name: v.meta[_QUANT_ANNOTATION] for v in values if _QUANT_ANNOTATION in v.meta}
        for name in sorted(name for name in found if name):
            entry = proto.quantization_annotation.add(tensor_name=name)
            _pairs(entry.quant_parameter_tensor_names, found[name])

    def _function(self, proto: onnx.FunctionProto, function: ir.Function) -> None:
        proto.domain = function.domain
        proto.name = function.name
        if function.overload:
            proto.overload = function.overload
        if function.doc_string:
            proto.doc_string = function.doc_string
        self._opsets(proto.opset_import, function.opset_imports)
        _pairs(proto.metadata_props, function.metadata_props)
        proto.input.extend(value.name for value in function.inputs)
        proto.output.extend(value.name for value in function.outputs)
        for _, attribute in sorted(function.attributes.items()):
            if attribute.value is None:
                proto.attribute.append(attribute.name)
            else:
                self._attribute(proto.attribute_proto.add(), attribute)
        informed = [value for value in function.inputs if _has_info(value)]
        for node in function:
            self._node(proto.node.add(), node)
            informed += [value for value in node.outputs if _has_info(value)]
        if self.ir_version >= _FUNCTION_VALUES_FROM_IR_VERSION:
            self._value_infos(proto.value_info, informed)

    def _node(self, proto: onnx.NodeProto, node: ir.Node) -> None:
        proto.op_type = node.op_type
        for field in ("domain", "name", "overload", "doc_string"):
            if content := getattr(node, field):
                setattr(proto, field, content)
        _pairs(proto.metadata_props, node.metadata_props)
        proto.input.extend("" if value is None else value.name for value in node.inputs)
        names = [value.name or "" for value in node.outputs]
        while names and not names[-1]:
            names.pop()
        proto.output.extend(names)
        for _, attribute in sorted(node.attributes.items()):
            self._attribute(proto.attribute.add(), attribute)

    def _attribute(self, proto: onnx.AttributeProto, attribute: ir.Attr) -> None:
        kind = attribute.type
        if attribute.is_ref():
            serde.serialize_reference_attribute_into(proto, attribute)
        elif kind in _NESTED:
            proto.name = attribute.name
            if attribute.doc_string:
                proto.doc_string = attribute.doc_string
            proto.type = kind.value  # type: ignore[assignment]
            self._nested(proto, attribute)
        else:
            serde.serialize_attribute_into(proto, attribute)

    def _nested(self, proto: onnx.AttributeProto, attribute: ir.Attr) -> None:
        kind = attribute.type
        if kind == ir.AttributeType.TENSOR:
            self.write_tensor(proto.t, attribute.value, attribute.value.name or "")
        elif kind == ir.AttributeType.TENSORS:
            for tensor in attribute.value:
                self.write_tensor(proto.tensors.add(), tensor, tensor.name or "")
        elif kind == ir.AttributeType.GRAPH:
            self.graph(proto.g, attribute.value)
        else:
            for graph in attribute.value:
                self.graph(proto.graphs.add(), graph)

    @staticmethod
    def _opsets(target: Any, imports: Mapping[str, int]) -> None:
        for domain in sorted(imports):
            target.add(domain=domain, version=imports[domain])


_NESTED = frozenset(
    {
        ir.AttributeType.TENSOR,
        ir.AttributeType.TENSORS,
        ir.AttributeType.GRAPH,
        ir.AttributeType.GRAPHS,
    }
)
