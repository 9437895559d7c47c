"""Stopping early: when twice the samples have moved no range by more than a tolerance.

Ranges are compared at 32, 64, 128, ... samples. The extremes of a tensor grow about with the
logarithm of the number of samples (Fisher and Tippett 1928, for values with an exponential tail),
so what one doubling has moved bounds what the next will move, as long as the samples that are left
are like those that were seen. Samples are therefore visited in bit-reversed order, in which every
beginning is spread evenly over the data (van der Corput 1935). What is rarer than one sample in as
many as were seen can still be missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecompile.calibration.ranges import Convergence, Range
from edgecompile.calibration.tally import WAITING_SAMPLES

FIRST = WAITING_SAMPLES
"""Samples at which ranges are looked at first; the next look is at twice as many."""


def evenly_ordered(count: int) -> list[int]:
    """The indices below `count` in an order whose every beginning is spread over all of them."""
    bits = max(count - 1, 0).bit_length()
    reversed_bits = (int(f"{number:0{bits}b}"[::-1] or "0", 2) for number in range(1 << bits))
    return [index for index in reversed_bits if index < count]


@dataclass
class Watch:
    """Compares ranges at each doubling of the number of samples."""

    tolerance: float
    """Largest move of an end, as a share of the range's width."""
    previous: dict[str, tuple[float, float]] = field(default_factory=dict)
    drift: float | None = None
    tensor: str | None = None

    def due(self, done: int) -> bool:
        """Whether ranges are to be compared after `done` samples."""
        return done >= FIRST and done % FIRST == 0 and (done // FIRST).bit_count() == 1

    def enough(self, ranges: Mapping[str, Range]) -> bool:
        """Whether `ranges` are where they were at the last look, to within the tolerance."""
        if self.previous:
            moved = {
                name: _drift(self.previous.get(name), (found.min, found.max))
                for name, found in ranges.items()
            }
            self.tensor = max(moved, key=lambda name: moved[name], default=None)
            self.drift = moved[self.tensor] if self.tensor is not None else 0.0
        self.previous = {name: (found.min, found.max) for name, found in ranges.items()}
        return self.drift is not None and self.drift <= self.tolerance

    def evidence(self, *, available: int) -> Convergence:
        """What the ranges are to tell about it."""
        return Convergence(
            tolerance=self.tolerance, drift=self.drift, tensor=self.tensor, available=available
        )

    def state(self) -> Any:
        """What `restore` takes, as JSON."""
        return [self.previous, self.drift, self.tensor]

    def restore(self, state: Any) -> None:
        """Go on where `state` was taken."""
        previous, self.drift, self.tensor = state
        self.previous = {name: (low, high) for name, (low, high) in previous.items()}


def _drift(before: tuple[float, float] | None, after: tuple[float, float]) -> float:
    if before is None:
        return 1.0
    width = after[1] - after[0]
    moved = max(abs(a - b) for a, b in zip(before, after, strict=True))
    return moved / width if width > 0 else float(moved > 0)
