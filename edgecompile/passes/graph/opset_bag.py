"""Convert single operators between opsets with ONNX's own converter, many in one call.

`onnx.version_converter` drops metadata, documentation and node names of a model, knows nothing of
functions and other domains, and takes at most 2 GB. So it never sees the model: the nodes that
change are put side by side into a small model of their own, a bag, in which nothing is connected
and large constants are only typed inputs. Each comes back as a fragment that can be spliced in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from edgecompile.ir.facts import constant_array, constant_tensor
from edgecompile.passes.graph.opset_schema import idle_attributes

SMALL_CONSTANT = 4096
"""Elements up to which a constant goes along: adapters read axes, scales and pads from it."""

STAND_INS = {"Hardmax": "Softmax"}
"""Hardmax-13 changed just like Softmax-13, and the converter passes it on as if it had not."""

COORDINATES = 11
"""Since Resize-11 the default is `half_pixel`; Upsample and Resize-10 always were asymmetric."""


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """What one node became: nodes of `graph` in order, reading `i{k}` and giving `o{k}`."""

    nodes: tuple[ir.Node, ...]
    graph: ir.Graph
    prefix: str


def convert_nodes(nodes: Sequence[ir.Node], opset: int, wanted: int) -> list[Fragment]:
    """The fragments that `nodes` of `opset` become at opset `wanted`.

    Raises `RuntimeError` with the converter's message when one of them has no conversion.
    """
    bag = onnx.ModelProto(ir_version=8)
    bag.opset_import.add(domain="", version=opset)
    bag.graph.name = "bag"
    for number, node in enumerate(nodes):
        _put(bag.graph, node, _prefix(number))
    converted = ir.from_proto(onnx.version_converter.convert_version(bag, wanted))
    return list(_fragments(converted.graph, nodes, opset, wanted))


def _prefix(number: int) -> str:
    return f"n{number}_"


def _put(bag: onnx.GraphProto, node: ir.Node, prefix: str) -> None:
    proto = bag.node.add()
    proto.CopyFrom(ir.serde.serialize_node(node))
    proto.op_type = STAND_INS.get(node.op_type, node.op_type)
    proto.name = prefix
    proto.ClearField("doc_string")
    proto.ClearField("metadata_props")
    del proto.input[:], proto.output[:]
    for index, value in enumerate(node.inputs):
        name = f"{prefix}i{index}" if value is not None else ""
        proto.input.append(name)
        if value is not None:
            _declare(bag.input.add(), value, name)
            _give(bag, value, name)
    for index, value in enumerate(node.outputs):
        name = f"{prefix}o{index}" if value.name else ""
        proto.output.append(name)
        if name:
            _declare(bag.output.add(), value, name)


def _declare(info: onnx.ValueInfoProto, value: ir.Value, name: str) -> None:
    ir.serde.serialize_value_into(info, value)
    info.name = name
    info.ClearField("doc_string")
    info.ClearField("metadata_props")
    if not info.HasField("type"):
        # the converter wants some type; where inference knows none, no adapter asks for it
        info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def _give(bag: onnx.GraphProto, value: ir.Value, name: str) -> None:
    tensor = constant_tensor(value)
    if tensor is not None and tensor.size <= SMALL_CONSTANT:
        proto = bag.initializer.add()
        proto.CopyFrom(ir.serde.serialize_tensor(tensor))
        proto.name = name


def _fragments(
    bag: ir.Graph, nodes: Sequence[ir.Node], opset: int, wanted: int
) -> Iterator[Fragment]:
    made = {value.name: node for node in bag for value in node.outputs if value.name}
    order = {node: position for position, node in enumerate(bag)}
    for number, origin in enumerate(nodes):
        prefix = _prefix(number)
        todo = [made[f"{prefix}o{i}"] for i, value in enumerate(origin.outputs) if value.name]
        members: set[ir.Node] = set()
        while todo:
            node = todo.pop()
            if node not in members:
                members.add(node)
                todo += [p for v in node.inputs if v is not None and (p := v.producer())]
        for node in members:
            _check_attributes(node, opset, wanted)
            if STAND_INS.get(origin.op_type) == node.op_type:
                node.op_type = origin.op_type
            if opset < COORDINATES <= wanted and node.op_type == "Resize":
                _mend_resize(node, origin)
            if opset < 12 <= wanted and node.op_type == "Dropout":
                _mend_dropout(node)
        yield Fragment(
            nodes=tuple(sorted(members, key=order.__getitem__)), graph=bag, prefix=prefix
        )


def _check_attributes(node: ir.Node, opset: int, wanted: int) -> None:
    """Going down, take out attributes that are not there yet, where they say nothing.

    Raises `RuntimeError` where one of them says something: the converter does not look.
    """
    if wanted >= opset:
        return
    for name in idle_attributes(node, opset, wanted):
        del node.attributes[name]
    allowed = onnx.defs.get_schema(node.op_type, wanted, "").attributes
    for name in node.attributes:
        if name not in allowed:
            raise RuntimeError(f"its attribute '{name}' does not exist at opset {wanted}")


def _mend_resize(node: ir.Node, origin: ir.Node) -> None:
    """Write down the coordinates of Upsample and Resize-10, which the converter forgets."""
    scales = constant_array(origin.inputs[1]) if len(origin.inputs) > 1 else None
    shrinks = scales is not None and bool((scales <= 1).all() and (scales < 1).any())
    node.attributes["coordinate_transformation_mode"] = ir.AttrString(
        "coordinate_transformation_mode", "asymmetric"
    )
    # nearest took the sample before when enlarging and the one after when shrinking
    node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "ceil" if shrinks else "floor")


def _mend_dropout(node: ir.Node) -> None:
    """Make the ratio a scalar: the converter writes a list of one."""
    ratio = node.inputs[1] if len(node.inputs) > 1 else None
    source = None if ratio is None else ratio.producer()
    number = constant_array(ratio)
    if source is not None and number is not None:
        source.attributes["value"] = ir.AttrTensor("value", ir.tensor(number.reshape(())))
