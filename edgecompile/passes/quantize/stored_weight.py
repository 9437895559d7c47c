"""Weights of a graph that are stored in integers, seen as matrices: what rounding passes work on.

Bit width, channel axis, blocks and zero points are read from the graph: from a `DequantizeLinear`
of a constant (one scale, one per channel, or blocks of opset 21) or from a `MatMulNBits`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_array, constant_tensor
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import NoteBook
from edgecompile.passes.graph.edit import graph_of, input_at
from edgecompile.passes.quantize.affine import FloatArray, IntegerType
from edgecompile.passes.quantize.nbits import is_nbits, pack_rows, unpack_rows
from edgecompile.passes.quantize.second_order import Lattice, Matrix
from edgecompile.passes.quantize.stored_bias import BIAS, rescale_bias
from edgecompile.passes.quantize.unfold import MatrixRows, Unfolded, unfold
from edgecompile.passes.quantize.weight_blocks import pack_nibbles

LINEAR = ("Conv", "ConvTranspose", "MatMul", "Gemm")


@dataclass(frozen=True, kw_only=True)
class StoredWeight(ABC):
    """One weight in integers of one operator, and the float one that it stands for.

    Matrices are [G, M, K]: groups, outputs of a group, inputs. Steps are integers less their zero
    point.
    """

    name: str
    """Of the operator's output, the same in the float model."""
    rows: Unfolded
    original: FloatArray
    consumer: ir.Node
    """The operator, in the quantized model."""
    scale: FloatArray
    """[G, M, B], one for each of B equal runs of inputs."""
    zero: FloatArray
    """Zero points, like `scale`."""
    shared: bool = False
    """Whether all scales are one, and must stay so."""

    @property
    @abstractmethod
    def kind(self) -> IntegerType:
        """The integers that it is stored in."""

    @abstractmethod
    def integers(self) -> Matrix:
        """What is stored now, as float32."""

    @abstractmethod
    def store(self, integers: Matrix) -> None:
        """Put others in their place."""

    @abstractmethod
    def store_scale(self, scale: FloatArray) -> None:
        """Put other scales in the place of `scale`; the bias that goes with them follows."""

    def floats(self) -> Matrix:
        """The float weights."""
        return np.ascontiguousarray(self.rows.matrix(self.original), np.float32)

    def rows_here(self) -> Unfolded:
        """The rows as the quantized model has them."""
        return replace(self.rows, tensor=self.consumer.inputs[0].name or "")  # type: ignore[union-attr]

    @property
    def shape(self) -> tuple[int, ...]:
        """G, M, K."""
        groups, inputs = self.rows.shape
        return groups, self.original.size // (groups * inputs), inputs

    def spread(self, per_block: FloatArray) -> Matrix:
        """[G, M, B] as [G, M, K]."""
        return np.repeat(per_block, self.shape[2] // per_block.shape[2], axis=2)

    def steps(self) -> Matrix:
        """The stored integers less their zero points."""
        return self.integers() - self.spread(self.zero)

    def keep(self, steps: Matrix) -> None:
        """Store `steps`."""
        self.store(steps + self.spread(self.zero))

    def lattice(self, scale: FloatArray | None = None) -> Lattice:
        """What the weight can be, under its own or another `scale`, [G, M, B].

        The lowest integer of a signed type is left out unless it is in use already.
        """
        kind, zero = self.kind, self.spread(self.zero)
        lowest = kind.qmin
        if kind.signed and not np.any(self.integers() == lowest):
            lowest += 1
        return Lattice(
            scale=self.spread(self.scale if scale is None else scale),
            low=lowest - zero,
            high=kind.qmax - zero,
        )


@dataclass(frozen=True, kw_only=True)
class Dequantized(StoredWeight):
    """Behind a `DequantizeLinear`."""

    node: ir.Node

    @property
    def kind(self) -> IntegerType:
        """By the element type."""
        name = _tensor(self.node.inputs[0]).dtype.name.lower()
        digits = name.removeprefix("u").removeprefix("int")
        return IntegerType(name=name, bits=int(digits), signed=name[0] != "u")

    def integers(self) -> Matrix:
        """Of the constant."""
        stored = _tensor(self.node.inputs[0]).numpy().astype(np.float32)
        return np.ascontiguousarray(self.rows.matrix(stored))

    def store(self, integers: Matrix) -> None:
        """In the constant's type; a constant that others read too gets a copy."""
        old, kind = _tensor(self.node.inputs[0]), self.kind
        array = self.rows.restored(integers).astype(kind.storage)
        if np.array_equal(array, old.numpy().astype(kind.storage)):
            return
        array = np.ascontiguousarray(array)
        if kind.bits == 4:
            packed = pack_nibbles(array)
            tensor = ir.PackedTensor(packed, old.dtype, shape=array.shape, name=old.name)
            _put(self.node, 0, tensor)
        else:
            _put(self.node, 0, ir.tensor(array, dtype=old.dtype, name=old.name))

    def store_scale(self, scale: FloatArray) -> None:
        """As a scalar, per channel, or in blocks: as it was."""
        old = _tensor(self.node.inputs[1])
        before = old.numpy()
        if self.shared:
            array = np.full(before.shape, scale.reshape(-1)[0], np.float32)
        elif "block_size" in self.node.attributes:
            array = np.ascontiguousarray(self.rows.restored(scale), np.float32)
        else:
            array = scale.reshape(before.shape).astype(np.float32)
        _put(self.node, 1, ir.tensor(array, name=old.name))
        rescale_bias(self.consumer, (scale / self.scale)[:, :, 0].reshape(-1))


@dataclass(frozen=True, kw_only=True)
class NBits(StoredWeight):
    """Inside a `MatMulNBits` of 4 bits."""

    @property
    def kind(self) -> IntegerType:
        """Always unsigned."""
        return IntegerType(name="uint4", bits=4, signed=False)

    def integers(self) -> Matrix:
        """Unpacked."""
        packed = _tensor(self.consumer.inputs[1]).numpy()
        return unpack_rows(packed, self.shape[1], self.shape[2]).astype(np.float32)[None]

    def store(self, integers: Matrix) -> None:
        """Packed."""
        old = _tensor(self.consumer.inputs[1])
        array = pack_rows(integers[0]).reshape(old.numpy().shape)
        if not np.array_equal(array, old.numpy()):
            _put(self.consumer, 1, ir.tensor(array, name=old.name))

    def store_scale(self, scale: FloatArray) -> None:
        """In the shape that it had."""
        old = _tensor(self.consumer.inputs[2])
        array = scale[0].reshape(old.numpy().shape).astype(np.float32)
        _put(self.consumer, 2, ir.tensor(array, name=old.name))


def stored_weights(
    model: Model, reference: Model, book: NoteBook, *, largest_inputs: int
) -> Iterator[StoredWeight]:
    """The weights of `model` that are integers and whose float form `reference` holds.

    Those that are left alone are told in `book`. Operators with more than `largest_inputs` inputs
    per output are among them.
    """
    originals = {node.outputs[0].name: node for node in reference.graph.graph if node.outputs}
    for node in model.graph.graph:
        if is_nbits(node):
            found = _nbits(node, originals.get(node.outputs[0].name))
        elif node.op_type == "DequantizeLinear" and constant_array(node.inputs[0]) is not None:
            found = _dequantized(node, originals, book)
        else:
            continue
        if found is None:
            continue
        if found.rows.shape[1] > largest_inputs:
            book.fail(f"more than {largest_inputs} inputs: left as it is", found.consumer.name)
            continue
        yield found


def _dequantized(
    node: ir.Node, originals: dict[str | None, ir.Node], book: NoteBook
) -> StoredWeight | None:
    uses = sorted(node.outputs[0].uses(), key=lambda use: use[0].outputs[0].name or "")
    if len(uses) != 1:
        book.fail("weights shared by several operators: left as they are", node.name)
        return None
    consumer, index = uses[0]
    original = originals.get(consumer.outputs[0].name)
    weights = None if original is None else constant_array(input_at(original, index))
    rows = None if original is None or weights is None else unfold(original, index, weights)
    numbers = None if rows is None else _parameters(node, rows)
    if rows is None or weights is None or numbers is None:
        if consumer.op_type in LINEAR and index < BIAS:
            text = "not a product of rows and weights: left as it is"
            book.fail(text, consumer.name, op_type=consumer.op_type)
        return None
    scale, zero = numbers
    return Dequantized(
        name=consumer.outputs[0].name or "",
        rows=rows,
        original=weights,
        consumer=consumer,
        scale=scale,
        zero=zero,
        shared=constant_array(node.inputs[1]) is not None and _tensor(node.inputs[1]).size == 1,
        node=node,
    )


def _parameters(node: ir.Node, rows: Unfolded) -> tuple[FloatArray, FloatArray] | None:
    """Scale and zero point as [G, M, B]; None for a form that no matrix takes."""
    integers, scale = _tensor(node.inputs[0]).numpy(), constant_array(node.inputs[1])
    if scale is None:
        return None
    stored = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    zero = np.zeros(scale.shape, np.float32) if stored is None else stored.astype(np.float32)
    groups, _ = rows.shape
    outputs = integers.size // (groups * rows.shape[1])
    axis = node.attributes.get_int("axis", 1)
    if "block_size" in node.attributes:
        along = 1 if isinstance(rows, MatrixRows) and rows.transposed else 0
        if not isinstance(rows, MatrixRows) or axis % 2 != along:
            return None
        return _matrix(rows, scale), _matrix(rows, zero)
    if scale.size == 1:
        flat = (groups, outputs, 1)
        return _filled(scale, flat), _filled(zero, flat)
    channel = 1 if isinstance(rows, MatrixRows) and not rows.transposed else 0
    if axis % integers.ndim != channel or scale.size != groups * outputs:
        return None
    return _row(scale, groups), _row(zero, groups)


def _nbits(node: ir.Node, original: ir.Node | None) -> StoredWeight | None:
    weights = None if original is None else constant_array(original.inputs[1])
    rows = None if original is None or weights is None else unfold(original, 1, weights)
    scale = constant_array(node.inputs[2])
    if rows is None or weights is None or scale is None:
        return None
    columns, blocks = weights.shape[1], scale.size // weights.shape[1]
    zero = np.full((columns, blocks), 8, np.float32)
    packed = constant_array(node.inputs[3]) if len(node.inputs) > 3 else None
    if packed is not None:
        zero = unpack_rows(packed, columns, blocks).astype(np.float32)
    return NBits(
        name=node.outputs[0].name or "",
        rows=rows,
        original=weights,
        consumer=node,
        scale=scale.astype(np.float32).reshape(1, columns, blocks),
        zero=zero[None],
    )


def _matrix(rows: Unfolded, array: FloatArray) -> FloatArray:
    return np.ascontiguousarray(rows.matrix(array), np.float32)


def _filled(array: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    return np.full(shape, array.reshape(-1)[0], np.float32)


def _row(array: FloatArray, groups: int) -> FloatArray:
    return array.astype(np.float32).reshape(groups, -1, 1)


def _tensor(value: ir.Value | None) -> ir.TensorProtocol:
    tensor = constant_tensor(value)
    assert tensor is not None
    return tensor


def _put(node: ir.Node, index: int, tensor: ir.TensorProtocol) -> None:
    """Give input `index` another constant; others that read the old one keep it."""
    value, graph = node.inputs[index], graph_of(node)
    assert value is not None
    if value.is_initializer() and len(value.uses()) == 1:
        value.const_value = tensor
        return
    name = Names(graph).unique(f"{value.name}_rounded")
    tensor.name = name
    kind, shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
    own = ir.Value(name=name, const_value=tensor, type=kind, shape=shape)
    graph.register_initializer(own)
    node.replace_input_with(index, own)
