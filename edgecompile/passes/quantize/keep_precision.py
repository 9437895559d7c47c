"""`keep_precision`: take the layers that cost most accuracy back to float, and no more than needed.

Where the budget holds on a few samples with room to spare, that is all. Else layers are ranked by
the error that each makes at the outputs (see `sensitivity`), per time that it costs in float. The
shortest head of that ranking that holds the budget is found by bisection, since more layers in
float are hardly ever worse. Then each is tried in integers again, the dearest first
in multiply-accumulates, and stays there if the budget holds without it.

Cost in inferences: 2 * `SCREENED` where all is well, else about 12 * `ranking_samples` +
(log2 layers + tried + 4) * `samples`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from edgecompile.artifacts.budget import Budget
from edgecompile.calibration.dataset import Dataset
from edgecompile.calibration.split import spread
from edgecompile.calibration.taps import tapped_session
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue import quantize as rules
from edgecompile.diagnostics.core import Where
from edgecompile.ir.facts import op_census
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Note, Outcome, Pass, unchanged
from edgecompile.passes.quantize.gauge import Figures, Gauge
from edgecompile.passes.quantize.layers import Pairing, pair
from edgecompile.passes.quantize.precision import (
    PrecisionBudget,
    automatic,
    excess,
    of_build,
    tighter,
    worst,
)
from edgecompile.passes.quantize.raising import raise_layers
from edgecompile.passes.quantize.sensitivity import Cost, bound_macs, measure_layers
from edgecompile.passes.quantize.switchboard import Switchboard
from edgecompile.targets.schema import Target

SCREENED = 8
"""Samples by which a healthy model is recognized."""
SPARE = 0.5
"""Share of the allowed error that so few samples may use up."""
ISLAND = 0.01
"""What a layer in float costs beside its arithmetic, in shares of the model's: the conversions
around it."""
TRIED = 8
"""Layers that are tried in integers again, and whose gains are measured."""


class KeepPrecision(Pass):
    """Raise the fewest layers back to float until the quantized model keeps a budget.

    Measured on calibration samples against the float model, in exact fake-quant arithmetic. The
    build's own budgets (`--budget`, `budgets:`) are held too, with a reserve.
    """

    id: ClassVar[str] = "keep_precision"
    version: ClassVar[int] = 2
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA, Need.REFERENCE})
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnx-ir", "onnxruntime")
    lossy: ClassVar[bool] = True

    budget: Literal["auto"] | PrecisionBudget = "auto"
    """What must hold, such as `{metric: cosine, at_least: 0.99}`.

    `auto` is a correlation of 0.99 with the float model in every part of every output, counting
    only what varies between samples: a model that loses more has lost its task. Models with a
    recurrent state also keep probabilities within 0.025, since errors in it stay.
    """
    also: tuple[PrecisionBudget, ...] = ()
    """More that must hold. A build adds its own budgets here, each with a reserve of 30 % of the
    error that it allows; a drop of a task metric is bounded by the share of changed decisions where
    calibration samples have no labels."""
    fallback: Literal["fp16", "fp32"] | None = None
    """The precision that the device must have for raised layers, which are float in the graph;
    null takes the widest that it computes in, whichever that is."""
    max_layers: Annotated[int, Field(ge=1)] | None = None
    """Raise at most this many layers; null is no limit."""
    samples: Annotated[int, Field(ge=1)] = 32
    """Calibration samples that the budget is held against."""
    ranking_samples: Annotated[int, Field(ge=1)] = 4
    """Those of them that rank the layers, a dozen inferences each."""

    def unfit(self, target: Target) -> list[str]:
        """A fallback that no compute unit of the target has."""
        reasons = super().unfit(target)
        known = sorted({name for unit in target.precisions.values() for name in unit})
        if self.fallback is not None and self.fallback not in known:
            text = f"no unit of the target computes in {self.fallback}; they have "
            reasons.append(text + ", ".join(known))
        return reasons

    def held_to(self, budgets: Sequence[Budget]) -> Self:
        """This step, that holds the build's `budgets` too as far as it can."""
        also = tuple(dict.fromkeys((*self.also, *of_build(budgets))))
        return self.model_copy(update={"also": also})

    def ensures(self, before: Model, after: Model, context: Context) -> list[Diagnostic]:
        """A warning when nothing is left in integers."""
        left, had = (op_census(model).get("DequantizeLinear", 0) for model in (after, before))
        return [rules.ALL_RAISED.at(Where(step=self.id), step=self.id)] if had and not left else []

    def run(self, model: Model, context: Context) -> Outcome:
        """Raise layers until the budget holds. Raises EC-446 when it cannot."""
        reference, data = context.reference, context.data
        if reference is None or data is None:
            return unchanged(model)
        pairing = pair(model, reference)
        if not pairing.layers:
            return unchanged(model, [Note(message="no layer is quantized")])
        bounds = self._bounds(reference, data)
        few = _gauge(reference, data, min(SCREENED, self.samples), context)
        session = tapped_session(model, few.watched, threads=context.threads, exact=True)
        found = few.figures(lambda s: session.run(s.feeds, few.watched, sample=s.name))
        bounds, notes = _measurable(bounds, found, asked=self.budget)
        if all(excess(tighter(bound, SPARE), found) <= 1.0 for bound in bounds):
            return unchanged(model, [*_good(bounds, found, len(few)), *notes])
        gauge = _gauge(reference, data, self.samples, context)
        board = Switchboard(model, reference, pairing, context.threads, watched=gauge.watched)
        meter = _Meter(gauge, board, tuple(bounds))
        if meter.holds(()):
            return unchanged(model, [*_good(bounds, meter.without(()), len(gauge)), *notes])
        ranking = self._ranking(model, board, pairing, data, context)
        raised = ranking.with_remains(self._fewest(meter, ranking))
        layers = [pairing.layers[number] for number in raised]
        result = raise_layers(model, layers, pairing)
        notes = [*self._notes(meter, raised, ranking), *notes]
        return Outcome(model=result, changed=True, notes=notes)

    def _bounds(self, reference: Model, data: Dataset) -> list[PrecisionBudget]:
        own = automatic(reference, data) if self.budget == "auto" else (self.budget,)
        return [*own, *self.also]

    def _ranking(
        self, model: Model, board: Switchboard, pairing: Pairing, data: Dataset, context: Context
    ) -> Ranking:
        reference = context.reference
        assert reference is not None
        few = data.subset(spread(len(data), min(self.ranking_samples, self.samples)))
        costs = measure_layers(
            model,
            reference,
            pairing,
            few,
            board=board,
            threads=context.threads,
            progress=context.progress,
        ).costs
        macs = bound_macs(reference, few[0].feeds, threads=context.threads)
        return Ranking(costs=costs, macs=macs, order=ranked(costs, macs)[: self.max_layers])

    def _fewest(self, meter: _Meter, ranking: Ranking) -> list[int]:
        """Numbers of the layers to raise, in the order of the ranking."""
        order = ranking.order
        if not meter.holds(order):
            heads = [order[: 2**i] for i in range(len(order).bit_length())]
            best = min((*heads, order), key=lambda head: (meter.excess(head), len(head)))
            missed = worst(meter.bounds, meter.without(best))
            if missed in self._asked():
                raise rules.PRECISION_BUDGET_UNREACHABLE.error(
                    Where(step=self.id),
                    layers=len(order),
                    budget=missed,
                    best=_text(missed, meter.without(best)),
                )
            return list(best)
        low, high = 1, len(order)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if meter.holds(order[:middle]) else (middle + 1, high)
        kept = list(order[:high])
        dearest = sorted(kept[:-1], key=lambda n: (-ranking.macs_of(n), kept.index(n)))
        for number in dearest[:TRIED]:
            rest = [other for other in kept if other != number]
            if rest and meter.holds(rest):
                kept = rest
        return kept

    def _asked(self) -> tuple[PrecisionBudget, ...]:
        """Bounds that somebody has asked for: to miss one is an error."""
        return self.also if self.budget == "auto" else (self.budget, *self.also)

    def _notes(self, meter: _Meter, raised: Sequence[int], ranking: Ranking) -> list[Note]:
        precision = self.fallback or "float"
        bound = worst(meter.bounds, meter.without(()))
        before, after = _text(bound, meter.without(())), _text(bound, meter.without(raised))
        share = ranking.share(raised)
        told = "" if share is None else f", {100 * share:.2g} % of the multiply-accumulates"
        text = f"{bound.metric} {before} -> {after} on {len(meter.gauge)} calibration samples"
        count = f"{len(raised)} of {len(ranking.costs)} layers in {precision}"
        notes = [Note(message=f"{text} with {count}{told}")]
        for number in raised:
            cost = ranking.costs[number]
            rest = [other for other in raised if other != number]
            if len(raised) <= TRIED:
                gain = _gain(bound, meter.without(raised), meter.without(rest))
            else:
                gain = f"alone in integers it leaves {cost.alone_db:.1f} dB"
            notes.append(
                Note(
                    message=f"raised to {precision} for {bound}: {gain}",
                    node=cost.layer.name,
                    op_type=cost.layer.original.op_type,
                    kept_float=True,
                )
            )
        return notes


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Layers in the order in which to raise them."""

    costs: Sequence[Cost]
    macs: Mapping[str, int]
    order: Sequence[int]

    def macs_of(self, number: int) -> int:
        """Multiply-accumulates of one layer, 0 where it has none."""
        return self.macs.get(self.costs[number].layer.output, 0)

    def with_remains(self, numbers: Sequence[int]) -> list[int]:
        """Also the layers left in integers, where all of them save less than conversions cost."""
        rest = [number for number in range(len(self.costs)) if number not in numbers]
        share = self.share(rest)
        save = share is None or share > ISLAND * len(rest)
        return [*numbers, *(() if save else rest)]

    def share(self, numbers: Collection[int]) -> float | None:
        """Of the model's multiply-accumulates."""
        total = sum(self.macs.values())
        return sum(map(self.macs_of, numbers)) / total if total else None


