"""Operators as matrix products: the rows of their input and the matrix of their weights.

A convolution is the product of its unfolded input patches, [N, C/G * kernel], with its weights,
[M/G, C/G * kernel], in each of G groups. Rounding methods that look at inputs work on that form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.passes.quantize.affine import FloatArray

Array = npt.NDArray[Any]
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class MatrixRows:
    """Rows of a MatMul's or Gemm's left operand, [..., K]."""

    tensor: str
    length: int
    transposed: bool = False
    """Whether weights are stored [N, K] instead of [K, N]."""

    @property
    def shape(self) -> tuple[int, int]:
        """One group, K inputs."""
        return 1, self.length

    def pick(self, array: FloatArray, limit: int, rng: np.random.Generator) -> FloatArray:
        """At most `limit` rows, [1, N, K]."""
        rows: FloatArray = array.reshape(-1, self.length)
        return rows[_draw(len(rows), limit, rng)][None]

    def matrix(self, weights: Array) -> Array:
        """Weights as [1, N, K]."""
        return (weights if self.transposed else weights.T)[None]

    def restored(self, matrix: Array) -> Array:
        """The inverse of `matrix`."""
        plain: Array = matrix[0]
        return plain if self.transposed else plain.T

    def partners(self) -> list[int]:
        """For each of the K columns, the one that it meets in a 16-bit pair, or -1.

        A column that is its own partner may meet any other.
        """
        return _pairs(self.length, 1)


@dataclass(frozen=True, kw_only=True)
class ConvolutionRows:
    """Patches of a Conv's input, [N, C, ...]."""

    tensor: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads | None
    """Begin and end of each spatial axis; None pads so that outputs are ceil(size / stride)."""
    pad_low: bool
    """Where an odd sum of automatic pads puts the extra one: true for SAME_LOWER."""
    groups: int
    channels: int
    """Input channels per group."""

    @property
    def shape(self) -> tuple[int, int]:
        """Groups and C/G * kernel."""
        return self.groups, self.channels * int(np.prod(self.kernel))

    def pick(self, array: FloatArray, limit: int, rng: np.random.Generator) -> FloatArray:
        """At most `limit` patches, the same places in each group: [G, N, C/G * kernel]."""
        places, starts = [len(array)], [0]
        for size, pads, kernel, stride, dilation in zip(
            array.shape[2:],
            self._pads(array.shape[2:]),
            self.kernel,
            self.strides,
            self.dilations,
            strict=True,
        ):
            free = size + sum(pads) - (kernel - 1) * dilation - 1
            places.append(max(0, free // stride + 1))
            starts.append(-pads[0])
        drawn = np.unravel_index(_draw(int(np.prod(places)), limit, rng), places)
        return self._patches(array, np.stack(drawn), np.asarray(starts))

    def _patches(self, array: FloatArray, drawn: Array, starts: Array) -> FloatArray:
        """Those at the places `drawn`, [axis, N]. What is padding is read elsewhere, then zero."""
        sizes = np.asarray((len(array), *array.shape[2:])).reshape(-1, 1, 1)
        corners = drawn * np.reshape((1, *self.strides), (-1, 1)) + starts[:, None]
        offsets = np.indices((1, *self.kernel)).reshape(len(sizes), -1, 1)
        at = corners[:, None] + offsets * np.reshape((1, *self.dilations), (-1, 1, 1))
        outside = ((at < 0) | (at >= sizes)).any(axis=0)
        inside = np.clip(at, 0, sizes - 1)
        index = np.ravel_multi_index(tuple(inside), tuple(sizes.ravel()))
        # channel by channel: what one of them gives lies close together
        picked = array.swapaxes(0, 1).reshape(array.shape[1], -1).take(index, axis=1)
        if outside.any():
            picked[:, outside] = 0
        rows: FloatArray = picked.reshape(self.groups, -1, index.shape[1])
        return rows.swapaxes(1, 2)

    def matrix(self, weights: Array) -> Array:
        """Weights [M, C/G, kernel...] as [G, M/G, C/G * kernel]."""
        return weights.reshape(self.groups, weights.shape[0] // self.groups, -1)

    def restored(self, matrix: Array) -> Array:
        """The inverse of `matrix`."""
        return matrix.reshape(-1, self.channels, *self.kernel)

    def partners(self) -> list[int]:
        """Neighbouring input channels meet at the same place of the kernel.

        Those of depthwise kernels never meet; of a single input channel any two places may.
        """
        if self.channels == 1:
            return [-1] * self.shape[1] if self.groups > 1 else list(range(self.shape[1]))
        return _pairs(self.channels, int(np.prod(self.kernel)))

    def _pads(self, sizes: tuple[int, ...]) -> Pads:
        if self.pads is not None:
            return self.pads
        pads = []
        for size, kernel, stride, dilation in zip(
            sizes, self.kernel, self.strides, self.dilations, strict=True
        ):
            span = (kernel - 1) * dilation + 1
            whole = max(0, (-(-size // stride) - 1) * stride + span - size)
            small, large = whole // 2, whole - whole // 2
            pads.append((large, small) if self.pad_low else (small, large))
        return tuple(pads)


Unfolded = MatrixRows | ConvolutionRows


def unfold(node: ir.Node, index: int, weights: FloatArray) -> Unfolded | None:
    """How `node` multiplies its constant input `index`; None where it is no such product.

    ConvTranspose, a constant left operand and transposed activations are left out.
    """
    source = node.inputs[0]
    if index != 1 or source is None:
        return None
    tensor = source.name or ""
    if node.op_type == "MatMul" and weights.ndim == 2:
        return MatrixRows(tensor=tensor, length=weights.shape[0])
    if node.op_type == "Gemm" and not node.attributes.get_int("transA", 0):
        flipped = bool(node.attributes.get_int("transB", 0))
        return MatrixRows(tensor=tensor, length=weights.shape[int(flipped)], transposed=flipped)
    if node.op_type == "Conv":
        return _convolution(node, tensor, weights)
    return None


def _convolution(node: ir.Node, tensor: str, weights: FloatArray) -> ConvolutionRows:
    kernel = weights.shape[2:]
    ones, zeros = [1] * len(kernel), [0] * 2 * len(kernel)
    pads: Pads | None
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    flat = node.attributes.get_ints("pads", zeros) if auto == "NOTSET" else zeros
    pads = tuple((flat[i], flat[i + len(kernel)]) for i in range(len(kernel)))
    return ConvolutionRows(
        tensor=tensor,
        kernel=kernel,
        strides=tuple(node.attributes.get_ints("strides", ones)),
        dilations=tuple(node.attributes.get_ints("dilations", ones)),
        pads=None if auto.startswith("SAME") else pads,
        pad_low=auto == "SAME_LOWER",
        groups=node.attributes.get_int("group", 1),
        channels=weights.shape[1],
    )


def _draw(count: int, limit: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    if count <= limit:
        return np.arange(count)
    return np.sort(rng.choice(count, limit, replace=False))


def _pairs(channels: int, places: int) -> list[int]:
    return [
        (channel ^ 1) * places + place if channel ^ 1 < channels else -1
        for channel in range(channels)
        for place in range(places)
    ]
