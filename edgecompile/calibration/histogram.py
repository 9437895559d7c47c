"""`Histogram`: exact extremes, and counts in bins that grow with the range of the values.

Bins lie on an absolute grid: value v is in bin trunc(v / w), so bin 0 reaches from -w to w. The
width w is the smallest power of two with which at most `BINS` bins reach from the smallest to the
largest value. When the range grows, bins are merged, which loses nothing: trunc(v / 2w) is
trunc(trunc(v / w) / 2), and dividing by a power of two is exact in floating point (what vanishes is
in bin 0 anyway). The histogram therefore depends on the values only, never on their order or on
how they were cut into samples, and histograms made apart can be merged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 4096
"""Most bins a histogram has; while its range is not zero it has more than a quarter of them."""
_FINEST_EXPONENT = -120
_MANTISSA_BITS = 22
"""|v| / w stays below 2**22, so that bin numbers are exact in float32."""


@dataclass
class Histogram:
    """What is known of one tensor's values: exact extremes, and weights of bins.

    `samples` counts the samples that had any values; `sum_min` and `sum_max` add up their extremes.
    """

    min: float = math.inf
    max: float = -math.inf
    samples: int = 0
    sum_min: float = 0.0
    sum_max: float = 0.0
    exponent: int = _FINEST_EXPONENT
    """Width of a bin is 2**exponent."""
    first: int = 0
    """Number of the first bin on the absolute grid."""
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Weight of each bin: how many elements of the tensor it stands for."""

    @property
    def width(self) -> float:
        """Width of a bin, in the tensor's units."""
        return math.ldexp(1.0, self.exponent)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins, one more than there are bins."""
        bins = np.arange(self.first, self.first + self.counts.size, dtype=np.float64)
        left = bins - (bins <= 0)
        return np.append(left, bins[-1:] + (bins[-1:] >= 0)) * self.width

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middle of each bin, drawn into the exact extremes."""
        edges = self.edges
        return np.clip((edges[:-1] + edges[1:]) / 2, self.min, self.max)

    def see_samples(self, lows: Sequence[float], highs: Sequence[float]) -> None:
        """Take in the exact, finite extremes of some samples, at least one."""
        self.samples += len(lows)
        self.sum_min += math.fsum(lows)
        self.sum_max += math.fsum(highs)
        self.cover(min(lows), max(highs))

    def cover(self, low: float, high: float) -> None:
        """Make room for values from `low` to `high`, and take them as extremes."""
        if low >= self.min and high <= self.max:
            return
        self.min, self.max = min(self.min, low), max(self.max, high)
        exponent = max(self.exponent, _exponent(self.min, self.max))
        first, last = _bin(self.min, exponent), _bin(self.max, exponent)
        self._regrid(exponent, first, last - first + 1)

    def add(self, values: NDArray[np.floating], weight: float = 1.0) -> None:
        """Count finite `values`, each for `weight` elements. They may widen the range."""
        if not values.size:
            return
        self.cover(float(values.min()), float(values.max()))
        self.add_covered(values, weight)

    def add_covered(self, values: NDArray[np.floating], weight: float = 1.0) -> None:
        """As `add`, for values known to lie between `min` and `max`."""
        scaled = np.multiply(values, math.ldexp(1.0, -self.exponent), dtype=_working_type(values))
        bins = scaled.astype(np.intp)  # rounds toward zero
        if self.first:
            bins -= self.first
        found = np.bincount(bins, minlength=self.counts.size)
        self.counts += found if weight == 1.0 else found * weight

    def merge(self, other: Histogram) -> None:
        """Add what another histogram of the same tensor has seen."""
        if not other.counts.size:
            return
        self.cover(other.min, other.max)
        numbers = np.arange(other.first, other.first + other.counts.size)
        if other.exponent > self.exponent:
            self._regrid(other.exponent, *_extent(self.min, self.max, other.exponent))
        bins = _coarser(numbers, self.exponent - other.exponent) - self.first
        self.counts += np.bincount(bins, weights=other.counts, minlength=self.counts.size)
        self.samples += other.samples
        self.sum_min += other.sum_min
        self.sum_max += other.sum_max

    def _regrid(self, exponent: int, first: int, count: int) -> None:
        numbers = np.arange(self.first, self.first + self.counts.size)
        bins = _coarser(numbers, exponent - self.exponent)
        counts = np.bincount(bins - first, weights=self.counts, minlength=count)
        self.exponent, self.first, self.counts = exponent, first, counts.astype(np.float64)


def _working_type(values: NDArray[np.floating]) -> type[np.floating]:
    return np.float64 if values.dtype == np.float64 else np.float32


def _bin(value: float, exponent: int) -> int:
    return math.trunc(math.ldexp(value, -exponent))


def _coarser(numbers: NDArray[np.intp], doublings: int) -> NDArray[np.intp]:
    """Numbers of the bins that hold these bins when the width is doubled so often."""
    merged: NDArray[np.intp] = np.sign(numbers) * (np.abs(numbers) >> min(doublings, 62))
    return merged


def _extent(low: float, high: float, exponent: int) -> tuple[int, int]:
    first = _bin(low, exponent)
    return first, _bin(high, exponent) - first + 1


def _exponent(low: float, high: float) -> int:
    """The smallest exponent with which `BINS` bins are enough for `low` to `high`."""
    largest = max(abs(low), abs(high))
    if not largest:
        return _FINEST_EXPONENT
    finest = max(_FINEST_EXPONENT, math.frexp(largest)[1] - _MANTISSA_BITS)
    spread = math.frexp(high - low)[1] - math.frexp(BINS)[1] if high > low else finest
    exponent = max(finest, spread)
    while _extent(low, high, exponent)[1] > BINS:
        exponent += 1
    return exponent
