"""The stable text form of a model, for golden files and `--dump-ir`."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from edgecompile.ir.digest import tensor_sha256
from edgecompile.ir.facts import operator
from edgecompile.ir.model import Model


def to_text(model: Model) -> str:
    """One line per input, weight, node and output; weights as type, shape and digest."""
    graph = model.graph
    lines = [f"ir_version {graph.ir_version}"]
    lines += [
        f"opset {domain or 'ai.onnx'} {v}" for domain, v in sorted(graph.opset_imports.items())
    ]
    lines += [f"metadata {key} = {text!r}" for key, text in sorted(graph.metadata_props.items())]
    lines += _graph(graph.graph, f"graph {graph.graph.name or ''}".rstrip(), "")
    for (domain, name, overload), function in sorted(graph.functions.items()):
        title = ":".join(part for part in (f"{domain}::{name}", overload) if part)
        lines += _graph(function.graph, f"function {title}", "")
    return "\n".join(lines) + "\n"


def _graph(graph: ir.Graph, title: str, indent: str) -> Iterator[str]:
    yield f"{indent}{title}"
    inner = indent + "  "
    for value in graph.inputs:
        yield f"{inner}input {_typed(value)}"
    for _, value in sorted(graph.initializers.items()):
        yield f"{inner}weight %{value.name}: {_tensor(value.const_value)}"
    for node in graph:
        yield from _node(node, inner)
    for value in graph.outputs:
        yield f"{inner}output {_typed(value)}"


def _node(node: ir.Node, indent: str) -> Iterator[str]:
    results = ", ".join(_typed(value) for value in node.outputs)
    inputs = ", ".join("-" if value is None else f"%{value.name}" for value in node.inputs)
    plain, nested = [], []
    for name, attribute in sorted(node.attributes.items()):
        if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
            nested.append((name, attribute.as_graph()))
        else:
            plain.append(f"{name}={_attribute(attribute)}")
    options = f" {{{', '.join(plain)}}}" if plain else ""
    label = f"  # {node.name}" if node.name else ""
    yield f"{indent}{results} = {operator(node)}({inputs}){options}{label}"
    for name, graph in nested:
        yield from _graph(graph, f"{name}:", indent + "  ")


def _attribute(attribute: ir.Attr) -> str:
    if attribute.is_ref():
        return f"@{attribute.ref_attr_name}"
    if attribute.type == ir.AttributeType.TENSOR:
        return _tensor(attribute.value)
    if attribute.type == ir.AttributeType.TENSORS:
        return f"[{', '.join(_tensor(tensor) for tensor in attribute.value)}]"
    content = attribute.value
    return str(list(content)) if isinstance(content, tuple) else repr(content)


def _typed(value: ir.Value) -> str:
    return f"%{value.name}: {_type(value)}"


def _type(value: ir.Value) -> str:
    if isinstance(value.type, ir.TensorType):
        shape = "[?]" if value.shape is None else _shape(value.shape)
        return f"{value.type.dtype.short_name()}{shape}"
    return "?" if value.type is None else str(value.type)


def _shape(shape: ir.Shape | ir.ShapeProtocol) -> str:
    dims = (str(d) if isinstance(d, int) else (d.value or "?") for d in shape)
    return f"[{', '.join(dims)}]"


def _tensor(tensor: ir.TensorProtocol | None) -> str:
    if tensor is None:
        return "?"
    kind = f"{tensor.dtype.short_name()}{_shape(tensor.shape)}"
    return f"{kind} sha256:{tensor_sha256(tensor).hex()[:16]}"
