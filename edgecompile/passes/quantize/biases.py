"""Biases in integers, added to the sums of an integer kernel before anything is scaled.

The kernel's sums count in units of (scale of the activation) x (scale of the weight), so a bias in
32 bits has just that scale, per output channel, and zero point 0. Source: Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
section 2.4. A bias that does not fit (the products of its channel are far smaller than it) gets a
larger scale, and its weights with it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecompile.passes.quantize.affine import (
    SMALLEST_SCALE,
    AffineParameters,
    FloatArray,
    IntArray,
    integer_type,
    quantize,
    tensor_parameters,
)

LARGEST_BIAS = 15 << 27
"""15/16 of 31 bits. The rest is left for the products: 4096 of 8 by 8 bits at their largest."""
DoubleArray = npt.NDArray[np.float64]
Found = tuple[IntArray, AffineParameters]


def least_weight_scale(bias: FloatArray, activation_scale: float) -> DoubleArray:
    """Smallest scale of the weights, per channel (last axis of `bias`), with which `bias` fits.

    A scalar for a scalar bias. Also large enough that the product of the scales is a normal number.
    """
    reach = np.abs(bias.astype(np.float64))
    if reach.ndim > 1:
        reach = reach.reshape(-1, reach.shape[-1]).max(axis=0)
    floor: DoubleArray = np.maximum(reach / LARGEST_BIAS, SMALLEST_SCALE) / activation_scale
    return floor


def integer_bias(
    bias: FloatArray, activation_scale: float, weight_scale: FloatArray
) -> Found | None:
    """`bias` in INT32 with the scale of its products, along its last axis where that is a vector.

    None where the vector has another length: such a bias varies along another axis. The scale is
    the float32 product, so that the runtime finds the very number that it computes itself.
    """
    dtype = integer_type("int32")
    scale = np.float32(activation_scale) * np.asarray(weight_scale, np.float32)
    axis = None
    if scale.ndim:
        if not bias.ndim or bias.shape[-1] != scale.size:
            return None
        axis = bias.ndim - 1
    steps = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    integers = np.clip(steps, -(1 << 31), (1 << 31) - 1).astype(np.int32)
    zero = np.zeros(scale.shape, np.int32)
    return integers, AffineParameters(
        scale=np.asarray(scale, np.float32), zero_point=zero, type=dtype, axis=axis
    )


def own_scale_bias(bias: FloatArray, *, power_of_two: bool) -> Found:
    """`bias` in INT8, symmetric, with one scale of its own."""
    reach, dtype = float(np.abs(bias).max(initial=0.0)), integer_type("int8", narrow=True)
    parameters = tensor_parameters(-reach, reach, dtype, symmetric=True, power_of_two=power_of_two)
    return quantize(bias.astype(np.float32), parameters), parameters
