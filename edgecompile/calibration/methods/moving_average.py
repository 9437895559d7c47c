"""`moving_average`: the mean of the samples' own extremes."""

from __future__ import annotations

from typing import ClassVar

from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.method import Pair, RangeMethod


class MovingAverage(RangeMethod):
    """The running mean of each sample's minimum and maximum.

    Every sample weighs the same, so the result does not depend on the order of the samples, as an
    exponential average would. One sample with outliers hardly moves the range.
    """

    id: ClassVar[str] = "moving_average"
    source: ClassVar[str] = "Krishnamoorthi, arXiv:1806.08342, section 3.1 (averaged ranges)"
    histogram: ClassVar[bool] = False

    def pick(self, histogram: Histogram, *, bits: int = 8, symmetric: bool = False) -> Pair:
        """The mean extremes."""
        count = max(histogram.samples, 1)
        return histogram.sum_min / count, histogram.sum_max / count
