"""What the operators' inputs are to a quantizer: activations, weights, biases, passed-on data."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.ir.facts import constant_array

FLOAT_TYPES = frozenset({ir.DataType.FLOAT})


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A constant operand: its input index, output-channel axis, and the axis summed along."""

    index: int
    axis: int | None
    inner: int | None = None


@dataclass(frozen=True, kw_only=True)
class Operands:
    """Inputs of one operator that are quantized, by index."""

    activations: tuple[int, ...]
    weights: tuple[Weight, ...] = ()
    bias: int | None = None
    """Index of a constant bias that is added to plain products of the other operands."""
    constants: tuple[int, ...] = ()
    """Constants that are read like activations."""

    @property
    def product(self) -> bool:
        """Whether two activations are multiplied with each other, as in attention."""
        return len(self.activations) == 2 and not self.weights


SMALLEST_TABLE = 4096
"""Tables with fewer numbers are not worth a DequantizeLinear."""
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
MATRIX_PRODUCTS = frozenset({"MatMul", "Gemm"})
ELEMENTWISE = frozenset({"Add", "Mul", "Sub"})
POOLING = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
NORMALISATIONS = frozenset({"LayerNormalization", "InstanceNormalization", "GroupNormalization"})
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
FIRST_INPUT = frozenset({"Clip", "Resize", "Upsample", "Pad", "TopK", "Dropout", "GridSample"})
"""Operators whose further inputs are settings and not data."""


def operands_of(node: ir.Node) -> Operands | None:
    """The quantizable operands of `node` where only inputs carry pairs; None if it has none."""
    if node.op_type in CONVOLUTIONS:
        return _convolution(node)
    if node.op_type in MATRIX_PRODUCTS:
        return _matrix_product(node)
    if node.op_type == "Gather":
        return _embedding(node)
    if node.op_type in POOLING:
        return Operands(activations=(0,))
    if node.op_type in ELEMENTWISE:
        varying = tuple(i for i, v in enumerate(node.inputs) if constant_array(v) is None)
        return Operands(activations=varying) if len(varying) == 2 else None
    return None


def data_operands(node: ir.Node) -> Operands | None:
    """The same for any other operator: each of its float inputs, constants too. None for none."""
    if node.op_type in RECURRENT:
        return None
    if node.op_type in NORMALISATIONS:
        return _normalisation(node)
    count = 1 if node.op_type in FIRST_INPUT else len(node.inputs)
    floats = [i for i in range(count) if _is_float(node.inputs[i])]
    constants = tuple(i for i in floats if constant_array(node.inputs[i]) is not None)
    varying = tuple(i for i in floats if i not in constants)
    return Operands(activations=varying, constants=constants) if varying else None


def unit_operands(node: ir.Node) -> Operands | None:
    """The quantizable operands of `node` where outputs carry pairs too."""
    if node.op_type in CONVOLUTIONS | MATRIX_PRODUCTS:
        return operands_of(node)
    return data_operands(node)


def why_not_integer(node: ir.Node, operands: Operands | None) -> str:
    """Why `node` cannot run in integers, or an empty string when it can."""
    if operands is None:
        if node.op_type in RECURRENT:
            return "recurrent: the rounding of its state would add up from step to step"
        if node.op_type == "Gather":
            return "it reads no embedding table"
        if node.op_type in MATRIX_PRODUCTS:
            return "both of its operands are constants"
        if node.op_type in ELEMENTWISE:
            return "one input is a constant: the runtime folds it into its neighbour"
        if node.op_type in CONVOLUTIONS:
            return "its weights are computed at run time"
        return "it has no operand that can be quantized"
    for index in (*operands.activations, *(weight.index for weight in operands.weights)):
        value = node.inputs[index]
        if value is None or value.dtype not in FLOAT_TYPES:
            kind = "absent" if value is None else str(value.dtype or "of unknown type")
            return f"input {index} is {kind}, not float32"
    return ""


