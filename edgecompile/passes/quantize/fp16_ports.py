"""Which inputs and outputs of an operator may be in 16 bits, by the ONNX operator schemas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir

NOT_CAST = frozenset(
    {
        "BitCast", "Cast", "CastLike", "Constant", "DynamicQuantizeLinear", "If", "Loop", "Scan",
    }
)  # fmt: skip
"""Operators whose element type is what they are about, or that hold a graph of their own."""
PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Their scales may be in 16 bits from opset 19 on."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Indices of the float32 inputs and outputs that can be in 16 bits together."""

    inputs: frozenset[int]
    outputs: frozenset[int]


def narrow_ports(node: ir.Node, opset: int, wanted: str, *, pairs: bool = False) -> Ports | None:
    """The ports of `node` that can be of type `wanted`, such as `tensor(float16)`.

    Those of QuantizeLinear and DequantizeLinear only with `pairs`.

    None when there is no float32 input. Ports without inputs mean that the operator has no such
    form (or none that is known: model-local functions and other domains).
    """
    if not any(is_single(value) for value in node.inputs):
        return None
    nothing = Ports(inputs=frozenset(), outputs=frozenset())
    if node.op_type in (NOT_CAST if pairs else NOT_CAST | PAIRS) or _holds_others_than_tensors(
        node
    ):
        return nothing
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return nothing
    inputs, variables = set(), set()
    for index, value in enumerate(node.inputs):
        formal = _formal(schema.inputs, index)
        if formal is not None and is_single(value) and wanted in formal.types:
            inputs.add(index)
            variables.add(formal.type_str)
    outputs = set()
    for index, value in enumerate(node.outputs):
        formal = _formal(schema.outputs, index)
        if formal is None or not is_single(value):
            continue
        if formal.type_str in variables:
            outputs.add(index)
        elif wanted in formal.types:
            return nothing  # its type follows from something else: an attribute, an absent input
    return Ports(inputs=frozenset(inputs), outputs=frozenset(outputs))


def is_single(value: ir.Value | None) -> bool:
    """Whether `value` is a float32 tensor."""
    return (
        value is not None
        and isinstance(value.type, ir.TensorType)
        and value.dtype == ir.DataType.FLOAT
    )


def _holds_others_than_tensors(node: ir.Node) -> bool:
    """Whether a sequence or an optional goes in or out: its elements keep their type."""
    values = (value for value in (*node.inputs, *node.outputs) if value is not None)
    return any(v.type is not None and not isinstance(v.type, ir.TensorType) for v in values)


def _formal(
    formals: Sequence[onnx.defs.OpSchema.FormalParameter], index: int
) -> onnx.defs.OpSchema.FormalParameter | None:
    """The formal parameter at `index`; the last one when it is variadic."""
    if index < len(formals):
        return formals[index]
    if formals and formals[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic:
        return formals[-1]
    return None
