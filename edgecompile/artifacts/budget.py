"""`Budget`: a figure that a build must reach, or it fails."""

from __future__ import annotations

import math
import re
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.recipe import BAD_BUDGET
from edgecompile.diagnostics.core import NOWHERE
from edgecompile.diagnostics.nearest import did_you_mean
from edgecompile.plugins.described import Described

FIDELITY = ("cosine", "sqnr_db", "max_abs", "top1_agreement")
"""Figures of one output against the float model's; `METRIC@OUTPUT` names the output."""
TASK_METRICS = ("top1", "top5")
"""Figures on labelled data; `METRIC_drop` is what quantization costs of one."""
DROP = "_drop"

_FORM = re.compile(
    r"\s*(?P<metric>[A-Za-z][\w.@-]*)\s*(?P<sign>>=|<=|=>|=<|==|=|>|<)\s*(?P<value>\S+)\s*"
)


class Budget(Described):
    """One bound on one metric: `cosine>=0.99`, `top1_drop<=0.01`.

    `at_least` and `at_most` include the bound itself; at least one of them is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(pattern=r"^[A-Za-z][\w.@-]*$")
    """Fidelity (`cosine`, `sqnr_db`, `max_abs`, `top1_agreement`) or a task metric (`top1`)."""
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    """The smallest figure that is good enough."""
    at_most: float | None = Field(default=None, allow_inf_nan=False)
    """The largest figure that is good enough."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a budget needs 'at_least' or 'at_most'")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"nothing is both >= {self.at_least} and <= {self.at_most}")
        return self

    def __str__(self) -> str:
        """The form that `parse` reads: `cosine>=0.99`; both bounds are joined by `, `."""
        bounds = ((">=", self.at_least), ("<=", self.at_most))
        return ", ".join(
            f"{self.metric}{sign}{value:.12g}" for sign, value in bounds if value is not None
        )

    def is_met(self, actual: float | None) -> bool:
        """Whether `actual` keeps the bounds. A figure that is unknown or NaN does not."""
        if actual is None or math.isnan(actual):
            return False
        above = self.at_least is None or actual >= self.at_least
        below = self.at_most is None or actual <= self.at_most
        return above and below


def parse(text: str, where: Where = NOWHERE) -> Budget:
    """Read `METRIC>=VALUE` or `METRIC<=VALUE`; a trailing `%` divides by 100.

    Raises EC-250 for another form, a strict or exact comparison, or a value that is no number.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise BAD_BUDGET.error(where, text=text, problem="it is not of the form METRIC>=VALUE")
    sign = match["sign"]
    if sign not in {">=", "<="}:
        raise BAD_BUDGET.error(where, text=text, problem=f"the sign is '{sign}', not '>=' or '<='")
    value = _number(text, where, match["value"])
    if sign == ">=":
        return Budget(metric=match["metric"], at_least=value)
    return Budget(metric=match["metric"], at_most=value)


def check_metric(budget: Budget, where: Where = NOWHERE) -> None:
    """Raise EC-250 for a metric that nothing measures: a misspelt one would cost a whole build."""
    known = (*FIDELITY, *TASK_METRICS, *(f"{name}{DROP}" for name in TASK_METRICS))
    name, _, output = budget.metric.partition("@")
    if name in known and (not output or name in FIDELITY):
        return
    near = did_you_mean(name, known, otherwise=f"there are {', '.join(known)}")
    problem = f"no metric is called '{budget.metric}'; {near}"
    raise BAD_BUDGET.error(where, text=str(budget), problem=problem)


def _number(text: str, where: Where, value: str) -> float:
    digits = value.removesuffix("%")
    try:
        number = float(digits)
    except ValueError:
        raise BAD_BUDGET.error(where, text=text, problem=f"'{value}' is not a number") from None
    if not math.isfinite(number):
        raise BAD_BUDGET.error(where, text=text, problem=f"'{value}' is not finite")
    return number / 100 if digits != value else number
