"""`entropy`: the range that keeps most of the information (smallest KL divergence)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.method import Pair, RangeMethod
from edgecompile.calibration.search import reaches, running, without_zero_spike

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Index = NDArray[np.intp]

_CANDIDATES = 48
_SMALLEST = 1 / 16
_TIE = 0.1
"""Divergences within this share of the least differ by noise; the widest range clips least."""
_ABSENT = 1e-4
"""Share of an average bin that stands in where the quantized distribution has nothing."""


class Entropy(RangeMethod):
    """Minimizes KL(P || Q) over the reach of the range, as TensorRT does.

    P are the bins inside the range, what lies outside added to the outermost; Q the same bins
    without what lies outside, spread evenly over the bins of each quantization level that hold
    anything. Unlike ONNX Runtime's, whose 128 bins equal its 128 levels and leave nothing to
    choose, it starts from thousands of bins. With more levels than bins it is `minmax`.
    """

    id: ClassVar[str] = "entropy"
    source: ClassVar[str] = "Migacz, 8-bit inference with TensorRT, GTC 2017, S7310"
    per_sample: ClassVar[bool] = False

    def pick(self, histogram: Histogram, *, bits: int = 8, symmetric: bool = False) -> Pair:
        """The best range among those cut at a common reach."""
        full = (histogram.min, histogram.max)
        levels = 2**bits
        if 2 * levels > histogram.counts.size:
            return full
        reach = reaches(histogram, _CANDIDATES, _SMALLEST)
        divergence = _divergence(histogram, reach, levels, symmetric)
        least = float(divergence.min())
        good = np.flatnonzero(divergence <= least + _TIE * abs(least))
        best = float(reach[good[-1]])
        return max(full[0], -best), min(full[1], best)


def _divergence(histogram: Histogram, reach: Array, levels: int, symmetric: bool) -> Array:
    """KL(P || Q) for each reach, from running sums alone: `[candidates]`.

    Q is constant over the bins of a level, so sum P log Q needs only the sums per level. The
    outermost bins take their level's Q also where they are empty themselves.
    """
    counts = without_zero_spike(histogram)
    size = counts.size
    low, high = -reach, reach
    if not symmetric:
        low, high = (
            np.maximum(low, min(histogram.min, 0.0)),
            np.minimum(high, max(histogram.max, 0.0)),
        )
    ends = low[:, None] + (high - low)[:, None] * (np.arange(levels + 1) / levels)
    at = _edges_near(ends / histogram.width, histogram.first, size)
    weight, filled = running(counts), running((counts > 0).astype(np.float64))
    entropy = running(counts * np.log(np.where(counts > 0, counts, 1.0)))
    inside = np.diff(weight[at], axis=1)
    bins = np.diff(filled[at], axis=1)
    left, right = at[:, 0], at[:, -1]
    total, kept = weight[-1], weight[right] - weight[left]
    lost_left, lost_right = weight[left], total - weight[right]
    first, last = counts[np.minimum(left, size - 1)], counts[np.maximum(right - 1, 0)]
    own = entropy[right] - entropy[left]
    own += _xlogx(first + lost_left) - _xlogx(first) + _xlogx(last + lost_right) - _xlogx(last)
    log_q = np.log(np.maximum(inside / np.maximum(bins, 1.0), _ABSENT * total / size))
    cross = (inside * log_q).sum(axis=1)
    cross += lost_left * log_q[:, 0] + lost_right * log_q[:, -1]
    divergence: Array = (own - cross) / total + np.log(np.maximum(kept, _ABSENT * total) / total)
    return divergence


def _edges_near(ends: Array, first: int, size: int) -> Index:
    """Index of the histogram's edge nearest to each of `ends`, in widths; bin 0 is two wide."""
    right = ends > 0
    nearest = np.where(right, np.maximum(np.rint(ends), 1.0), np.minimum(np.rint(ends), -1.0) + 1)
    index: Index = np.clip(nearest - first, 0, size).astype(np.intp)
    return index


def _xlogx(values: Array) -> Array:
    return values * np.log(np.where(values > 0, values, 1.0))
