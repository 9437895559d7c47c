"""Which layers a DLA leaves to the GPU, told before anything is built.

Operators are those of the table `tensorrt-dla`; the limits of each are from
docs.nvidia.com/deeplearning/tensorrt, "DLA Supported Layers and Restrictions". What depends on the
layout of weights in the convolution buffer, and on scales that must be equal in INT8, is not
modelled: TensorRT's own log on the device has the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.tensorrt import DLA_LEAVES, DLA_PIECES
from edgecompile.emitters.operators import listed
from edgecompile.ir.facts import constant_array, constant_tensor, operator, static_shape
from edgecompile.ir.model import Model
from edgecompile.targets.operators import operator_table
from edgecompile.targets.schema import Target
from edgecompile.targets.tensorrt import Dla

_TABLE = "tensorrt-dla"
_VANISH = frozenset(
    {"Constant", "Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear"}
)
"""What no engine runs as a layer of its own."""
_INDICES = frozenset({ir.DataType.INT64, ir.DataType.INT32})
"""Shapes and indices, which TensorRT computes when it builds."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """A layer for the GPU."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """How a model falls apart between DLA and GPU."""

    layers: int
    left: tuple[Left, ...]
    pieces: int
    """Networks on the DLA, at least: what no path joins is compiled apart."""


def split(model: Model, dla: Dla) -> Split:
    """Ask every layer of the main graph. What is unknown of a shape speaks against nothing."""
    layers = [node for node in model.graph.graph if _is_layer(node)]
    left, kept = [], []
    for node in layers:
        reason = _reason(node, dla)
        if reason is None:
            kept.append(node)
        else:
            left.append(Left(node=_name(node), op=operator(node), reason=reason))
    return Split(layers=len(layers), left=tuple(left), pieces=_pieces(kept))


def dla_told(model: Model, target: Target) -> tuple[tuple[str, ...], tuple[Diagnostic, ...]]:
    """Notes and remarks for an artifact whose model runs on the target's DLA."""
    dla = None if target.tensorrt is None else target.tensorrt.dla
    if dla is None:
        return (), ()
    return (dla_summary(model, dla),), tuple(dla_remarks(model, dla))


def dla_remarks(model: Model, dla: Dla) -> list[Diagnostic]:
    """One warning per operator and reason, and one for too many pieces."""
    found = split(model, dla)
    groups: dict[tuple[str, str], list[str]] = {}
    for one in found.left:
        groups.setdefault((one.op, one.reason), []).append(one.node)
    remarks = [
        DLA_LEAVES.at(Where(node=names[0]), op=op, reason=reason, nodes=listed(names))
        for (op, reason), names in groups.items()
    ]
    if found.pieces > dla.max_loadables:
        remarks.append(DLA_PIECES.at(pieces=found.pieces, most=dla.max_loadables))
    return remarks


def dla_summary(model: Model, dla: Dla) -> str:
    """`48 of 50 layers for the DLA in 2 pieces, 2 for the GPU`."""
    found = split(model, dla)
    pieces = "1 piece" if found.pieces == 1 else f"{found.pieces} pieces"
    taken = found.layers - len(found.left)
    return (
        f"{taken} of {found.layers} layers for the DLA in {pieces}, {len(found.left)} for the GPU"
    )


def _is_layer(node: ir.Node) -> bool:
    if node.op_type in _VANISH and not node.domain:
        return False
    return any(value.dtype not in _INDICES for value in node.outputs)


def _reason(node: ir.Node, dla: Dla) -> str | None:
    """Why it is left to the GPU; None for what the DLA takes."""
    table = operator_table(_TABLE)
    if not table.entries(node.domain, node.op_type):
        return "it has no such layer"
    entries = table.entries(node.domain, node.op_type, dla.generation)
    if not entries:
        return f"that of the {dla.generation.capitalize()} has no such layer"
    if all(entry.limitation for entry in entries):
        return f"it takes it only so: {entries[0].limitation}"
    sizes = static_shape(node.outputs[0])
    if sizes is not None and max(sizes[1:], default=0) > dla.max_dimension:
        return f"a side of its output is {max(sizes[1:])}, above {dla.max_dimension}"
    return next(_LIMITS.get(node.op_type, _spatial)(node), None)


def _spatial(node: ir.Node) -> Iterator[str]:
    """Most layers have two spatial dimensions: [N, C, H, W]."""
    for value in (*node.inputs[:1], *node.outputs[:1]):
        if value is not None and value.shape is not None and len(value.shape) != 4:
            yield f"it takes tensors of 4 dimensions, and one here has {len(value.shape)}"


def _within(node: ir.Node, name: str, low: int, high: int, what: str) -> Iterator[str]:
    values = _ints(node, name)
    if any(not low <= value <= high for value in values):
        shown = " x ".join(map(str, values))
        yield f"its {what} {shown} is outside of {low} to {high}"


def _convolution(node: ir.Node) -> Iterator[str]:
    yield from _spatial(node)
    weight = node.inputs[1]
    sizes = static_shape(weight)
    if not _constant(weight):
        yield "its weights are no constant"
    if sizes is not None and any(not 1 <= size <= 32 for size in sizes[2:]):
        yield f"its kernel {' x '.join(map(str, sizes[2:]))} is outside of 1 to 32"
    if sizes is not None and sizes[0] > 8192:
        yield f"it has {sizes[0]} output channels, more than 8192"
    yield from _within(node, "pads", 0, 31, "padding")
    yield from _within(node, "strides", 1, 8, "stride")
    yield from _within(node, "dilations", 1, 32, "dilation")


