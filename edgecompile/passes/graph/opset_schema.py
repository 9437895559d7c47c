"""What the operator definitions say about moving a node from one opset to another."""

from __future__ import annotations

import onnx
import onnx_ir as ir

EXTENDED = frozenset({"Constant", "If", "Loop", "Scan", "SequenceMap"})
"""Later definitions only add element types. Bodies are converted node by node."""

EXTENDED_BOTH_WAYS = frozenset(
    {
        "Add",
        "BatchNormalization",
        "CumSum",
        "Div",
        "Identity",
        "Mul",
        "Pow",
        "Relu",
        "Reshape",
        "Shape",
        "Size",
        "Sub",
    }
)
"""The same, and the converter has no way down for them."""


def redefined(op_type: str, given: int, wanted: int) -> bool:
    """Whether an operator that exists at `given` has another definition at `wanted`, or none."""
    if not onnx.defs.has(op_type, max_inclusive_version=given, domain=""):
        return False
    before = onnx.defs.get_schema(op_type, given, "")
    if not onnx.defs.has(op_type, max_inclusive_version=wanted, domain=""):
        return True
    return before.since_version != onnx.defs.get_schema(op_type, wanted, "").since_version


def known_problem(node: ir.Node, given: int, wanted: int) -> str | None:
    """Why `node` cannot be converted although the converter would not complain."""
    if node.op_type == "Scan" and given < 9 <= wanted:
        # Scan-8 had a batch axis; its body would have to be rewritten
        return "Scan has another meaning since opset 9"
    if wanted < given and not _on_tensors(node):
        return "it works on sequences or optionals, which older opsets allow in fewer places"
    return None


def still_valid(node: ir.Node, given: int, wanted: int) -> bool:
    """Whether `node` means the same at `wanted` as it is, although the definition is another."""
    if node.op_type in EXTENDED or not _on_tensors(node):
        return True
    if wanted > given or node.op_type not in EXTENDED_BOTH_WAYS:
        return False
    schema = onnx.defs.get_schema(node.op_type, wanted, "")
    said = {name for name in node.attributes if name not in schema.attributes}
    return said == set(idle_attributes(node, given, wanted)) and _types_allowed(node, schema)


def idle_attributes(node: ir.Node, given: int, wanted: int) -> list[str]:
    """Attributes that the definition at `wanted` does not have, and that say nothing: they hold
    the default that the definition at `given` brought.
    """
    before = onnx.defs.get_schema(node.op_type, given, "").attributes
    after = onnx.defs.get_schema(node.op_type, wanted, "").attributes
    return [
        name
        for name, attribute in node.attributes.items()
        if name not in after
        and name in before
        and before[name].default_value.type
        and attribute.value == ir.serde.deserialize_attribute(before[name].default_value).value
    ]


def _types_allowed(node: ir.Node, schema: onnx.defs.OpSchema) -> bool:
    allowed = {
        constraint.type_param_str: set(constraint.allowed_type_strs)
        for constraint in schema.type_constraints
    }
    for formal, value in zip(schema.inputs, node.inputs, strict=False):
        kinds = allowed.get(formal.type_str)
        if (
            value is not None
            and kinds is not None
            and (value.dtype is None or f"tensor({value.dtype.name.lower()})" not in kinds)
        ):
            return False
    return True


def _on_tensors(node: ir.Node) -> bool:
    """Sequences and optionals only gained element types, and the converter fails on them."""
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    return all(value.type is None or isinstance(value.type, ir.TensorType) for value in values)