def _convolution(node: ir.Node) -> Operands | None:
    kernel = constant_array(node.inputs[1])
    if kernel is None:
        return None
    group = _int(node, "group", 1)
    if node.op_type == "Conv":
        depthwise = group > 1 and kernel.shape[1] == 1
        weight = Weight(index=1, axis=0, inner=None if depthwise else 1)
    else:
        # a grouped ConvTranspose, [C, M/group, ...], has no axis that holds its output channels
        weight = Weight(index=1, axis=1 if group == 1 else None, inner=0)
    return Operands(activations=(0,), weights=(weight,), bias=_bias(node))


def _matrix_product(node: ir.Node) -> Operands | None:
    left, right = (constant_array(v) for v in node.inputs[:2])
    if left is not None and right is not None:
        return None
    gemm = node.op_type == "Gemm"
    if right is not None:
        flipped = gemm and bool(_int(node, "transB", 0))
        weight = _matrix(1, right.ndim, channels_last=not flipped)
        return Operands(activations=(0,), weights=(weight,), bias=_bias(node))
    if left is not None:
        flipped = gemm and bool(_int(node, "transA", 0))
        weight = _matrix(0, left.ndim, channels_last=flipped)
        return Operands(activations=(1,), weights=(weight,), bias=_bias(node))
    return Operands(activations=(0, 1), bias=_bias(node))


def _embedding(node: ir.Node) -> Operands | None:
    """Rows of a table picked by number: no arithmetic, but most of the bytes of a text model."""
    table = constant_array(node.inputs[0])
    if table is None or table.ndim != 2 or table.size < SMALLEST_TABLE or _int(node, "axis", 0):
        return None
    return Operands(activations=(), weights=(Weight(index=0, axis=0),))


def _matrix(index: int, rank: int, *, channels_last: bool) -> Weight:
    if rank != 2:
        # a stack of matrices: rows of the left one have no axis that runtimes take a scale along
        if rank < 2:
            return Weight(index=index, axis=None, inner=0)
        inner = rank - 2 if channels_last else rank - 1
        return Weight(index=index, axis=rank - 1 if channels_last else None, inner=inner)
    return Weight(index=index, axis=int(channels_last), inner=int(not channels_last))


def _normalisation(node: ir.Node) -> Operands | None:
    """Scale and shift are parameters, each with one scale: the axis is that of the data."""
    scale = node.inputs[1] if len(node.inputs) > 1 else None
    if scale is None:
        return Operands(activations=(0,))
    if constant_array(scale) is None:
        return None
    return Operands(activations=(0,), weights=(Weight(index=1, axis=None),), bias=_bias(node))


def _bias(node: ir.Node) -> int | None:
    """Its bias, if that is constant and nothing scales the sum."""
    if len(node.inputs) < 3 or constant_array(node.inputs[2]) is None:
        return None
    plain = all(_float(node, name, 1.0) == 1.0 for name in ("alpha", "beta"))
    return 2 if plain or node.op_type != "Gemm" else None


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype in FLOAT_TYPES


SINGLE_INPUT = frozenset(
    {
        "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "MaxPool",
        "DepthToSpace", "SpaceToDepth", "Gather", "Expand", "Tile", "Identity",
    }
)  # fmt: skip


def passes_through(node: ir.Node) -> bool:
    """Whether the output holds only values of the inputs (and so their scale serves for it)."""
    if node.domain not in ("", "ai.onnx") or any(v.uses() for v in node.outputs[1:]):
        return False
    if node.op_type == "Resize":
        return _str(node, "mode", "nearest") == "nearest"
    if node.op_type == "Pad":
        return _zero_padding(node)
    return node.op_type in SINGLE_INPUT or node.op_type == "Concat"


def splits(node: ir.Node) -> bool:
    """Whether it is a Split, which passes one input on in parts."""
    return node.op_type == "Split" and node.domain in ("", "ai.onnx")


def data_inputs(node: ir.Node) -> tuple[int, ...]:
    """Indices of the inputs whose values a pass-through operator passes on."""
    return tuple(range(len(node.inputs))) if node.op_type == "Concat" else (0,)


def _zero_padding(node: ir.Node) -> bool:
    if _str(node, "mode", "constant") != "constant":
        return True
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return True
    constant = constant_array(value)
    return constant is not None and not constant.any()


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def _float(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def _str(node: ir.Node, name: str, default: str) -> str:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()
