"""`keep_precision`: raise the layers that cost most accuracy to float or 16 bits, and no more.

Where the budget holds on a few samples with room to spare, or on more of them without, that is all.
Else ranges that clip are widened where that helps the outputs (see `wider_ranges`), which costs
nothing on the target. If that is not enough, layers are ranked by the error that each makes at the
outputs (see `sensitivity`), per time that it costs in float on the target. The shortest head of
that ranking that holds the budget is found by bisection, since more layers in float are hardly ever
worse. Then each is tried in integers again, the dearest first in multiply-accumulates, and stays
there if the budget holds without it.

Where 16 bits are the precision to raise to, float is the quick screen, which shows them a little
too good: what is built is measured, with more layers raised until the budget holds.

Cost in inferences: 2 * `SCREENED` where all is well, 2 * `samples` more where only the room to
spare is missing, else about 6 * `SCREENED` for wider ranges, 12 * `ranking_samples` for the ranking
and (log2 layers + tried + 4) * `samples` for the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, NoReturn, Self

from pydantic import Field

from edgecompile.artifacts.budget import Budget
from edgecompile.calibration.dataset import Dataset
from edgecompile.calibration.split import spread
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue import quantize as rules
from edgecompile.diagnostics.core import Where
from edgecompile.ir.facts import op_census
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Note, Outcome, Pass, unchanged
from edgecompile.passes.quantize.gauge import CORRELATION, Figures, Gauge
from edgecompile.passes.quantize.layers import Pairing, pair
from edgecompile.passes.quantize.metering import (
    BuiltMeter,
    Meter,
    float_meter,
    gauge_of,
    of_model,
    wide_meter,
)
from edgecompile.passes.quantize.precision import (
    EVEN,
    STEADY,
    PrecisionBudget,
    automatic,
    excess,
    of_build,
    tighter,
    worst,
)
from edgecompile.passes.quantize.precision_notes import (
    figure,
    gain,
    good,
    samples,
    spared,
    without_float,
)
from edgecompile.passes.quantize.raising import raise_layers
from edgecompile.passes.quantize.ranking import Ranking, ranked
from edgecompile.passes.quantize.sensitivity import bound_work, measure_layers
from edgecompile.passes.quantize.switchboard import Switchboard
from edgecompile.passes.quantize.timing import rates_of
from edgecompile.passes.quantize.widening import can_widen
from edgecompile.passes.quantize.wider_ranges import with_wider_ranges
from edgecompile.targets.schema import Target

SCREENED = 16
"""Samples by which a healthy model is recognized: of eight, four in ten would miss a collapse of
every fifteenth sample."""
SPARE = 0.5
"""Share of the allowed error that so few samples may use up."""
WISHED_SHARE = 0.15
"""Of the multiply-accumulates that may go to float for single samples' sake, and for an aim: a few
samples say little, and outputs that decide between likes change much with the least error."""
AUTOMATIC_SHARE = 0.5
"""Of the multiply-accumulates: with more of them in float, an INT8 artifact is none."""
NEAR = 2.0
"""Times the error that `auto` allows with which half of the arithmetic in float is good enough."""
TRIED = 8
"""Layers that are tried in integers again, and whose gains are measured."""


class KeepPrecision(Pass):
    """Raise the fewest layers to float or 16 bits until the quantized model keeps a budget.

    Measured on calibration samples against the float model, in exact fake-quant arithmetic. The
    build's own budgets (`--budget`, `budgets:`) are held too, with a reserve.
    """

    id: ClassVar[str] = "keep_precision"
    version: ClassVar[int] = 11
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA, Need.REFERENCE})
    facts: ClassVar[tuple[str, ...]] = ("hardware", "precisions", "quantization")
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnx-ir", "onnxruntime")
    lossy: ClassVar[bool] = True
    raises: ClassVar[bool] = True

    budget: Literal["auto"] | PrecisionBudget = "auto"
    """What must hold, such as `{metric: cosine, at_least: 0.99}`.

    `auto` is a correlation of 0.99 with the float model in every part of every output, counting
    only what varies between samples: a model that loses more has lost its task. No sample may fall
    below 0.95, and a tenth of them at most below 0.98, since a mean hides what happens to a few;
    where 15 % of the arithmetic in float does not bring that, it is told and left.
    Models with a recurrent state also keep probabilities within 0.025: errors in it stay. A bound
    on `correlation` takes the place of the first, and the rest of `auto` holds with it.
    """
    aim: PrecisionBudget | None = None
    """What to come near to beyond the budget, such as `{metric: correlation, at_least: 0.997}`: a
    wish that fails nothing, met with 15 % of the multiply-accumulates in float or not at all."""
    also: tuple[PrecisionBudget, ...] = ()
    """More that must hold. A build adds its own budgets here, each with a reserve of 30 % of the
    error that it allows; a drop of a task metric is bounded by the share of changed decisions where
    calibration samples have no labels."""
    fallback: Literal["int16", "fp16", "fp32"] | None = None
    """The precision of raised layers. `int16` gives their activations 16 bits, on targets that run
    whole models in integers; their weights keep their type. The others are float in the graph, and
    the device must have that one. null takes 16 bits where the target has them and the budget holds
    with them, else the widest float that it computes in."""
    max_layers: Annotated[int, Field(ge=1)] | None = None
    """Raise at most this many layers; null is no limit."""
    max_float_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Raise at most this share of the multiply-accumulates to float. null is half of them where
    nothing but `auto` asks for it, recurrent models excepted, which only float can rescue; a budget
    that somebody asked for has no limit, and the report says what it took."""
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
        elif self.fallback == "int16" and not can_widen(target.quantization):
            reasons.append("the target mixes no 16-bit activations with its narrower ones")
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
        if not pair(model, reference).layers:
            return unchanged(model, [Note(message="no layer is quantized")])
        few = gauge_of(reference, data, min(SCREENED, self.samples), context)
        found = of_model(model, few, context.threads)
        bounds, notes = _measurable(self._bounds(reference, data), found, asked=self.budget)
        if all(excess(tighter(bound, SPARE), found) <= 1.0 for bound in bounds):
            return unchanged(model, [*good(bounds, found, len(few)), *notes])
        gauge = gauge_of(reference, data, self.samples, context)
        found = of_model(model, gauge, context.threads)
        if all(excess(bound, found) <= 1.0 for bound in bounds):
            return unchanged(model, [*good(bounds, found, len(gauge)), *notes])
        wide, widened = with_wider_ranges(model, reference, few, bounds, context)
        outcome = self._raised(wide, gauge, data, bounds, context)
        notes = [*widened, *outcome.notes, *notes]
        return replace(outcome, changed=outcome.changed or bool(widened), notes=notes)

    def _raised(
        self,
        model: Model,
        gauge: Gauge,
        data: Dataset,
        bounds: Sequence[PrecisionBudget],
        context: Context,
    ) -> Outcome:
        """`model` with the fewest layers raised. Raises EC-446."""
        reference = context.reference
        assert reference is not None
        pairing = pair(model, reference)
        board = Switchboard(model, reference, pairing, context.threads, watched=gauge.watched)
        meter = Meter(gauge, board, tuple(bounds))
        if meter.holds(()):
            return unchanged(model, good(bounds, meter.without(()), len(gauge)))
        ranking = self._ranking(model, board, pairing, data, context)
        style = context.target.quantization
        if style is not None and self.fallback in (None, "int16") and can_widen(style):
            wide = wide_meter(meter, model, reference, style, context)
            fewest = self._fewest(meter, ranking)
            raised = self._widened(wide, fewest, ranking, floats=_floats(context.target))
            result = wide.build(raised)
            if result.digest != model.digest:  # else nothing is left that has fewer bits
                told = self._notes(wide, raised, ranking, "int16")
                return Outcome(model=result, changed=True, notes=told)
        if self.fallback is None and not _floats(context.target):
            self._reached(meter, (), len(ranking.order))
            return unchanged(model, [without_float(meter)])
        meter = float_meter(meter, model, pairing, style, context)
        raised, meter = self._floated(meter, ranking)
        if not raised:
            return unchanged(model, [spared(meter)])
        layers = [pairing.layers[number] for number in raised]
        result = raise_layers(model, layers, pairing, style)
        notes = self._notes(meter, raised, ranking, self.fallback or "float")
        return Outcome(model=result, changed=True, notes=notes)

    def _widened(
        self, wide: BuiltMeter, fewest: list[int], ranking: Ranking, *, floats: bool
    ) -> list[int]:
        """Numbers of the layers to give 16 bits; none where float must and can do it.

        Wishes give way where all layers do not reach them.
        Raises EC-446 where nothing but 16 bits may do it, and they miss what was asked for.
        """
        rest = [number for number in ranking.order if number not in fewest]
        heads, count = [fewest], 1
        while rest and count < 2 * len(rest):
            heads.append([*fewest, *rest[:count]])
            count *= 2
        for bounds in dict.fromkeys((wide.bounds, self._without_wishes(wide.bounds))):
            held = replace(wide, bounds=bounds)
            found = next((head for head in heads if bounds and held.holds(head)), None)
            if found is not None:
                return self._spared(held, found, ranking)
        if floats and self.fallback is None:
            return []
        best = min(heads, key=lambda head: (wide.excess(head), len(head)))
        self._reached(wide, best, len(ranking.order))
        return best

    def _floated(self, meter: Meter, ranking: Ranking) -> tuple[list[int], Meter]:
        """Numbers of the layers to take to float, and what they were held against.

        What `auto` wants of single samples, and the aim, take `WISHED_SHARE` at most, and nothing
        where that does not reach them. Raises EC-446 where the budget is out of reach.
        """
        limit = self.max_float_share
        rest = self._without_wishes(meter.bounds)
        wished = len(rest) < len(meter.bounds)
        if limit is None and STEADY not in meter.bounds:
            limit = WISHED_SHARE if wished else AUTOMATIC_SHARE
        within = ranking.within(limit)
        if len(within.order) == len(ranking.order) or meter.holds(within.order):
            fewest = self._fewest(meter, within)
            raised = ranking.with_remains(fewest)
            small = limit is None or (ranking.share(raised) or 0.0) <= limit
            return (raised if small else fewest), meter
        if wished and self.max_float_share is None:
            must = replace(meter, bounds=rest)
            return ([], must) if must.holds(()) else self._floated(must, ranking)
        best = meter.nearest(within.order)
        missed = worst(meter.bounds, meter.without(best))
        automatic_limit = self.max_float_share is None and missed not in self._asked()
        if automatic_limit and meter.excess(best) <= NEAR:
            return list(best), meter
        if automatic_limit or self.max_float_share is not None:
            told = f", at most {100 * (limit or 0.0):.3g} % of the multiply-accumulates,"
            self._unreachable(meter, best, len(within.order), missed, told)
        return ranking.with_remains(self._fewest(meter, ranking)), meter

    def _bounds(self, reference: Model, data: Dataset) -> list[PrecisionBudget]:
        if self.budget == "auto":
            own = automatic(reference, data)
        elif self.budget.metric == CORRELATION:
            own = automatic(reference, data, healthy=self.budget)
        else:
            own = (self.budget,)
        aims = () if self.aim is None else (self.aim,)
        return [*own, *aims, *self.also]

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
        work = bound_work(reference, few[0].feeds, threads=context.threads)
        order = ranked(costs, work, rates_of(context.target.hardware))
        macs = {name: one.macs for name, one in work.items()}
        return Ranking(costs=costs, macs=macs, order=order[: self.max_layers])

    def _fewest(self, meter: Meter, ranking: Ranking) -> list[int]:
        """Numbers of the layers to raise, in the order of the ranking."""
        order = ranking.order
        if not meter.holds(order):
            best = meter.nearest(order)
            self._reached(meter, best, len(order))
            return list(best)
        low, high = 1, len(order)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if meter.holds(order[:middle]) else (middle + 1, high)
        return self._spared(meter, list(order[:high]), ranking)

    def _spared(self, meter: Meter, kept: list[int], ranking: Ranking) -> list[int]:
        """`kept` without what the budget holds without, the dearest first."""
        dearest = sorted(kept[:-1], key=lambda n: (-ranking.macs_of(n), kept.index(n)))
        for number in dearest[:TRIED]:
            rest = [other for other in kept if other != number]
            if rest and meter.holds(rest):
                kept = rest
        return kept

    def _reached(self, meter: Meter, best: Sequence[int], layers: int) -> None:
        """Raise EC-446 where `best`, out of so many `layers`, misses what somebody asked for."""
        missed = worst(meter.bounds, meter.without(best))
        if missed in self._asked():
            self._unreachable(meter, best, layers, missed)

    def _unreachable(
        self, meter: Meter, best: Sequence[int], layers: int, missed: Budget, limit: str = ""
    ) -> NoReturn:
        """Raise EC-446: so many `layers` in float do not reach the budget `missed`."""
        raise rules.PRECISION_BUDGET_UNREACHABLE.error(
            Where(step=self.id),
            layers=layers,
            limit=limit,
            budget=missed,
            best=figure(missed, meter.without(best)),
        )

    def _asked(self) -> tuple[PrecisionBudget, ...]:
        """Bounds that somebody has asked for: to miss one is an error."""
        return self.also if self.budget == "auto" else (self.budget, *self.also)

    def _without_wishes(self, bounds: Sequence[PrecisionBudget]) -> tuple[PrecisionBudget, ...]:
        """`bounds` without what may give way: single samples, and the aim."""
        wishes = {*EVEN, self.aim} - {*self._asked()}
        return tuple(bound for bound in bounds if bound not in wishes)

    def _notes(
        self, meter: Meter, raised: Sequence[int], ranking: Ranking, precision: str
    ) -> list[Note]:
        bound = worst(meter.bounds, meter.without(()))
        before, after = figure(bound, meter.without(())), figure(bound, meter.without(raised))
        share = ranking.share(raised)
        told = "" if share is None else f", {100 * share:.2g} % of the multiply-accumulates"
        text = f"{bound.metric} {before} -> {after} on {samples(len(meter.gauge))}"
        count = f"{len(raised)} of {len(ranking.costs)} layers in {precision}"
        notes = [Note(message=f"{text} with {count}{told}")]
        if meter.excess(raised) > 1.0 and precision != "int16":
            text = f"{bound} is missed, and half of the arithmetic in float brings no more"
            hint = "--set keep_precision.max_float_share=1 takes what it needs"
            notes.append(Note(message=f"{text}: {hint}"))
        if share is not None and share > AUTOMATIC_SHARE and precision != "int16":
            text = "the budget takes most of the arithmetic to float: read EC-446 for ways out"
            notes.append(Note(message=text))
        for number in raised:
            cost = ranking.costs[number]
            rest = [other for other in raised if other != number]
            if len(raised) <= TRIED:
                gained = gain(bound, meter.without(raised), meter.without(rest))
            else:
                gained = f"alone in integers it leaves {cost.alone_db:.1f} dB"
            notes.append(
                Note(
                    message=f"raised to {precision} for {bound}: {gained}",
                    node=cost.layer.name,
                    op_type=cost.layer.original.op_type,
                    kept_float=precision != "int16",
                )
            )
        return notes


def _floats(target: Target) -> bool:
    """Whether a unit of the target computes in float."""
    return any({"fp16", "bf16", "fp32"} & {*unit} for unit in target.precisions.values())


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
