"""Bounds on what quantization may cost, and how much of them is used up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from edgecompile.artifacts.budget import DROP, FIDELITY, TASK_METRICS, Budget
from edgecompile.calibration.dataset import Dataset
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.gauge import (
    CORRELATION,
    LOW_CORRELATION,
    PROBABILITY,
    WORST_CORRELATION,
    Figures,
)

RESERVE = 0.7
"""Share of the error that a build's budget allows which may be used up on calibration samples: the
budget is judged on others."""
RECURRENT = frozenset({"LSTM", "GRU", "RNN", "Scan", "Loop"})
_TASKS = (*TASK_METRICS, *(f"{name}{DROP}" for name in TASK_METRICS))
_ERRORS = frozenset({"max_abs", PROBABILITY})
_BUILDS = frozenset({*FIDELITY, *_TASKS})
_OWN = frozenset({CORRELATION, LOW_CORRELATION, WORST_CORRELATION, PROBABILITY})


class PrecisionBudget(Budget):
    """One bound on one metric, as in a build's budgets, or on `correlation`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(default="cosine", pattern=r"^[A-Za-z][\w.@-]*$")
    """`cosine`, `sqnr_db`, `max_abs` or `top1_agreement` of the worst output, `METRIC@OUTPUT` of
    one; `top1`, `top5`, `top1_drop`, `top5_drop` on labelled calibration samples; `correlation`
    with the float model over all samples, `correlation_p10` of the sample that a tenth of them are
    worse than, `worst_correlation` of the worst; `probability_error` of outputs between 0 and 1."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        name = self.metric.partition("@")[0]
        if name not in _BUILDS | _OWN:
            raise ValueError(f"nothing measures '{name}' in this step")
        return self


HEALTHY = PrecisionBudget(metric=CORRELATION, at_least=0.99)
EVEN = (
    PrecisionBudget(metric=LOW_CORRELATION, at_least=0.98),
    PrecisionBudget(metric=WORST_CORRELATION, at_least=0.95),
)
"""What single samples must keep, since a mean hides those that collapse: a tenth of them may have
twice the error of the mean, and one five times as much."""
STEADY = PrecisionBudget(metric=PROBABILITY, at_most=0.025)
"""Half of what a stream should keep: its worst moment is hardly among the samples."""


def automatic(
    reference: Model, data: Dataset, *, healthy: PrecisionBudget = HEALTHY
) -> tuple[PrecisionBudget, ...]:
    """What every model must keep; nothing on random data, which say nothing about accuracy."""
    if data.random:
        return ()
    kinds = {node.op_type for node in reference.graph.graph}
    return (healthy, *EVEN, STEADY) if kinds & RECURRENT else (healthy, *EVEN)


def of_build(budgets: Iterable[Budget]) -> tuple[PrecisionBudget, ...]:
    """Those that more precision helps to hold, with a reserve."""
    found: list[PrecisionBudget] = []
    for budget in budgets:
        name = _base(budget)
        error = name in _ERRORS or name.endswith(DROP)
        side = {"at_most": budget.at_most} if error else {"at_least": budget.at_least}
        if name in _BUILDS and None not in side.values():
            found.append(PrecisionBudget(metric=budget.metric, **side))
    return tuple(tighter(budget, RESERVE) for budget in found)


def tighter(budget: PrecisionBudget, share: float) -> PrecisionBudget:
    """`budget` with only that `share` of the error that it allows.

    Task metrics themselves stay: what the float model reaches is not known.
    """
    name, low, high = _base(budget), budget.at_least, budget.at_most
    if name in TASK_METRICS:
        return budget
    if low is not None and name == "sqnr_db":
        low = low - 10.0 * math.log10(share)
    elif low is not None:
        low = 1.0 - (1.0 - low) * share if low < 1.0 else low
    high = high * share if high is not None and high > 0.0 else high
    return PrecisionBudget(metric=budget.metric, at_least=low, at_most=high)


def excess(budget: Budget, figures: Figures) -> float:
    """The error over the one that is allowed: at most 1 where the budget holds."""
    value = figures.of(budget.metric)
    if value is None or math.isnan(value):
        return math.inf
    ratios = [0.0]
    if budget.at_least is not None:
        low = budget.at_least
        if _base(budget) == "sqnr_db":
            ratios.append(math.pow(10.0, min((low - value) / 10.0, 300.0)))
        else:
            ratios.append(_ratio(1.0 - value, 1.0 - low))
    if budget.at_most is not None:
        ratios.append(_ratio(value, budget.at_most))
    found = max(ratios)
    return min(found, 1.0) if budget.is_met(value) else max(found, math.nextafter(1.0, 2.0))


def worst(budgets: Sequence[PrecisionBudget], figures: Figures) -> PrecisionBudget:
    """The one that is used up most."""
    return max(budgets, key=lambda budget: excess(budget, figures))


def _base(budget: Budget) -> str:
    return budget.metric.partition("@")[0]


def _ratio(error: float, allowed: float) -> float:
    if allowed > 0.0:
        return max(error, 0.0) / allowed
    return 0.0 if error <= allowed else math.inf