def _deconvolution(node: ir.Node) -> Iterator[str]:
    yield from _spatial(node)
    sizes = static_shape(node.inputs[1]) or ()
    if any(not 1 <= size <= 32 for size in sizes[2:]):
        yield f"its kernel {' x '.join(map(str, sizes[2:]))} is outside of 1 to 32"
    if node.attributes.get("group") is not None and node.attributes["group"].as_int() > 1:
        yield "it has groups"
    yield from _within(node, "pads", 0, 0, "padding")
    yield from _within(node, "strides", 1, 32, "stride")
    yield from _within(node, "dilations", 1, 1, "dilation")


def _product(node: ir.Node) -> Iterator[str]:
    if not _constant(node.inputs[1]):
        yield "its second operand is no constant"


def _pooling(node: ir.Node) -> Iterator[str]:
    yield from _spatial(node)
    yield from _within(node, "kernel_shape", 1, 8, "window")
    yield from _within(node, "pads", 0, 7, "padding")
    yield from _within(node, "strides", 1, 16, "stride")
    yield from _within(node, "dilations", 1, 1, "dilation")


def _clip(node: ir.Node) -> Iterator[str]:
    yield from _spatial(node)
    low, high = (_number(node, index, name) for index, name in ((1, "min"), (2, "max")))
    if low != 0.0 or high is None or not 1.0 <= high <= 127.0:
        yield f"its bounds are {low} and {high}, and not 0 and something between 1 and 127"


def _concatenation(node: ir.Node) -> Iterator[str]:
    yield from _spatial(node)
    if node.attributes["axis"].as_int() not in (1, -3):
        yield "it joins along the axis of channels only"
    if len(node.inputs) < 2:
        yield "it joins one tensor only"


def _resize(node: ir.Node) -> Iterator[str]:
    yield from _spatial(node)
    attribute = node.attributes.get("mode")
    mode = "nearest" if attribute is None else attribute.as_string()
    most = {"nearest": 32, "linear": 4}.get(mode)
    if most is None:
        yield f"it has no mode '{mode}'"
        return
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if before is None or after is None or len(before) != 4:
        return
    if before[:2] != after[:2]:
        yield "it scales height and width only"
    factors = [b / a for a, b in zip(before[2:], after[2:], strict=True)]
    if any(not 1.0 <= factor <= most for factor in factors):
        shown = " x ".join(f"{factor:g}" for factor in factors)
        yield f"its factor {shown} is outside of 1 to {most} of the mode '{mode}'"


def _window(node: ir.Node) -> Iterator[str]:
    yield from _spatial(node)
    if node.attributes["size"].as_int() not in (3, 5, 7, 9):
        yield f"its window {node.attributes['size'].as_int()} is none of 3, 5, 7, 9"


def _slope(node: ir.Node) -> Iterator[str]:
    yield from _spatial(node)
    if not _constant(node.inputs[1]):
        yield "its slope is no constant"


def _slice(node: ir.Node) -> Iterator[str]:
    yield from _spatial(node)
    if not all(value is None or _constant(value) for value in node.inputs[1:]):
        yield "its bounds are no constants"


_LIMITS: dict[str, Callable[[ir.Node], Iterator[str]]] = {
    "Conv": _convolution,
    "ConvTranspose": _deconvolution,
    "Gemm": _product,
    "MatMul": _product,
    "MaxPool": _pooling,
    "AveragePool": _pooling,
    "Clip": _clip,
    "Concat": _concatenation,
    "Resize": _resize,
    "Upsample": _resize,
    "LRN": _window,
    "PRelu": _slope,
    "Slice": _slice,
}
"""Operators that have more limits than the number of dimensions."""


def _pieces(nodes: Sequence[ir.Node]) -> int:
    """Groups of `nodes` that are joined by edges or by those that vanish."""
    parent = {id(node): id(node) for node in nodes}

    def root(key: int) -> int:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for node in nodes:
        for source in _sources(node):
            if id(source) in parent:
                parent[root(id(node))] = root(id(source))
    return len({root(key) for key in parent})


def _sources(node: ir.Node) -> Iterable[ir.Node]:
    """Producers of its inputs, seen through what vanishes."""
    for value in node.inputs:
        source = None if value is None else value.producer()
        while source is not None and not _is_layer(source):
            before = source.inputs[0] if source.inputs else None
            source = None if before is None else before.producer()
        if source is not None:
            yield source


def _constant(value: ir.Value | None) -> bool:
    """Whether it is one, seen through what vanishes: the pair of a weight does."""
    while value is not None and constant_tensor(value) is None:
        node = value.producer()
        value = node.inputs[0] if node is not None and node.op_type in _VANISH else None
    return value is not None


def _ints(node: ir.Node, name: str) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return () if attribute is None else tuple(attribute.as_ints())


def _number(node: ir.Node, index: int, name: str) -> float | None:
    """A bound of Clip: an input from opset 11 on, an attribute before."""
    if name in node.attributes:
        return float(node.attributes[name].as_float())
    array = constant_array(node.inputs[index]) if len(node.inputs) > index else None
    return None if array is None or array.size != 1 else float(array.reshape(()))


def _name(node: ir.Node) -> str:
    return node.name or node.outputs[0].name or node.op_type
