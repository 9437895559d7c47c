"""The best scales of one tensor's channels for quantized products, tried on samples of it.

Scales follow Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for
Large Language Models": s_c = max|x_c|^alpha / max|w_c|^(1 - alpha). Instead of one alpha for all,
each tensor tries several and keeps the one with the least squared error of its quantized products,
among them s = 1. Scales that leave the weights out, s_c = max|x_c|^alpha, are tried too: where
weights have a scale per output channel they take in what activations cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgecompile.passes.quantize.affine import (
    IntegerType,
    channel_parameters,
    tensor_parameters,
)
from edgecompile.passes.quantize.channel_scale import Layer, Scales
from edgecompile.passes.quantize.unfold import Unfolded

Floats = npt.NDArray[np.float32]
Exponents = tuple[float, float]
"""Of the activations' and of the weights' reach."""
TRIED = 4
"""Candidates that are tried on the samples, picked by their expected error."""
BINS = 2048
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the range that an activation may be clipped to: calibration clips too."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """One layer that reads the tensor, and rows of the tensor as it sees them, [G, N, K]."""

    layer: Layer
    view: Unfolded
    rows: Floats

    @cached_property
    def matrix(self) -> Floats:
        """The layer's weights, [G, M, K]."""
        return np.ascontiguousarray(self.view.matrix(self.layer.weights), np.float32)

    @cached_property
    def exact(self) -> Floats:
        """What the layer makes of the rows, [G, N, M]."""
        return self.rows @ self.matrix.swapaxes(1, 2)

    @cached_property
    def power(self) -> float:
        """Sum of the squares of `exact`."""
        return _squares(self.exact)


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
    exponents: Exponents
    before: float
    after: float


def scales_of(activations: Scales, weights: Scales, exponents: Exponents) -> Scales:
    """s_c for the largest magnitudes of each channel, their geometric mean 1.

    Channels without activations or weights keep 1: no scale helps them.
    """
    live = (activations > 0) & (weights > 0)
    if not live.any():
        return np.ones_like(activations)
    logarithm = exponents[0] * np.log(np.where(live, activations, 1.0))
    logarithm -= exponents[1] * np.log(np.where(live, weights, 1.0))
    centred = np.where(live, logarithm - logarithm[live].mean(), 0.0)
    # a channel that hardly ever fires must not get weights beyond what float32 holds well
    scales: Scales = np.exp(np.clip(centred, -12.0, 12.0))
    return scales


def best_smoothing(
    products: Sequence[Product], candidates: Sequence[Exponents], arithmetic: Arithmetic
) -> Smoothing:
    """Try `candidates` on the layers that share one tensor; s = 1 wins when none is better.

    Of many candidates only those of least expected error are tried.
    """
    activations = np.max([_reach(product) for product in products], axis=0)
    weights = np.max([product.layer.input_reach() for product in products], axis=0)
    ones = np.ones(len(activations))
    before = _error(products, ones, arithmetic)
    best = Smoothing(scales=ones, exponents=(0.0, 0.0), before=before, after=before)
    found = [(exponents, scales_of(activations, weights, exponents)) for exponents in candidates]
    if len(found) > TRIED:
        found.sort(key=lambda candidate: _expected(products, candidate[1], arithmetic))
    for exponents, scales in found[:TRIED]:
        error = _error(products, scales, arithmetic)
        if error < best.after:
            best = Smoothing(scales=scales, exponents=exponents, before=before, after=error)
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
    columns, divided = _divided(products, scales)
    low, high = _clipped(divided, arithmetic)
    for product, rows, factor in zip(products, divided, columns, strict=True):
        weights = _weights(product.matrix * factor, arithmetic)
        found = _activations(rows, low, high, arithmetic) @ weights.swapaxes(1, 2)
        found -= product.exact
        total += _squares(found) / (product.power or 1.0)
    return total


def _expected(products: Sequence[Product], scales: Scales, arithmetic: Arithmetic) -> float:
    """`_error` if those of inputs and weights were unrelated: no product has to be computed."""
    total = 0.0
    columns, divided = _divided(products, scales)
    low, high = _clipped(divided, arithmetic)
    for product, rows, factor in zip(products, divided, columns, strict=True):
        weights = product.matrix * factor
        lost = _by_column(_activations(rows, low, high, arithmetic) - rows) * _by_column(weights)
        off = _weights(weights.copy(), arithmetic) - weights
        felt = _by_column(rows) * _by_column(off)
        total += float(felt.sum() + lost.sum()) / (product.power or 1.0)
    return total


def _divided(
    products: Sequence[Product], scales: Scales
) -> tuple[Sequence[Floats], Sequence[Floats]]:
    """`scales` for the columns of each layer's rows, and the rows over them."""
    columns = [np.asarray(per_column(p.layer, scales), np.float32) for p in products]
    return columns, [p.rows / factor for p, factor in zip(products, columns, strict=True)]


def _by_column(array: Floats) -> Floats:
    """Sums of squares of the columns, [G, K]."""
    return np.asarray(np.einsum("gnk,gnk->gk", array, array), np.float32)


def _squares(array: Floats) -> float:
    """Sum of squares: in single precision of each row, in double over rows."""
    rows = np.einsum("gnm,gnm->gn", array, array)
    return float(rows.sum(dtype=np.float64))


def _clipped(arrays: Sequence[Floats], arithmetic: Arithmetic) -> tuple[float, float]:
    """The range of least squared error for the tensor, among shares of its extremes.

    All rows of the tensor count (it is the same for all of its layers): a few tokens far out decide
    what clipping costs, and a part of the rows would miss them.
    """
    low = min(float(array.min(initial=0.0)) for array in arrays)
    high = max(float(array.max(initial=0.0)) for array in arrays)
    if low == high:
        return low, high
    width = (high - low) / BINS
    places = ((arrays[0] - np.float32(low)) * np.float32(1 / width)).astype(np.int32).reshape(-1)
    counts = np.bincount(np.clip(places, 0, BINS - 1, out=places), minlength=BINS)
    values = (low + width * (np.arange(BINS) + 0.5)).astype(np.float32)
    errors = []
    for share in SHARES:
        restored = _activations(values, low * share, high * share, arithmetic)
        errors.append(float(np.square(restored - values) @ counts))
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
    """`matrix`, [G, M, K], as it comes back from integers, in place: a scale per output channel."""
    kind = arithmetic.weights
    reach = np.abs(matrix).max(axis=2 if arithmetic.per_channel else None, keepdims=True)
    parameters = channel_parameters(reach.reshape(-1), kind, axis=0)
    scale = parameters.scale.reshape(reach.shape)
    matrix /= scale
    np.rint(matrix, out=matrix)
    matrix *= scale
    return matrix
