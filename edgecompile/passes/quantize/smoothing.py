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

    @property
    def places(self) -> int:
        """Elements of a channel that an output is made of: those under a kernel."""
        return int(self.layer.by_input(self.layer.weights).shape[3])

    @cached_property
    def values(self) -> Floats:
        """The tensor at the middle of each row's kernel, [G, N, C/G]: rows repeat its elements."""
        groups, count, _ = self.rows.shape
        spread = self.rows.reshape(groups, count, -1, self.places)
        return np.ascontiguousarray(spread[..., self.places // 2])

    @cached_property
    def ends(self) -> tuple[Scales, Scales]:
        """Least and largest value of each channel, [C], and never on one side of 0."""
        columns = self.rows.min(axis=1, initial=0.0), self.rows.max(axis=1, initial=0.0)
        low, high = (np.asarray(part.reshape(-1, self.places), np.float64) for part in columns)
        return low.min(axis=1), high.max(axis=1)

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
    products: Sequence[Product],
    candidates: Sequence[Exponents],
    arithmetic: Arithmetic,
    *,
    gain: float = 1.0,
) -> Smoothing | None:
    """Try `candidates` on the layers that share one tensor; s = 1 wins when none is better.

    Of many candidates only those of least expected error are tried, and none that is far from
    taking the error down by the factor `gain`: its square root must be expected. None when there is
    nothing to try.
    """
    ends = [product.ends for product in products]
    activations = np.max([np.maximum(-low, high) for low, high in ends], axis=0)
    weights = np.max([product.layer.input_reach() for product in products], axis=0)
    ones = np.ones(len(activations))
    found = [(exponents, scales_of(activations, weights, exponents)) for exponents in candidates]
    if len(found) > TRIED:
        worth = _expected(products, ones, arithmetic) / np.sqrt(gain)
        expected = [_expected(products, scales, arithmetic) for _, scales in found]
        order = [i for i in np.argsort(expected, kind="stable") if expected[i] < worth]
        found = [found[i] for i in order[:TRIED]]
    if not found:
        return None
    before = _error(products, ones, arithmetic)
    best = Smoothing(scales=ones, exponents=(0.0, 0.0), before=before, after=before)
    for exponents, scales in found:
        error = _error(products, scales, arithmetic)
        if error < best.after:
            best = Smoothing(scales=scales, exponents=exponents, before=before, after=error)
    return best


def per_column(layer: Layer, scales: Scales) -> Scales:
    """`scales`, [C], for the columns of the layer's rows: [G, 1, K]."""
    places = layer.by_input(layer.weights).shape[3]
    columns: Scales = np.repeat(scales.reshape(layer.groups, 1, -1), places, axis=2)
    return columns


def _error(products: Sequence[Product], scales: Scales, arithmetic: Arithmetic) -> float:
    """Mean squared error of the quantized products, each over the power of its exact ones."""
    total = 0.0
    low, high = _clipped(products, scales, arithmetic)
    for product in products:
        factor = np.asarray(per_column(product.layer, scales), np.float32)
        weights = _weights(product.matrix * factor, arithmetic)
        rows = _activations(product.rows / factor, low, high, arithmetic)
        found = rows @ weights.swapaxes(1, 2)
        found -= product.exact
        total += _squares(found) / (product.power or 1.0)
    return total


def _expected(products: Sequence[Product], scales: Scales, arithmetic: Arithmetic) -> float:
    """`_error` if those of inputs and weights were unrelated: no product has to be computed.

    It is taken channel by channel: wherever a kernel reads a channel, its values are alike.
    """
    total = 0.0
    low, high = _clipped(products, scales, arithmetic)
    for product in products:
        values, channels = _scaled_values(product, scales), (product.rows.shape[0], -1)
        weights = product.matrix * np.asarray(per_column(product.layer, scales), np.float32)
        off = _weights(weights.copy(), arithmetic) - weights
        made, lost = (
            _by_column(array).reshape(*channels, product.places).sum(axis=2)
            for array in (weights, off)
        )
        rounded = _activations(values, low, high, arithmetic) - values
        felt = _by_column(values) * lost + _by_column(rounded) * made
        total += float(felt.sum()) / (product.power or 1.0)
    return total


def _scaled_values(product: Product, scales: Scales) -> Floats:
    divisor = scales.reshape(product.rows.shape[0], 1, -1)
    return np.divide(product.values, divisor, dtype=np.float32)


def _by_column(array: Floats) -> Floats:
    """Sums of squares of the columns, [G, K]."""
    return np.asarray(np.einsum("gnk,gnk->gk", array, array), np.float32)


def _squares(array: Floats) -> float:
    """Sum of squares: in single precision of each row, in double over rows."""
    rows = np.einsum("gnm,gnm->gn", array, array)
    return float(rows.sum(dtype=np.float64))


def _clipped(
    products: Sequence[Product], scales: Scales, arithmetic: Arithmetic
) -> tuple[float, float]:
    """The range of least squared error for the tensor, among shares of its extremes.

    All positions that were drawn count (they are the same for all of its layers): a few tokens far
    out decide what clipping costs, and a part of them would miss them.
    """
    low = min(float((product.ends[0] / scales).min(initial=0.0)) for product in products)
    high = max(float((product.ends[1] / scales).max(initial=0.0)) for product in products)
    if low == high:
        return low, high
    width = (high - low) / BINS
    places = _scaled_values(products[0], scales)
    places -= np.float32(low)
    places *= np.float32(1 / width)
    bins = places.astype(np.int32).reshape(-1)
    counts = np.bincount(np.clip(bins, 0, BINS - 1, out=bins), minlength=BINS)
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
