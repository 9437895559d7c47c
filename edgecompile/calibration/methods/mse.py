"""`mse`: the range with the smallest expected squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.method import Pair, RangeMethod
from edgecompile.calibration.search import Moments, reaches, without_zero_spike

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_CANDIDATES = 48
_SMALLEST = 1 / 32


class Mse(RangeMethod):
    """Weighs what is clipped against what is rounded: E[(x - quantized(x))^2] is least.

    Rounding inside the range costs step^2 / 12 on average; with that, all pairs of ends are
    compared at once. The best of them and the full range are then measured on the histogram, so
    the result is never worse there than `minmax`; below 8 bits also the ranges around the best.
    """

    id: ClassVar[str] = "mse"
    source: ClassVar[str] = "Banner et al., arXiv:1810.05723, section 4 (clipping by expected MSE)"
    per_sample: ClassVar[bool] = False

    def pick(self, histogram: Histogram, *, bits: int = 8, symmetric: bool = False) -> Pair:
        """The best pair of ends."""
        full = (histogram.min, histogram.max)
        if full[0] == full[1]:
            return full
        centres = histogram.centres
        best = _best_estimate(histogram, centres, bits, symmetric)
        finalists = [full, best] if bits >= 8 else [full, best, *_around(best, full)]
        errors = [
            squared_error(centres, histogram.counts, pair, bits, symmetric=symmetric)
            for pair in dict.fromkeys(finalists)
        ]
        return list(dict.fromkeys(finalists))[int(np.argmin(errors))]


def _around(best: Pair, full: Pair) -> list[Pair]:
    """Ends a little nearer and further: with few levels the estimate of rounding is rough."""
    factors = np.linspace(0.75, 1.25, 11).tolist()
    return [
        (max(best[0] * left, full[0]), min(best[1] * right, full[1]))
        for left in factors
        for right in factors
    ]


def _best_estimate(histogram: Histogram, centres: Array, bits: int, symmetric: bool) -> Pair:
    reach = reaches(histogram, _CANDIDATES, _SMALLEST)
    low = np.unique(np.maximum(histogram.min, -reach if histogram.min < 0 else histogram.min))
    high = np.unique(np.minimum(histogram.max, reach if histogram.max > 0 else histogram.max))
    moments = Moments.of(histogram, centres, without_zero_spike(histogram))
    below, above = moments.clipping(low, high)
    if symmetric:
        span = 2 * np.maximum(np.abs(low)[:, None], np.abs(high)[None, :])
    else:
        span = np.maximum(high, 0.0)[None, :] - np.minimum(low, 0.0)[:, None]
    rounding = (span / (2**bits - 1)) ** 2 / 12 * moments.weight[-1]
    cost = below[:, None] + above[None, :] + rounding
    row, column = np.unravel_index(int(np.argmin(cost)), cost.shape)
    return float(low[row]), float(high[column])


def squared_error(
    centres: Array, counts: Array, ends: Pair, bits: int, *, symmetric: bool = False
) -> float:
    """Sum of squared errors of `counts` values at `centres` when `ends` get `bits` bits.

    The range is widened to hold zero, as quantizers do, or made symmetric; zero is a level.
    """
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    scale, lowest = (high - low) / (2**bits - 1), 0.0
    if symmetric:
        scale = max(-low, high) / (2 ** (bits - 1) - 1)
        lowest = 1.0 - 2 ** (bits - 1)
    if scale == 0.0:
        return float(counts @ centres**2)
    lowest = lowest or np.rint(low / scale)
    steps = np.rint(centres / scale)
    np.clip(steps, lowest, lowest + 2**bits - (2 if symmetric else 1), out=steps)
    error = centres - steps * scale
    return float(counts @ (error * error))
