"""`keep_precision`: take the layers that cost most accuracy back to float, and no more than needed.

Layers are ranked by the error that each alone makes at the outputs (see `sensitivity`). The
shortest head of that ranking that holds the budget is found by bisection, since more layers in
float are hardly ever worse. Then each of them is tried in integers again, the dearest in
multiply-accumulates first, and stays there if the budget holds without it.

Cost in inferences: (layers + 2) * `ranking_samples` + (log2 layers + raised + 3) * `samples`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from edgecompile.artifacts.types import OutputFidelity
from edgecompile.calibration.split import spread
from edgecompile.diagnostics.catalogue import quantize as rules
from edgecompile.diagnostics.core import Where
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Note, Outcome, Pass, unchanged
from edgecompile.passes.quantize.layers import Pairing, pair
from edgecompile.passes.quantize.raising import raise_layers
from edgecompile.passes.quantize.sensitivity import Cost, Gauge, bound_macs, measure_layers
from edgecompile.passes.quantize.switchboard import Switchboard
from edgecompile.plugins.described import Described
from edgecompile.targets.schema import Target

Metric = Literal["cosine", "sqnr_db", "top1_agreement"]


class PrecisionBudget(Described):
    """The fidelity to the float model that the worst output must reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Metric = "cosine"
    """`cosine`, `sqnr_db`, or `top1_agreement` of outputs that are class scores."""
    at_least: Annotated[float, Field(allow_inf_nan=False)] = 0.99
    """The smallest figure that is good enough."""

    def figure(self, outputs: Collection[OutputFidelity]) -> float:
        """The worst output's; minus infinity where no output has such a figure."""
        found = [getattr(output, self.metric) for output in outputs]
        known = [float(value) for value in found if value is not None]
        return min(known, default=-math.inf)

    def __str__(self) -> str:
        """The form that `--budget` takes."""
        return f"{self.metric}>={self.at_least:.12g}"


class KeepPrecision(Pass):
    """Raise the fewest layers back to float until the quantized model keeps a budget.

    Measured on calibration samples against the float model, in exact fake-quant arithmetic.
    """

    id: ClassVar[str] = "keep_precision"
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA, Need.REFERENCE})
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnx-ir", "onnxruntime")
    lossy: ClassVar[bool] = True

    budget: PrecisionBudget = PrecisionBudget()
    """What must hold: `{metric: cosine, at_least: 0.99}`."""
    fallback: Literal["fp16", "fp32"] | None = None
    """The precision that the device must have for raised layers, which are float in the graph;
    null takes the widest that it computes in, whichever that is."""
    max_layers: Annotated[int, Field(ge=1)] | None = None
    """Raise at most this many layers; null is no limit."""
    samples: Annotated[int, Field(ge=1)] = 32
    """Calibration samples that the budget is held against."""
    ranking_samples: Annotated[int, Field(ge=1)] = 4
    """Those of them that rank the layers, one inference per layer each."""

    def unfit(self, target: Target) -> list[str]:
        """A fallback that no compute unit of the target has."""
        reasons = super().unfit(target)
        known = sorted({name for unit in target.precisions.values() for name in unit})
        if self.fallback is not None and self.fallback not in known:
            text = f"no unit of the target computes in {self.fallback}; they have "
            reasons.append(text + ", ".join(known))
        return reasons

    def run(self, model: Model, context: Context) -> Outcome:
        """Raise layers until the budget holds. Raises EC-446 when it cannot."""
        reference, data = context.reference, context.data
        if reference is None or data is None:
            return unchanged(model)
        pairing = pair(model, reference)
        if not pairing.layers:
            return unchanged(model, [Note(message="no layer is quantized")])
        chosen = data.subset(spread(len(data), self.samples))
        board = Switchboard(model, reference, pairing, context.threads)
        meter = _Meter(Gauge(board, tuple(chosen)), self.budget, len(pairing.layers))
        before = meter.without(())
        if before >= self.budget.at_least:
            text = f"{self.budget} holds already: {self.budget.metric} is {before:.6g}"
            return unchanged(model, [Note(message=text)])
        few = chosen.subset(spread(len(chosen), self.ranking_samples))
        costs = measure_layers(
            model, reference, pairing, few, threads=context.threads, progress=context.progress
        ).costs
        macs = bound_macs(reference, few[0].feeds, threads=context.threads)
        candidates = ranked(costs, macs)[: self.max_layers]
        raised = self._fewest(meter, candidates, [macs.get(c.layer.output, 0) for c in costs])
        layers = [pairing.layers[number] for number in raised]
        result = raise_layers(model, layers, pairing)
        notes = self._notes(meter, raised, pairing, before)
        return Outcome(model=result, changed=True, notes=notes)

    def _fewest(self, meter: _Meter, ranked: Sequence[int], macs: Sequence[int]) -> list[int]:
        """Numbers of the layers to raise, in the order of the ranking."""
        if not meter.holds(ranked):
            heads = [ranked[: 2**i] for i in range(len(ranked).bit_length())]
            best = max(meter.without(head) for head in (*heads, ranked))
            where = Where(step=self.id)
            raise rules.PRECISION_BUDGET_UNREACHABLE.error(
                where, layers=len(ranked), budget=self.budget, best=best
            )
        low, high = 1, len(ranked)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if meter.holds(ranked[:middle]) else (middle + 1, high)
        kept = list(ranked[:high])
        for number in sorted(kept[:-1], key=lambda n: (-macs[n], kept.index(n))):
            rest = [other for other in kept if other != number]
            if rest and meter.holds(rest):
                kept = rest
        return kept

    def _notes(
        self, meter: _Meter, raised: Sequence[int], pairing: Pairing, before: float
    ) -> list[Note]:
        precision = self.fallback or "float"
        metric, after = self.budget.metric, meter.without(raised)
        text = f"{metric} {before:.6g} -> {after:.6g} with {len(raised)} of"
        notes = [Note(message=f"{text} {len(pairing.layers)} layers in {precision}")]
        for number in raised:
            layer = pairing.layers[number]
            rest = [other for other in raised if other != number]
            gain = after - meter.without(rest)
            notes.append(
                Note(
                    message=f"raised to {precision} for {self.budget}: gains {gain:.4g}",
                    node=layer.name,
                    op_type=layer.original.op_type,
                    kept_float=True,
                )
            )
        return notes


@dataclass
class _Meter:
    """The budget's figure for choices of layers, each measured once."""

    gauge: Gauge
    budget: PrecisionBudget
    layers: int

    def __post_init__(self) -> None:
        self._known: dict[frozenset[int], float] = {}

    def without(self, raised: Collection[int]) -> float:
        """The figure with the layers of these numbers in float."""
        key = frozenset(raised)
        if key not in self._known:
            quantized = [number for number in range(self.layers) if number not in key]
            outputs = self.gauge.fidelity(quantized)
            self._known[key] = self.budget.figure(tuple(outputs.values()))
        return self._known[key]

    def holds(self, raised: Collection[int]) -> bool:
        return self.without(raised) >= self.budget.at_least


def ranked(costs: Sequence[Cost], macs: dict[str, int]) -> list[int]:
    """Numbers of the layers, those that cost most first; within one dB the cheapest to raise."""

    def key(number: int) -> tuple[float, int, int]:
        cost = costs[number]
        db = cost.alone_db
        whole = float(round(db)) if math.isfinite(db) else db
        return whole, macs.get(cost.layer.output, 0), number

    return sorted(range(len(costs)), key=key)
