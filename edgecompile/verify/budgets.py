"""Budgets: hold what was measured against what was asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgecompile.artifacts.budget import DROP, FIDELITY, Budget
from edgecompile.artifacts.types import Arithmetic, BudgetResult, OutputFidelity
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.budget import BUDGET_MISSED, BUDGET_UNMEASURED
from edgecompile.diagnostics.nearest import did_you_mean
from edgecompile.verify.results import VerifyResult

_LESS_IS_BETTER = {"max_abs"}


@dataclass(frozen=True, kw_only=True)
class _Figure:
    value: float
    stage: str
    output: str | None = None
    arithmetic: Arithmetic | None = None


def check_budgets(
    budgets: Sequence[Budget], result: VerifyResult
) -> tuple[list[BudgetResult], list[Diagnostic]]:
    """Each budget's result, and an EC-650 or EC-651 for each that is not met.

    `cosine`, `sqnr_db`, `max_abs`, `top1_agreement` mean the worst output in the worst of the
    judged stages, `METRIC@OUTPUT` one output. A task metric such as `top1` means the artifact's;
    `top1_drop` is the float model's figure less the artifact's (for errors the reverse).
    """
    results: list[BudgetResult] = []
    problems: list[Diagnostic] = []
    for budget in budgets:
        figure, known = _figure(budget.metric, result)
        actual = figure.value if figure else None
        met = budget.is_met(actual)
        required = str(budget)
        results.append(
            BudgetResult(
                metric=budget.metric,
                required=required,
                actual=actual,
                met=met,
                arithmetic=figure.arithmetic if figure else None,
            )
        )
        if figure is None:
            problems.append(_unmeasured(budget, known))
        elif not met:
            problems.append(_missed(budget, figure, result))
    return results, problems


def _figure(metric: str, result: VerifyResult) -> tuple[_Figure | None, list[str]]:
    """The figure, and the names of all that there are."""
    name, _, output = metric.partition("@")
    if name in FIDELITY:
        found = _fidelity(name, output, result)
    elif metric in result.metrics:
        task = result.metrics[metric]
        found = _Figure(value=task.quantized, stage="artifact", arithmetic=task.arithmetic)
    else:
        found = _drop(metric, result)
    tasks = [f"{name}{end}" for name in result.metrics for end in ("", DROP)]
    return found, [*FIDELITY, *tasks]


def _fidelity(name: str, output: str, result: VerifyResult) -> _Figure | None:
    figures = [
        _Figure(value=value, stage=stage, output=label, arithmetic=result.stages[stage].arithmetic)
        for stage in result.judged
        for label, fidelity in result.stages[stage].outputs.items()
        if output in {"", label} and (value := _value(fidelity, name)) is not None
    ]
    if not figures:
        return None
    pick = max if name in _LESS_IS_BETTER else min
    return pick(figures, key=lambda figure: figure.value)


def _value(fidelity: OutputFidelity, name: str) -> float | None:
    value = getattr(fidelity, name)
    return None if value is None or math.isnan(value) else float(value)


def _drop(metric: str, result: VerifyResult) -> _Figure | None:
    measured = result.metrics.get(metric.removesuffix(DROP))
    if measured is None or not metric.endswith(DROP):
        return None
    drop = measured.float - measured.quantized
    value = -drop if measured.kind == "error" else drop
    return _Figure(value=round(value, 6), stage="artifact", arithmetic=measured.arithmetic)


def _missed(budget: Budget, figure: _Figure, result: VerifyResult) -> Diagnostic:
    stage = figure.stage if figure.output is None else f"{figure.stage}, output '{figure.output}'"
    hints = [_hint(budget, figure, result), *BUDGET_MISSED.fix]
    return BUDGET_MISSED.at(
        metric=budget.metric,
        actual=f"{figure.value:.6g}",
        required=str(budget),
        stage=stage,
        hints=tuple(dict.fromkeys(hint for hint in hints if hint)),
    )


def _hint(budget: Budget, figure: _Figure, result: VerifyResult) -> str:
    """What the figures themselves tell about the reason."""
    fidelity = _fidelity("cosine", "", result)
    onnx = result.stages.get("quantized_onnx")
    if figure.stage == "artifact_saturating":
        return "16-bit saturation costs this: make weights that cannot overflow (EC-655)"
    if onnx is not None and fidelity is not None:
        before = min((o.cosine for o in onnx.outputs.values()), default=0.0)
        if before - fidelity.value > 0.02:
            return (
                "the quantized ONNX is better than the artifact "
                f"(cosine {before:.4f} against {fidelity.value:.4f}): the loss is the runtime's"
            )
    if budget.metric.startswith("top1") and result.metric_samples < 100:
        return f"only {result.metric_samples} labelled samples: one of them is a large step"
    return ""


def _unmeasured(budget: Budget, known: list[str]) -> Diagnostic:
    name = budget.metric.partition("@")[0]
    if name in FIDELITY:
        reason = f"no output has a '{budget.metric}'"
        hints = BUDGET_UNMEASURED.fix
    else:
        reason = f"'{budget.metric}' was not measured"
        near = did_you_mean(budget.metric, known, otherwise="")
        hints = tuple(hint for hint in (near, *BUDGET_UNMEASURED.fix) if hint)
    return BUDGET_UNMEASURED.at(required=str(budget), reason=reason, hints=hints)
