"""The order in which to raise layers: by the error that each takes away for the time it costs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from edgecompile.passes.quantize.sensitivity import Cost, Work
from edgecompile.passes.quantize.timing import Rates

ISLAND = 0.01
"""What a layer in float costs beside its arithmetic, in shares of the model's: the conversions
around it."""
MOMENT = 1e-6
"""What anything takes at least, in the same shares."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Layers in the order in which to raise them."""

    costs: Sequence[Cost]
    macs: Mapping[str, int]
    order: Sequence[int]

    def macs_of(self, number: int) -> int:
        """Multiply-accumulates of one layer, 0 where it has none."""
        return self.macs.get(self.costs[number].layer.output, 0)

    def within(self, limit: float | None) -> Ranking:
        """Those of them, in order, that keep to this share of the multiply-accumulates."""
        kept: list[int] = []
        for number in self.order:
            share = self.share([*kept, number])
            if limit is None or share is None or share <= limit:
                kept.append(number)
        return replace(self, order=kept)

    def with_remains(self, numbers: Sequence[int]) -> list[int]:
        """Also the layers left in integers, where all of them save less than conversions cost."""
        rest = [number for number in range(len(self.costs)) if number not in numbers]
        share = self.share(rest)
        islands = min(len(rest), len(numbers) + 1)  # what is raised parts them
        save = share is None or share > ISLAND * islands
        return [*numbers, *(() if save else rest)]

    def share(self, numbers: Collection[int]) -> float | None:
        """Of the model's multiply-accumulates."""
        total = sum(self.macs.values())
        return sum(map(self.macs_of, numbers)) / total if total else None


def ranked(costs: Sequence[Cost], work: Mapping[str, Work], rates: Rates) -> list[int]:
    """Numbers of the layers, first those that take most error away for the time that they cost.

    Time is what float takes more than integers by the target's `rates`, and conversions around the
    layer. Where no fact tells, it is in shares of the multiply-accumulates, and `ISLAND` for the
    conversions around each.
    """
    total = max(1, sum(one.macs for one in work.values()))

    def time(cost: Cost) -> float:
        own = work.get(cost.layer.output, Work(macs=0, elements=0))
        raised = rates.raised(own.macs, own.elements)
        if raised is None or not own.elements:
            return own.macs / total + ISLAND
        return raised / total

    def key(number: int) -> tuple[float, int]:
        cost = costs[number]
        noise = cost.noise if cost.alone_db > -math.inf else math.inf
        return -noise / max(time(cost), MOMENT), number

    return sorted(range(len(costs)), key=key)
