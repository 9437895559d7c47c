"""What `keep_precision` tells: how far bounds hold, on what, and what raising a layer gained."""

from __future__ import annotations

from collections.abc import Sequence

from edgecompile.artifacts.budget import Budget
from edgecompile.passes.base import Note
from edgecompile.passes.quantize.gauge import WORST_CORRELATION, Figures
from edgecompile.passes.quantize.metering import Meter
from edgecompile.passes.quantize.precision import EVEN, PrecisionBudget, worst


def without_float(meter: Meter) -> Note:
    """What is said where integers miss the budget, and no unit of the target has anything else."""
    bound = worst(meter.bounds, meter.without(()))
    text = f"{bound} is missed: {bound.metric} is {figure(bound, meter.without(()))}"
    return Note(message=f"{text}, and no unit of the target computes in float")


def spared(meter: Meter) -> Note:
    """What is said where the task is kept, but single samples are off and float does not help."""
    found = meter.without(())
    told = ", ".join(f"{b.metric} {figure(b, found)}" for b in (*meter.bounds, *EVEN))
    text = f"left as it is: {told} on {samples(len(meter.gauge))}"
    why = "15 % of the arithmetic in float does not bring single samples where they should be"
    return Note(message=f"{text}; {why}")


def good(bounds: Sequence[PrecisionBudget], found: Figures, count: int) -> list[Note]:
    """What is said where nothing is to be done."""
    told = [f"{b.metric} {figure(b, found)}" for b in bounds]
    if not told:
        return [Note(message="random data say nothing about accuracy")]
    return [Note(message=f"holds already: {', '.join(told)} on {samples(count)}")]


def samples(count: int) -> str:
    """On what figures were found, and in which arithmetic."""
    return f"{count} calibration samples in exact arithmetic"


def gain(bound: Budget, found: Figures, rest: Figures) -> str:
    """What a raised layer gains, whose absence leaves the figures `rest`."""
    better, worse = found.of(bound.metric), rest.of(bound.metric)
    if better is None or worse is None:
        return "its gain is unknown"
    return f"gains {abs(better - worse):.4g}, without it {bound.metric} is {worse:.6g}"


def figure(bound: Budget, found: Figures) -> str:
    """The value that `bound` is about."""
    value = found.of(bound.metric)
    if value is None:
        return "unknown"
    named = bound.metric == WORST_CORRELATION and found.worst_sample
    return f"{value:.6g} (sample '{found.worst_sample}')" if named else f"{value:.6g}"
