"""`percentile`: cut a fixed share of the values off."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.method import Pair, RangeMethod


class Percentile(RangeMethod):
    """Keeps `cut` % of the values: half of the rest is cut off at either end.

    With more than 8 bits the part that is cut off shrinks as the steps do, 256 times at 16 bits:
    what clipping buys is finer steps, and those are then fine already.
    """

    id: ClassVar[str] = "percentile"
    source: ClassVar[str] = "Wu et al., arXiv:2004.09602, section 4 (percentile calibration)"
    per_sample: ClassVar[bool] = False

    cut: Annotated[float, Field(gt=50, le=100)] = 99.99
    """Share of the values that a range for 8 bits or fewer keeps, in percent."""

    def pick(self, histogram: Histogram, *, bits: int = 8, symmetric: bool = False) -> Pair:
        """The two quantiles, to within one bin."""
        tail = (100.0 - self.cut) / 200.0 / 2.0 ** max(bits - 8, 0)
        if symmetric:
            reach = _symmetric_reach(histogram, 2.0 * tail)
            return max(histogram.min, -reach), min(histogram.max, reach)
        return quantile(histogram, tail), quantile(histogram, 1.0 - tail)


def _symmetric_reach(histogram: Histogram, tail: float) -> float:
    order = np.argsort(np.abs(histogram.centres), kind="stable")
    below = np.cumsum(histogram.counts[order])
    at = int(np.searchsorted(below, below[-1] * (1.0 - tail)))
    edges = histogram.edges
    chosen = order[min(at, order.size - 1)]
    return float(max(abs(edges[chosen]), abs(edges[chosen + 1])))


def quantile(histogram: Histogram, share: float) -> float:
    """The value below which `share` of the weight lies; linear within a bin."""
    below = np.concatenate(([0.0], np.cumsum(histogram.counts)))
    value = float(np.interp(share * below[-1], below, histogram.edges))
    return min(max(value, histogram.min), histogram.max)
