"""The rules of TensorRT's quantization, as lints: what it refuses, and what it takes in float.

Every rule was seen in TensorRT-RTX 1.7.1 (the plan tells the types that its kernels read) or is in
NVIDIA's documentation on explicit quantization (docs.nvidia.com/deeplearning/tensorrt,
"Working with Quantized Types").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue import tensorrt as rules
from edgecompile.emitters.tensorrt_support import runtime_name
from edgecompile.ir.facts import all_nodes, constant_tensor
from edgecompile.ir.model import Model
from edgecompile.ir.qdq import PRODUCTS, restored_type
from edgecompile.targets.schema import Target
from edgecompile.targets.tensorrt import TensorRt

INT4_BLOCKS = frozenset({16, 32, 64, 96, 128})
_INT8, _INT4, _FP8 = ir.DataType.INT8, ir.DataType.INT4, ir.DataType.FLOAT8E4M3FN


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a precision needs: a generation of GPUs, and one of the library."""

    title: str
    capability: tuple[int, int]
    version: int


PRECISIONS = {
    ir.DataType.INT8: Needs(title="INT8", capability=(6, 1), version=8),
    ir.DataType.INT4: Needs(title="INT4", capability=(8, 0), version=10),
    ir.DataType.FLOAT8E4M3FN: Needs(title="FP8", capability=(8, 9), version=10),
    ir.DataType.BFLOAT16: Needs(title="BF16", capability=(8, 0), version=10),
    ir.DataType.FLOAT4E2M1: Needs(title="FP4", capability=(10, 0), version=10),
}
"""FP16 is everywhere. INT8 begins with Pascal's DP4A; Maxwell has none."""


def quantization_problems(model: Model, target: Target) -> list[Diagnostic]:
    """Every place where `model` breaks a rule of `target`'s TensorRT."""
    facts = target.tensorrt
    if facts is None:
        return []
    found: list[Diagnostic] = [*_precisions(model, target, facts)]
    for node in all_nodes(model):
        if node.op_type == "QuantizeLinear":
            found += _pair(node, facts)
        elif node.op_type == "DequantizeLinear":
            found += _restored(node, facts)
        elif node.op_type in PRODUCTS and not node.domain:
            found += _product(node)
    return list(dict.fromkeys(found))


def _pair(node: ir.Node, facts: TensorRt) -> Iterator[Diagnostic]:
    """QuantizeLinear: of an activation, or of a weight that is quantized in the graph."""
    tensor = node.inputs[0]
    name, where = _name(tensor), _at(node)
    yield from _zero_point(node, name)
    kind = node.outputs[0].dtype
    if kind is not None and kind not in _known(facts, weight=False):
        yield _wrong_type(where, name, kind, facts, weight=False)
    if constant_tensor(tensor) is None:
        shape = _shape(node.inputs[1])
        if shape is not None and shape != ():
            yield rules.QDQ_SCALE.at(where, tensor=name, shape=list(shape))


def _restored(node: ir.Node, facts: TensorRt) -> Iterator[Diagnostic]:
    """DequantizeLinear: of a stored weight; that of an activation is told by its QuantizeLinear."""
    tensor = constant_tensor(node.inputs[0])
    if tensor is None or _is_bias(node):
        return
    name, where = _name(node.inputs[0]), _at(node)
    yield from _zero_point(node, name)
    if tensor.dtype not in _known(facts, weight=True):
        yield _wrong_type(where, name, tensor.dtype, facts, weight=True)
    elif tensor.dtype == _INT4:
        yield from _int4(node, name)
    else:
        yield from _axis(node, name)


def _zero_point(node: ir.Node, name: str) -> Iterator[Diagnostic]:
    value = node.inputs[2] if len(node.inputs) > 2 else None
    tensor = constant_tensor(value)
    if value is not None and (tensor is None or np.any(tensor.numpy().astype(np.float32))):
        yield rules.QDQ_ZERO_POINT.at(_at(node), tensor=name)


def _axis(node: ir.Node, name: str) -> Iterator[Diagnostic]:
    """Scales of 8-bit weights: one, or one per output channel."""
    shape = _shape(node.inputs[1])
    if shape is None or shape in ((), (1,)):
        return
    axis, rank = _int(node, "axis", 1), len(_shape(node.inputs[0]) or ())
    axis += rank if axis < 0 else 0
    for reader, index in node.outputs[0].uses():
        wanted = _channel_axis(reader, index, rank)
        if wanted is not None and axis != wanted:
            yield rules.QDQ_WEIGHT_AXIS.at(
                _at(reader),
                tensor=name,
                op=reader.op_type,
                node=_node_name(reader),
                axis=axis,
                wanted=wanted,
            )