@dataclass
class _Meter:
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
        found = self.without(raised)
        return max(excess(bound, found) for bound in self.bounds)

    def holds(self, raised: Collection[int]) -> bool:
        return self.excess(raised) <= 1.0


def _gauge(reference: Model, data: Dataset, count: int, context: Context) -> Gauge:
    samples = list(data.subset(spread(len(data), count)))
    return Gauge(reference, samples, data.task, threads=context.threads)


def _measurable(
    bounds: Sequence[PrecisionBudget], found: Figures, *, asked: object
) -> tuple[list[PrecisionBudget], list[Note]]:
    """Those that these outputs and labels can tell, and a note for each other.

    One that the step itself was `asked` to hold stays, and cannot be met.
    """
    known = [b for b in bounds if b == asked or found.of(b.metric) is not None]
    text = "cannot be held here: the outputs and labels of calibration samples do not tell it"
    rest = [b for b in bounds if b not in known and not b.metric.startswith("probability")]
    return known, [Note(message=f"{bound} {text}") for bound in rest]


def _good(bounds: Sequence[PrecisionBudget], found: Figures, count: int) -> list[Note]:
    told = [f"{b.metric} {_text(b, found)}" for b in bounds]
    if not told:
        return [Note(message="random data say nothing about accuracy")]
    return [Note(message=f"holds already: {', '.join(told)} on {count} calibration samples")]


def _gain(bound: Budget, found: Figures, rest: Figures) -> str:
    better, worse = found.of(bound.metric), rest.of(bound.metric)
    if better is None or worse is None:
        return "its gain is unknown"
    return f"gains {abs(better - worse):.4g}, without it {bound.metric} is {worse:.6g}"


def _text(bound: Budget, found: Figures) -> str:
    value = found.of(bound.metric)
    return "unknown" if value is None else f"{value:.6g}"


def ranked(costs: Sequence[Cost], macs: Mapping[str, int]) -> list[int]:
    """Numbers of the layers, first those that take most error away for the time that they cost.

    Time is in shares of the multiply-accumulates, and `ISLAND` for the conversions around each.
    """
    total = max(1, sum(macs.values()))

    def key(number: int) -> tuple[float, int]:
        cost = costs[number]
        time = macs.get(cost.layer.output, 0) / total + ISLAND
        noise = cost.noise if cost.alone_db > -math.inf else math.inf
        return -noise / time, number

    return sorted(range(len(costs)), key=key)
