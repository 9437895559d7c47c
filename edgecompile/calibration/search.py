"""What the searching methods share: candidate ranges, and sums over any stretch of bins at once.

A range is searched along its reach t: both ends are cut to [-t, t] where they lie further out, so
a one-sided tensor is cut at one end only, and zero stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgecompile.calibration.histogram import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def reaches(histogram: Histogram, count: int, smallest: float) -> Array:
    """`count` reaches, from `smallest` times the largest magnitude up to it, evenly spaced."""
    largest = max(abs(histogram.min), abs(histogram.max))
    return largest * np.linspace(smallest, 1.0, count)


@dataclass(frozen=True)
class Moments:
    """Running sums over bins: weight, weight x value, weight x value squared."""

    edges: Array
    weight: Array
    first: Array
    second: Array

    @classmethod
    def of(cls, histogram: Histogram, centres: Array, counts: Array) -> Moments:
        """The sums of `counts` at the `centres` of the histogram's bins."""
        return cls(
            edges=histogram.edges,
            weight=running(counts),
            first=running(counts * centres),
            second=running(counts * centres * centres),
        )

    def clipping(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Sums of squared distances of what lies below each `low`, and above each `high`."""
        i = np.searchsorted(self.edges[:-1], low, side="left")
        j = np.searchsorted(self.edges[1:], high, side="left")
        below = self.second[i] - 2 * low * self.first[i] + low * low * self.weight[i]
        weight, first = self.weight[-1] - self.weight[j], self.first[-1] - self.first[j]
        above = self.second[-1] - self.second[j] - 2 * high * first + high * high * weight
        return np.maximum(below, 0.0), np.maximum(above, 0.0)


def running(values: Array) -> Array:
    """Sums of everything before each place, and of all: `[N + 1]`."""
    total = np.zeros(values.size + 1)
    np.cumsum(values, out=total[1:])
    return total


def without_zero_spike(histogram: Histogram) -> Array:
    """The counts, with the bin of zero as high as its neighbours.

    After an activation such as Relu half of the values are exactly zero. Zero is always
    represented exactly, so this weight must not draw the levels towards it.
    """
    at = -histogram.first
    counts = histogram.counts
    if not 0 <= at < counts.size or counts.size == 1:
        return counts
    smoothed = counts.copy()
    # The bin of zero is twice as wide as others: its part on either side is like its neighbour.
    smoothed[at] = min(
        counts[at], counts[max(at - 1, 0) : at].sum() + counts[at + 1 : at + 2].sum()
    )
    return smoothed
