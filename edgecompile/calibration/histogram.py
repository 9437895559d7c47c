"""`Histogram`: exact extremes, and counts in bins whose range grows by powers of two."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Histogram:
    """What is known of one tensor's values. All samples together, or merged from parts."""

    min: float = math.inf
    max: float = -math.inf
    samples: int = 0
    moving_min: float = field(default=0.0)
    moving_max: float = field(default=0.0)
