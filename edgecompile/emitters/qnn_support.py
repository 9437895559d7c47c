"""What Qualcomm's processors refuse of a model, from the target's facts; needs no compiler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx_ir as ir

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.qnn import (
    CHIP_REPLACED,
    INT4_PER_TENSOR,
    PRECISION_REFUSED,
    RANK_TOO_HIGH,
)
from edgecompile.emitters.interface import opset_problems, type_problems
from edgecompile.emitters.operators import operator_problems
from edgecompile.ir.facts import all_nodes, constant_array
from edgecompile.ir.model import Model
from edgecompile.targets.qnn_chips import chip_problem
from edgecompile.targets.schema import Qnn, QnnPrecision, Target

INTERFACE_TYPES = frozenset(
    {"bool", "float16", "float32", "int8", "int16", "int32", "int64"}
    | {"uint8", "uint16", "uint32"}
)
"""Element types that the provider takes from and gives to the application."""
PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_BITS = {
    ir.DataType.INT4: 4,
    ir.DataType.UINT4: 4,
    ir.DataType.INT8: 8,
    ir.DataType.UINT8: 8,
    ir.DataType.INT16: 16,
    ir.DataType.UINT16: 16,
}
_REFUSABLE = frozenset({"a16w8", "a16w4", "a16w16", "fp16"})
"""Of these the compiler lacks some on some chips; `a8w8` none lacks."""
_LAID_OUT = frozenset({"Conv", "ConvTranspose"})
"""Where a chip has no float, onnxruntime changes the layout of these before the compiler refuses
them, and ends with an error about a node of another name. Float products run on the CPU."""


def qnn_problems(model: Model, target: Target) -> list[Diagnostic]:
    """Everything that speaks against compiling `model` for `target`'s chips."""
    facts = target.qnn
    assert facts is not None, "a target with QNN artifacts has QNN facts"
    return [
        *_chips(facts, target),
        *_interface(model, target),
        *_ranks(model, facts),
        *_int4(model),
        *_precisions(model, facts),
        *_integers_only(model, facts, target),
        *operator_problems(model, target.operators),
    ]


def precision_of(node: ir.Node) -> QnnPrecision | None:
    """The widths that a matrix product or convolution computes in; None for other operators.

    Told from the integers behind the DequantizeLinear in front of its two operands; without them it
    is float, which the processor computes in half precision.
    """
    if node.domain or node.op_type not in PRODUCTS or len(node.inputs) < 2:
        return None
    data, weights = (_bits(value) for value in node.inputs[:2])
    if data is None or weights is None:
        return "fp16"
    if constant_array(_quantized(node.inputs[1])) is None:
        return "a8w8" if data == 8 else "a16w8"  # two activations: every chip multiplies 16 bits
    known: dict[tuple[int, int], QnnPrecision] = {
        (8, 8): "a8w8",
        (16, 8): "a16w8",
        (16, 4): "a16w4",
        (16, 16): "a16w16",
        (8, 4): "a16w4",
    }
    return known.get((data, weights), "fp16")


def arithmetic_of(node: ir.Node) -> str:
    """`int4`, `int8`, `int16` or `fp16`: the widest integers that a node computes in.

    `int4` where its weights have so few bits; `int32` where it handles no numbers of the network,
    but shapes, indices and masks.
    """
    precision = precision_of(node)
    if precision is not None:
        return {"a8w8": "int8", "a16w4": "int4", "fp16": "fp16"}.get(precision, "int16")
    widths = [_bits(value) for value in node.inputs if value is not None]
    widths += [
        _width(user.outputs[0], user)
        for value in node.outputs
        for user, _ in value.uses()
        if user.op_type == "QuantizeLinear"
    ]
    known = [width for width in widths if width is not None]
    if known:
        return f"int{max(known)}"
    return "fp16" if _handles_floats(node) else "int32"


def _handles_floats(node: ir.Node) -> bool:
    """Whether a computed input or an output of `node` holds floats, or what is not known."""
    read = [value for value in node.inputs if value is not None and constant_array(value) is None]
    kinds = [value.dtype for value in (*read, *node.outputs)]
    return any(kind is None or kind.is_floating_point() for kind in kinds)


