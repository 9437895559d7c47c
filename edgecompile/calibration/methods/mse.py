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

_CANDIDATES = 64
_SMALLEST = 1 / 32
_FINALISTS = 3


class Mse(RangeMethod):
    """Weighs what is clipped against what is rounded: E[(x - quantized(x))^2] is least.

    Rounding inside the range costs step^2 / 12 on average; with that, all pairs of ends are
    compared at once. The best of them and the full range are then measured on the histogram, so
    the result is never worse there than `minmax`.
    """

    id: ClassVar[str] = "mse"
    source: ClassVar[str] = "Banner et al., arXiv:1810.05723, section 4 (clipping by expected MSE)"

    def pick(self, histogram: Histogram, *, bits: int = 8, symmetric: bool = False) -> Pair:
        """The best pair of ends."""
        full = (histogram.min, histogram.max)
        if full[0] == full[1]:
            return full
        finalists = [full, *_candidates(histogram, bits, symmetric)]
        errors = [squared_error(histogram, *pair, bits, symmetric=symmetric) for pair in finalists]
        return finalists[int(np.argmin(errors))]


def _candidates(histogram: Histogram, bits: int, symmetric: bool) -> list[Pair]:
    reach = reaches(histogram, _CANDIDATES, _SMALLEST)
    low = np.unique(np.maximum(histogram.min, -reach if histogram.min < 0 else histogram.min))
    high = np.unique(np.minimum(histogram.max, reach if histogram.max > 0 else histogram.max))
    moments = Moments.of(histogram, without_zero_spike(histogram))
    below, above = moments.clipping(low, high)
    if symmetric:
        span = 2 * np.maximum(np.abs(low)[:, None], np.abs(high)[None, :])
    else:
        span = np.maximum(high, 0.0)[None, :] - np.minimum(low, 0.0)[:, None]
    rounding = (span / (2**bits - 1)) ** 2 / 12 * moments.weight[-1]
    cost = below[:, None] + above[None, :] + rounding
    best = np.argsort(cost, axis=None, kind="stable")[:_FINALISTS]
    rows, columns = np.unravel_index(best, cost.shape)
    return [(float(low[i]), float(high[j])) for i, j in zip(rows, columns, strict=True)]


def squared_error(
    histogram: Histogram, low: float, high: float, bits: int, *, symmetric: bool = False
) -> float:
    """Sum of squared errors of the bins' centres when [low, high] is quantized to `bits` bits.

    The range is widened to hold zero, as quantizers do, or made symmetric; zero is a level.
    """
    if symmetric:
        reach = max(abs(low), abs(high))
        scale, lowest, highest = reach / (2 ** (bits - 1) - 1), -reach, reach
    else:
        lowest, highest = min(low, 0.0), max(high, 0.0)
        scale = (highest - lowest) / (2**bits - 1)
    if scale == 0.0:
        return float(histogram.counts @ histogram.centres**2)
    centres = histogram.centres
    steps = np.clip(np.rint(centres / scale), np.rint(lowest / scale), np.rint(highest / scale))
    return float(histogram.counts @ (centres - steps * scale) ** 2)
