"""Figures of a model with chosen layers raised: what `keep_precision` searches with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from edgecompile.calibration.dataset import Dataset
from edgecompile.calibration.split import spread
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.gauge import Figures, Gauge
from edgecompile.passes.quantize.layers import Pairing
from edgecompile.passes.quantize.precision import PrecisionBudget, excess
from edgecompile.passes.quantize.raising import raise_layers
from edgecompile.passes.quantize.switchboard import Switchboard
from edgecompile.passes.quantize.widening import extremes, widen_layers
from edgecompile.targets.schema import QdqStyle


@dataclass
class Meter:
    """Figures for choices of layers, each measured once."""

    gauge: Gauge
    board: Switchboard
    bounds: tuple[PrecisionBudget, ...]
    _known: dict[frozenset[int], Figures] = field(default_factory=dict)

    def without(self, raised: Collection[int]) -> Figures:
        """Those with the layers of these numbers in float."""
        key = frozenset(raised)
        if key not in self._known:
            quantized = [n for n in range(len(self.board.layers)) if n not in key]
            self._known[key] = self.gauge.figures(
                lambda s: self.board.run(s.feeds, quantized, sample=s.name)
            )
        return self._known[key]

    def excess(self, raised: Collection[int]) -> float:
        """The error over the one that is allowed, of the bound that is used up most."""
        found = self.without(raised)
        return max(excess(bound, found) for bound in self.bounds)

    def holds(self, raised: Collection[int]) -> bool:
        """Whether every bound does."""
        return self.excess(raised) <= 1.0

    def nearest(self, order: Sequence[int]) -> Sequence[int]:
        """What comes nearest to the bounds, of heads of `order` and all of it."""
        heads = [order[: 2**i] for i in range(len(order).bit_length())]
        return min((*heads, order), key=lambda head: (self.excess(head), len(head)))


@dataclass(kw_only=True)
class BuiltMeter(Meter):
    """Figures of the very graphs in which chosen layers are raised."""

    build: Callable[[Collection[int]], Model]
    threads: int

    def without(self, raised: Collection[int]) -> Figures:
        """Those with the layers of these numbers raised."""
        key = frozenset(raised)
        if key not in self._known:
            self._known[key] = of_model(self.build(raised), self.gauge, self.threads)
        return self._known[key]


def wide_meter(
    meter: Meter, model: Model, reference: Model, style: QdqStyle, context: Context
) -> BuiltMeter:
    """One for `model`, whose layers `meter` raises to float. Raises EC-340 and EC-341."""
    gauge, layers = meter.gauge, meter.board.layers
    seen = extremes(model, reference, gauge.samples, threads=context.threads)

    def build(raised: Collection[int]) -> Model:
        return widen_layers(model, [layers[n] for n in raised], reference, style, seen)

    return BuiltMeter(
        gauge=gauge, board=meter.board, bounds=meter.bounds, build=build, threads=context.threads
    )


def float_meter(
    meter: Meter, model: Model, pairing: Pairing, style: QdqStyle | None, context: Context
) -> Meter:
    """`meter`, or where layers in float read what integer operators have rounded, one of that."""
    if style is None or not style.outputs:
        return meter

    def build(raised: Collection[int]) -> Model:
        return raise_layers(model, [pairing.layers[n] for n in raised], pairing, style)

    return BuiltMeter(
        gauge=meter.gauge,
        board=meter.board,
        bounds=meter.bounds,
        build=build,
        threads=context.threads,
    )


def of_model(model: Model, gauge: Gauge, threads: int) -> Figures:
    """Those of `model` as it is, in exact arithmetic."""
    session = tapped_session(model, gauge.watched, threads=threads, exact=True)
    return gauge.figures(lambda s: session.run(s.feeds, gauge.watched, sample=s.name))


def gauge_of(reference: Model, data: Dataset, count: int, context: Context) -> Gauge:
    """One with `count` of the samples of `data`, spread evenly. Raises EC-340 and EC-341."""
    samples = list(data.subset(spread(len(data), count)))
    return Gauge(reference, samples, data.task, threads=context.threads)