def is_work(node: ir.Node) -> bool:
    """Whether a node computes something: constants and pairs of Q and DQ only say how."""
    return node.op_type not in QUANTIZERS and node.op_type != "Constant"


def _chips(facts: Qnn, target: Target) -> Iterator[Diagnostic]:
    for chip in facts.chips:
        if problem := chip_problem(chip):
            yield CHIP_REPLACED.at(
                target=target.id,
                soc_model=chip.soc_model,
                soc_type=chip.soc_type,
                problem=problem,
            )


def _interface(model: Model, target: Target) -> Iterator[Diagnostic]:
    yield from type_problems(model, INTERFACE_TYPES, "QNN")
    yield from opset_problems(model, target)


def _ranks(model: Model, facts: Qnn) -> Iterator[Diagnostic]:
    for node in all_nodes(model):
        for value in node.outputs:
            if value.shape is not None and len(value.shape) > facts.max_rank:
                where = Where(node=_name(node), tensor=value.name)
                rank = len(value.shape)
                yield RANK_TOO_HIGH.at(where, tensor=value.name, rank=rank, max=facts.max_rank)


def _int4(model: Model) -> Iterator[Diagnostic]:
    for node in all_nodes(model):
        if node.op_type not in PRODUCTS or len(node.inputs) < 2:
            continue
        maker = _dequantizer(node.inputs[1])
        if maker is None or _bits(node.inputs[1]) != 4:
            continue
        scale = constant_array(maker.inputs[1])
        if scale is not None and np.size(scale) == 1:
            yield INT4_PER_TENSOR.at(Where(node=_name(node)), node=_name(node))


def _integers_only(model: Model, facts: Qnn, target: Target) -> Iterator[Diagnostic]:
    """A DSP has no float arithmetic: a DLC without a product in integers asks nothing of it."""
    if facts.backend == "dsp":
        found = {_name(node): precision_of(node) for node in all_nodes(model)}
        names = [name for name, precision in found.items() if precision == "fp16"]
        if names and set(found.values()) <= {"fp16", None}:
            where = Where(node=names[0])
            yield PRECISION_REFUSED.at(
                where, chip=f"the DSP of {target.soc}", precision="float", nodes=shown(names)
            )


def _precisions(model: Model, facts: Qnn) -> Iterator[Diagnostic]:
    used: dict[QnnPrecision, list[str]] = {}
    for node in all_nodes(model):
        precision = precision_of(node)
        if precision == "fp16" and node.op_type not in _LAID_OUT:
            continue
        if precision in _REFUSABLE:
            used.setdefault(precision, []).append(_name(node))
    for chip in facts.chips:
        for precision, names in sorted(used.items()):
            if precision not in chip.accepts:
                yield PRECISION_REFUSED.at(
                    Where(node=names[0]),
                    chip=chip.soc_type,
                    precision=precision,
                    nodes=shown(names),
                )


def shown(names: Sequence[str]) -> str:
    """`node 'x'`, or how many and the first."""
    first = f"node '{names[0]}'"
    return first if len(names) == 1 else f"{len(names)} nodes, the first is '{names[0]}'"


def _bits(value: ir.Value | None) -> int | None:
    """Width of the integers behind a DequantizeLinear, through what only moves data."""
    maker = _dequantizer(value)
    return None if maker is None else _width(maker.inputs[0], maker)


def _width(stored: ir.Value | None, pair: ir.Node) -> int | None:
    """Of the integers `stored`, which `pair` writes or reads: its zero point has their type."""
    known = [stored, *pair.inputs[2:3]]
    types = [value.dtype for value in known if value is not None and value.dtype is not None]
    return _BITS.get(types[0]) if types else None


def _quantized(value: ir.Value | None) -> ir.Value | None:
    maker = _dequantizer(value)
    return None if maker is None else maker.inputs[0]


def _dequantizer(value: ir.Value | None) -> ir.Node | None:
    node = None if value is None else value.producer()
    while node is not None and node.op_type in {"Transpose", "Reshape"}:
        value = node.inputs[0]
        node = None if value is None else value.producer()
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _name(node: ir.Node) -> str:
    return node.name or (node.outputs[0].name if node.outputs else None) or node.op_type


def names_of(nodes: Iterable[ir.Node]) -> list[str]:
    """Their names, or those of their first outputs."""
    return [_name(node) for node in nodes]
