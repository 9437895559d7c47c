"""The best scales of one tensor's channels for quantized products, tried on samples of it.

Scales follow Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for
Large Language Models": s_c = max|x_c|^alpha / max|w_c|^(1 - alpha). Instead of one alpha for all,
each tensor tries several and keeps the one with the least squared error of its quantized products,
among them s = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecompile.passes.quantize.affine import (
    IntegerType,
    channel_parameters,
    dequantize,
    quantize,
    tensor_parameters,
)
from edgecompile.passes.quantize.channel_scale import Layer, Scales
from edgecompile.passes.quantize.unfold import Unfolded

Floats = npt.NDArray[np.float32]
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the range that an activation may be clipped to: calibration clips too."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """One layer that reads the tensor, and rows of the tensor as it sees them, [G, N, K]."""

    layer: Layer
    view: Unfolded
    rows: Floats


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """How activations and weights will be quantized."""

    activations: IntegerType
    weights: IntegerType
    symmetric: bool
    per_channel: bool


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """The scales found, [C], with their exponent, and the error with and without them."""

    scales: Scales
    alpha: float
    before: float
    after: float


def scales_of(activations: Scales, weights: Scales, alpha: float) -> Scales:
    """s_c for the largest magnitudes of each channel, their geometric mean 1.

    Channels without activations or weights keep 1: no scale helps them.
    """
    live = (activations > 0) & (weights > 0)
    if not live.any():
        return np.ones_like(activations)
    logarithm = alpha * np.log(np.where(live, activations, 1.0))
    logarithm -= (1 - alpha) * np.log(np.where(live, weights, 1.0))
    centred = np.where(live, logarithm - logarithm[live].mean(), 0.0)
    # a channel that hardly ever fires must not get weights beyond what float32 holds well
    scales: Scales = np.exp(np.clip(centred, -12.0, 12.0))
    return scales


def best_smoothing(
    products: Sequence[Product], alphas: Sequence[float], arithmetic: Arithmetic
) -> Smoothing:
    """Try `alphas` on the layers that share one tensor; s = 1 wins when none is better."""
    activations = np.max([_reach(product) for product in products], axis=0)
    weights = np.max([product.layer.input_reach() for product in products], axis=0)
    ones = np.ones(len(activations))
    before = _error(products, ones, arithmetic)
    best = Smoothing(scales=ones, alpha=0.0, before=before, after=before)
    for alpha in alphas:
        scales = scales_of(activations, weights, alpha)
        error = _error(products, scales, arithmetic)
        if error < best.after:
            best = Smoothing(scales=scales, alpha=alpha, before=before, after=error)
    return best


def per_column(layer: Layer, scales: Scales) -> Scales:
    """`scales`, [C], for the columns of the layer's rows: [G, 1, K]."""
    places = layer.by_input(layer.weights).shape[3]
    columns: Scales = np.repeat(scales.reshape(layer.groups, 1, -1), places, axis=2)
    return columns


def _reach(product: Product) -> Scales:
    places = product.layer.by_input(product.layer.weights).shape[3]
    columns = np.abs(product.rows).max(axis=1, initial=0.0)
    return np.asarray(columns.reshape(-1, places).max(axis=1), np.float64)


def _error(products: Sequence[Product], scales: Scales, arithmetic: Arithmetic) -> float:
    """Mean squared error of the quantized products, each over the power of its exact ones."""
    total = 0.0
    divided: list[Floats] = [
        np.asarray(p.rows / per_column(p.layer, scales), np.float32) for p in products
    ]
    low, high = _clipped(divided, arithmetic)
    for product, rows in zip(products, divided, strict=True):
        weights = product.layer.times_input(scales).astype(np.float32)
        matrix = product.view.matrix(weights).astype(np.float32)
        plain = product.view.matrix(product.layer.weights)
        exact = product.rows @ plain.swapaxes(1, 2)
        found = _activations(rows, low, high, arithmetic) @ _weights(matrix, arithmetic).swapaxes(
            1, 2
        )
        power = float(np.square(exact, dtype=np.float64).sum())
        total += float(np.square(found - exact, dtype=np.float64).sum()) / (power or 1.0)
    return total


def _clipped(arrays: Sequence[Floats], arithmetic: Arithmetic) -> tuple[float, float]:
    """The range of least squared error for the tensor, among shares of its extremes."""
    low = min(float(array.min(initial=0.0)) for array in arrays)
    high = max(float(array.max(initial=0.0)) for array in arrays)
    # All rows of the tensor (it is the same for all of its layers): a few tokens far out decide
    # what clipping costs, and a part of the rows would miss them.
    values = arrays[0]
    errors = []
    for share in SHARES:
        restored = _activations(values, low * share, high * share, arithmetic)
        errors.append(float(np.square(restored - values).mean()))
    share = SHARES[int(np.argmin(errors))]
    return low * share, high * share


def _activations(rows: Floats, low: float, high: float, arithmetic: Arithmetic) -> Floats:
    """`rows` as they come back from integers; in float and in place, since it runs so often."""
    kind = arithmetic.activations
    parameters = tensor_parameters(low, high, kind, symmetric=arithmetic.symmetric)
    zero = float(parameters.zero_point)
    restored: Floats = rows / parameters.scale
    np.rint(restored, out=restored)
    np.clip(restored, kind.qmin - zero, kind.qmax - zero, out=restored)
    restored *= parameters.scale
    return restored


def _weights(matrix: Floats, arithmetic: Arithmetic) -> Floats:
    """`matrix`, [G, M, K], as it comes back from integers, a scale per output channel."""
    flat = matrix.reshape(-1, matrix.shape[2])
    reach = np.abs(flat).max(axis=1) if arithmetic.per_channel else np.abs(flat).max()
    axis = 0 if arithmetic.per_channel else None
    parameters = channel_parameters(reach, arithmetic.weights, axis=axis)
    return dequantize(quantize(flat, parameters), parameters).reshape(matrix.shape)
