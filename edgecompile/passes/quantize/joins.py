"""What quantities lose when they share a scale, in bits of resolution: 6 dB of SQNR each.

A quantizer of step s makes errors of variance s^2 / 12. A tensor that spans 0..1 and must take the
step of one that spans 0..640 has errors 640 times larger: log2(640) = 9.3 bits, all that 8 bits
have. Only calibrated ranges are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from edgecompile.calibration.ranges import Ranges
from edgecompile.passes.quantize.forms import Form, Interval

JOIN_LOSS_BITS = 1.0
"""The default limit, where a scale of its own is to be had for a copy in float."""
RELATIVE = frozenset({"Mul", "Div", "Pow"})
"""Element-wise operators whose result is as wrong, relatively, as the worse of their inputs."""


def union(intervals: Iterable[Interval]) -> Interval:
    """The smallest interval that holds all of them, and zero."""
    found = list(intervals)
    low = min((low for low, _ in found), default=0.0)
    return min(low, 0.0), max((high for _, high in found), default=0.0)


def lost_bits(own: Interval, form: Form, shared: Interval, joined: Form) -> float:
    """How many bits of resolution a quantity that spans `own` in `form` loses in `shared`."""
    before, after = form.step(own), joined.step(shared)
    if before <= 0 or after <= 0:
        return 0.0
    return math.log2(after / before)


def unified_loss(kind: str, names: Sequence[str], form: Form, ranges: Ranges) -> float:
    """Bits that the narrowest input of an operator of `kind` loses by one scale for all.

    A sum is as coarse as the widest of its terms in any case, so it loses nothing.
    """
    if kind not in RELATIVE:
        return 0.0
    intervals = [interval for name in names if (interval := interval_of(name, ranges))]
    shared = union(intervals)
    return max((lost_bits(own, form, shared, form) for own in intervals), default=0.0)


def interval_of(name: str, ranges: Ranges) -> Interval | None:
    """The calibrated interval of a tensor, or None."""
    found = ranges.tensors.get(name)
    return None if found is None else (found.min, found.max)
