"""Scales of weights: per channel, clipped where that lowers the error, safe from overflow.

Overflow: x86 CPUs with AVX2 but no VNNI multiply u8 by s8 with `vpmaddubsw`, which adds two
neighbouring products in 16 bits and saturates: 255 * 127 * 2 = 64770 > 32767 (Intel 64 and IA-32
Architectures Software Developer's Manual, PMADDUBSW). The usual cure, weights in 7 bits, halves the
resolution of every channel. The products that meet are those of two neighbouring input channels,
so it is enough that the same-signed weights of each such pair sum to at most 128.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgecompile.passes.quantize.affine import FloatArray, IntegerType

PAIR_LIMIT = 32767 / 255
"""Largest sum of two same-signed weights that cannot saturate against activations of 255."""

Clip = Literal["none", "mse"]
GRID = tuple(np.linspace(1.0, 0.5, 26))
STRIP = 1 << 16
HALVES = (1.0, 0.5, 0.25)
"""Shares that leave a power of two one."""


def channels_first(weights: FloatArray, axis: int | None) -> FloatArray:
    """`weights` as [C, K]: one row per output channel; one row in all when `axis` is None."""
    if axis is None:
        return weights.reshape(1, -1)
    rows: FloatArray = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    return rows


def weight_reach(
    weights: FloatArray,
    axis: int | None,
    dtype: IntegerType,
    *,
    clip: Clip,
    power_of_two: bool = False,
) -> FloatArray:
    """Largest magnitude that each channel represents, [C] (or a scalar without `axis`).

    With `power_of_two` those that such a scale can have, and `mse` chooses among them.

    `mse` searches the clipping that minimises the squared error of the quantized channel over a
    grid of shares of its maximum (Banner et al. 2019, "Post training 4-bit quantization", solves
    the same problem in closed form for known distributions).
    """
    rows = channels_first(weights, axis).astype(np.float32)
    top: FloatArray = np.abs(rows).max(axis=1)
    if power_of_two:
        top = _whole_powers(top, dtype)
    if clip == "mse":
        top = _least_error(rows, top, dtype, HALVES if power_of_two else GRID)
    return top if axis is not None else top.reshape(())


def _whole_powers(top: FloatArray, dtype: IntegerType) -> FloatArray:
    """The reach of the smallest power of two as a scale that cuts nothing off `top`."""
    steps = weight_steps(dtype)
    exponents = np.ceil(np.log2(np.where(top > 0, top, 1.0) / np.float64(steps)))
    whole: FloatArray = np.where(top > 0, 2.0**exponents * steps, 0.0).astype(np.float32)
    return whole


def _least_error(
    rows: FloatArray, top: FloatArray, dtype: IntegerType, shares: tuple[float, ...]
) -> FloatArray:
    best = np.empty(top.shape, np.float32)
    # as many rows at a time as a cache holds, all shares on them before the next
    strip = max(1, STRIP // max(1, rows.shape[1]))
    for start in range(0, len(rows), strip):
        part = slice(start, start + strip)
        best[part] = _least_error_of_strip(rows[part], top[part], weight_steps(dtype), shares)
    return best


def _least_error_of_strip(
    rows: FloatArray, top: FloatArray, steps: int, shares: tuple[float, ...]
) -> FloatArray:
    best, error = top.copy(), np.full(top.shape, np.inf)
    safe, restored = np.where(top > 0, top, 1.0), np.empty_like(rows)
    for share in shares:
        scale = (safe * share / steps).astype(np.float32)[:, None]
        np.divide(rows, scale, out=restored)
        np.rint(restored, out=restored)
        if share < 1:
            np.clip(restored, -steps, steps, out=restored)
        restored *= scale
        restored -= rows
        lost = np.square(restored, out=restored).sum(axis=1)
        better = lost < error
        best, error = np.where(better, top * share, best), np.where(better, lost, error)
    return best


def clip_to_reach(weights: FloatArray, reach: FloatArray, axis: int | None) -> FloatArray:
    """`weights` with every channel clipped to its `reach`."""
    if axis is None:
        return np.clip(weights, -reach, reach)
    shape = [1] * weights.ndim
    shape[axis] = -1
    bound = reach.reshape(shape)
    return np.clip(weights, -bound, bound)


def pair_reach(weights: FloatArray, axis: int | None, inner: int, dtype: IntegerType) -> FloatArray:
    """Smallest reach per channel ([C]; [1] without `axis`) at which no pair overflows 16 bits.

    `inner` is the axis along which the kernel multiplies and adds (input channels of a Conv, the
    shared dimension of a MatMul); its neighbours (0, 1), (2, 3), ... meet in one instruction. A
    single input channel leaves the kernel free to pair places instead (measured: rows of the
    kernel, with oneDNN on AVX-512 without VNNI), so there any two weights may meet.
    """
    if axis is None:
        weights, axis, inner = weights[None], 0, inner + 1
    moved: FloatArray = np.moveaxis(weights, (axis, inner), (0, 1))
    worst: FloatArray
    if moved.shape[1] == 1:
        worst = 2 * np.abs(moved).reshape(len(moved), -1).max(axis=1)
    else:
        if moved.shape[1] % 2:
            moved = np.concatenate([moved, np.zeros_like(moved[:, :1])], axis=1)
        pairs = moved.reshape(moved.shape[0], moved.shape[1] // 2, 2, -1)
        positive = np.maximum(pairs, 0).sum(axis=2).max(axis=(1, 2))
        worst = np.maximum(positive, np.maximum(-pairs, 0).sum(axis=2).max(axis=(1, 2)))
    # rounding can raise each of the two by half a step
    return (worst * weight_steps(dtype) / (PAIR_LIMIT - 1)).astype(np.float32)


def weight_steps(dtype: IntegerType) -> int:
    """Integers on either side of the zero point of a symmetric quantizer."""
    return (1 << (dtype.bits - 1)) - 1
