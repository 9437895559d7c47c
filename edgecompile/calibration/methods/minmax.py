"""`minmax`: the whole observed range."""

from __future__ import annotations

from typing import ClassVar

from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.method import Pair, RangeMethod


class MinMax(RangeMethod):
    """Nothing is clipped: the range reaches from the smallest to the largest value seen."""

    id: ClassVar[str] = "minmax"
    source: ClassVar[str] = "Jacob et al., arXiv:1712.05877, section 3.1 (ranges as min and max)"
    histogram: ClassVar[bool] = False
    per_sample: ClassVar[bool] = False

    def pick(self, histogram: Histogram, *, bits: int = 8, symmetric: bool = False) -> Pair:
        """The exact extremes."""
        return histogram.min, histogram.max