def _channel_axis(reader: ir.Node, index: int, rank: int) -> int | None:
    """Axis of the output channels in the weight that `reader` takes at input `index`."""
    if reader.domain or reader.op_type not in PRODUCTS:
        return None
    if reader.op_type in {"Conv", "ConvTranspose"}:  # [M, C / group, ...] and [C, M / group, ...]
        return int(reader.op_type == "ConvTranspose")
    turned = reader.op_type == "Gemm" and bool(_int(reader, "transB" if index else "transA", 0))
    last = (index == 1) != turned
    return rank - 1 if last else rank - 2


def _int4(node: ir.Node, name: str) -> Iterator[Diagnostic]:
    block = _int(node, "block_size", 0)
    problem = None
    if block and block not in INT4_BLOCKS:
        problem = f"has blocks of {block}"
    elif not block and len(_shape(node.inputs[1]) or ()) > 1:
        problem = "has a scale of more than one axis and no block size"
    elif constant_tensor(node.inputs[0]) is None:
        problem = "is no weight: activations cannot be 4 bits wide"
    if problem is not None:
        yield rules.INT4_BLOCK.at(_at(node), tensor=name, problem=problem)


def _product(node: ir.Node) -> Iterator[Diagnostic]:
    name, where = _node_name(node), _at(node)
    kinds = [restored_type(value) for value in node.inputs[:2]]
    if len(node.inputs) > 2 and restored_type(node.inputs[2]) is not None:
        yield rules.QDQ_BIAS.at(where, op=node.op_type, node=name)
    if (kinds[0] is None) != (kinds[1] is None) and kinds[1] != _INT4:
        side = "its second operand" if kinds[0] is None else "its first operand"
        yield rules.QDQ_ONE_SIDED.at(where, op=node.op_type, node=name, side=side)


def _precisions(model: Model, target: Target, facts: TensorRt) -> Iterator[Diagnostic]:
    """Types that the GPU has no arithmetic for, or the release no parser."""
    told: set[ir.DataType] = set()
    for value in _values(model):
        needs = PRECISIONS.get(value.dtype) if value.dtype is not None else None
        if value.dtype is None or needs is None or value.dtype in told:
            continue
        problem = _lacking(needs, facts)
        if problem is not None:
            told.add(value.dtype)
            needed, have = problem
            yield rules.PRECISION_ABSENT.at(
                Where(tensor=value.name),
                tensor=value.name,
                precision=needs.title,
                needed=needed,
                target=target.id,
                have=have,
            )


def _lacking(needs: Needs, facts: TensorRt) -> tuple[str, str] | None:
    if facts.lowest < needs.capability:
        wanted = ".".join(map(str, needs.capability))
        return f"compute capability {wanted}", ".".join(map(str, facts.lowest))
    if facts.library == "tensorrt-rtx" and facts.lowest < (8, 0):
        return "compute capability 8.0 in TensorRT-RTX", ".".join(map(str, facts.lowest))
    if facts.major < needs.version:
        return f"TensorRT {needs.version}", runtime_name(facts)
    return None


def _known(facts: TensorRt, *, weight: bool) -> tuple[ir.DataType, ...]:
    return (_INT8, _FP8, _INT4) if weight and facts.major >= 10 else (_INT8, _FP8)


def _wrong_type(
    where: Where, name: str, kind: ir.DataType, facts: TensorRt, *, weight: bool
) -> Diagnostic:
    known = ", ".join(t.name.lower() for t in _known(facts, weight=weight))
    runtime = runtime_name(facts)
    return rules.QDQ_TYPE.at(
        where, tensor=name, type=kind.name.lower(), runtime=runtime, known=known
    )


def _is_bias(node: ir.Node) -> bool:
    return any(
        index == 2 and reader.op_type in PRODUCTS for reader, index in node.outputs[0].uses()
    )


def _values(model: Model) -> Iterator[ir.Value]:
    graph = model.graph.graph
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in all_nodes(model):
        yield from node.outputs


def _shape(value: ir.Value | None) -> tuple[int, ...] | None:
    tensor = constant_tensor(value)
    if tensor is not None:
        return tuple(int(n) for n in tensor.shape.numpy())
    return None


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def _name(value: ir.Value | None) -> str:
    return "" if value is None else value.name or ""


def _node_name(node: ir.Node) -> str:
    return node.name or node.outputs[0].name or ""


def _at(node: ir.Node) -> Where:
    return Where(node=_node_name(node))
