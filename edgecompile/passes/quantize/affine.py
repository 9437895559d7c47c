"""Affine (uniform) quantization: q = clip(round(x / scale) + zero_point), x' = (q - zero) scale.

The arithmetic of ONNX `QuantizeLinear` and `DequantizeLinear`: division in float32, rounding half
to even. Source: ONNX operator specification; Jacob et al. 2018, "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[Any]

SMALLEST_SCALE = float(np.finfo(np.float32).tiny) * 256
"""A scale below this makes x / scale overflow or lose its last bits in float32."""


@dataclass(frozen=True, kw_only=True)
class IntegerType:
    """A quantized element type and the integers that may be used of it."""

    name: str
    bits: int
    signed: bool
    narrow: bool = False
    """Symmetric use: leave out the lowest integer, so that -x is representable when x is."""

    @property
    def qmin(self) -> int:
        """Smallest integer used."""
        return (-(1 << (self.bits - 1)) + int(self.narrow)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Largest integer used."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def storage(self) -> np.dtype[Any]:
        """The numpy type that holds it, one element per item (4-bit types take a byte)."""
        width = max(8, self.bits)
        return np.dtype(f"{'int' if self.signed else 'uint'}{width}")


def integer_type(name: str, *, narrow: bool = False) -> IntegerType:
    """`int8`, `uint8`, `int4`, ... as an `IntegerType`. Raises `ValueError` for another name."""
    signed = name.startswith("int")
    digits = name.removeprefix("u").removeprefix("int")
    if not digits.isdigit() or int(digits) not in {2, 4, 8, 16, 32}:
        raise ValueError(f"'{name}' is not an integer type")
    return IntegerType(name=name, bits=int(digits), signed=signed, narrow=narrow and signed)


@dataclass(frozen=True, kw_only=True)
class AffineParameters:
    """`scale` and `zero_point`: scalars per tensor, or one per channel along `axis` ([C])."""

    scale: FloatArray
    zero_point: IntArray
    type: IntegerType
    axis: int | None = None

    def aligned(self, rank: int) -> tuple[FloatArray, IntArray]:
        """Scale and zero point shaped to broadcast against an array of `rank` dimensions."""
        if self.axis is None:
            return self.scale, self.zero_point
        shape = [1] * rank
        shape[self.axis] = -1
        return self.scale.reshape(shape), self.zero_point.reshape(shape)


def tensor_parameters(
    low: float, high: float, dtype: IntegerType, *, symmetric: bool, power_of_two: bool = False
) -> AffineParameters:
    """Per-tensor parameters that represent [low, high], widened to hold zero exactly.

    Symmetric unsigned types put the zero point at the middle of the range. A range of width zero
    gives scale 1, which represents the constant's nearest integer.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    zero = _zero_point(low, high, dtype, symmetric=symmetric)
    # With the zero point rounded, the side that it leaves fewer integers sets the scale: nothing of
    # the range is cut, and data on a grid of as many levels (pixels) does not fall on ties.
    sides = ((high, dtype.qmax - zero), (-low, zero - dtype.qmin))
    scale = max((reach / count for reach, count in sides if count), default=0.0)
    if scale < SMALLEST_SCALE:
        scale = 1.0
    if power_of_two:
        scale = power_of_two_above(scale)
    return AffineParameters(
        scale=np.asarray(np.float32(scale)),
        zero_point=np.asarray(zero, dtype.storage),
        type=dtype,
    )


def power_of_two_above(scale: float) -> float:
    """The smallest power of two that is at least `scale` (positive)."""
    return float(2.0 ** np.ceil(np.log2(scale)))


def _zero_point(low: float, high: float, dtype: IntegerType, *, symmetric: bool) -> int:
    if symmetric:
        return 0 if dtype.signed else 1 << (dtype.bits - 1)
    width = high - low
    share = -low / width if width > 0 else 0.0
    return round(dtype.qmin + share * (dtype.qmax - dtype.qmin))


def channel_parameters(
    reach: FloatArray, dtype: IntegerType, *, axis: int | None, power_of_two: bool = False
) -> AffineParameters:
    """Symmetric parameters for weights: `reach` ([C], or a scalar) is the largest magnitude kept.

    Channels that are all zero get scale 1.
    """
    middle = 0 if dtype.signed else 1 << (dtype.bits - 1)
    scale = np.asarray(reach, np.float64) / (dtype.qmax - middle)
    scale = np.where(scale < SMALLEST_SCALE, 1.0, scale)
    if power_of_two:
        scale = 2.0 ** np.ceil(np.log2(scale))
    zero = np.full(scale.shape, middle, dtype.storage)
    return AffineParameters(scale=scale.astype(np.float32), zero_point=zero, type=dtype, axis=axis)


def quantize(array: FloatArray, parameters: AffineParameters) -> IntArray:
    """Integers of `array` under `parameters`, in the storage type."""
    scale, zero = parameters.aligned(array.ndim)
    steps = np.rint(array.astype(np.float32) / scale) + zero.astype(np.float32)
    clipped: IntArray = np.clip(steps, parameters.type.qmin, parameters.type.qmax)
    return clipped.astype(parameters.type.storage)


def dequantize(integers: IntArray, parameters: AffineParameters) -> FloatArray:
    """Real values of `integers` under `parameters`, float32."""
    scale, zero = parameters.aligned(integers.ndim)
    difference = integers.astype(np.int32) - zero.astype(np.int32)
    return (difference.astype(np.float32) * scale).astype(np.float32)
