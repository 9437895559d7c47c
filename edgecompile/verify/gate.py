"""The gate: what no budget can allow, and what everyone should know.

A vendor tool that writes a broken artifact and reports success is caught here by numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgecompile.artifacts.types import Coverage, Latency, OutputFidelity, StageFidelity
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.budget import (
    BUILD_CPU_SATURATES,
    COLLAPSED,
    NOT_FINITE,
    REFERENCE_NAN,
    SATURATION_COSTS,
    SLOWER,
)
from edgecompile.verify.compare import Comparison
from edgecompile.verify.runtimes.base import Stage

COLLAPSED_COSINE = 0.5
"""Below this the artifact is not the model any more, however little was asked for."""
LOST_DB = 12.0
"""An artifact this much worse than the quantized ONNX that it was made from is broken..."""
USABLE_DB = 20.0
"""... unless it is still this good."""
_COST_DB = 1.0
_SLOWER = 1.1
_NAMED = 5
"""Islands of float that a warning names."""

Fidelities = Mapping[str, StageFidelity]


def broken(comparisons: Mapping[str, Comparison], stages: Sequence[Stage]) -> list[Diagnostic]:
    """EC-652, EC-653 and EC-657 for every output that must not leave the house.

    `comparisons` are by stage, `quantized_onnx` included. A stage that saturates is held to the
    first limit only: its loss has another cause, see `saturation`.
    """
    found = _not_numbers(comparisons)
    fidelity = {name: comparison.fidelity() for name, comparison in comparisons.items()}
    onnx = fidelity.get("quantized_onnx", {})
    for stage in stages:
        for output, figures in fidelity[stage.name].items():
            before = None if stage.saturates else onnx.get(output)
            if _finite(comparisons[stage.name], output) and _collapsed(figures, before):
                found.append(_collapse(stage.name, output, figures, before))
    return found


def saturation(stages: Sequence[Stage], fidelity: Fidelities) -> list[Diagnostic]:
    """EC-655 when saturating kernels cost more than a decibel, EC-656 when they do not count.

    Two exact computations of the same integers, the artifact's and the quantized ONNX model's, can
    lie apart as well: only what is worse than both is blamed on saturation.
    """
    judged = {stage.saturates for stage in stages if stage.judged}
    if judged == {False} and any(stage.saturates for stage in stages):
        return [BUILD_CPU_SATURATES.at()]
    worst = [stage.name for stage in stages if stage.saturates and stage.judged]
    exact = [stage.name for stage in stages if not stage.saturates]
    if not worst or not exact:
        return []
    known = [fidelity[name].outputs for name in (exact[0], "quantized_onnx") if name in fidelity]
    pairs = [
        (min(o[output].sqnr_db for o in known if output in o), figures.sqnr_db, output)
        for output, figures in fidelity[worst[0]].outputs.items()
    ]
    losses = [(a - b, a, b, output) for a, b, output in pairs if math.isfinite(a - b)]
    loss, before, after, output = max(losses, default=(0.0, 0.0, 0.0, ""))
    if loss <= _COST_DB:
        return []
    return [SATURATION_COSTS.at(loss_db=loss, exact_db=before, saturating_db=after, output=output)]


def slower(
    latency: Latency | None, *, integer: bool, coverage: Coverage | None = None
) -> list[Diagnostic]:
    """EC-654 when an integer artifact takes longer than the float model, beyond noise.

    Names what stays in float between its integers, where conversions are paid for.
    """
    if latency is None or not integer or latency.artifact_ms <= _SLOWER * latency.float_ms:
        return []
    islands = [f"{f.node} ({f.op})" for f in (coverage.fallback if coverage else ())]
    more = f" and {len(islands) - _NAMED} more" if len(islands) > _NAMED else ""
    told = (f"in float between integers: {', '.join(islands[:_NAMED])}{more}",) if islands else ()
    return [
        SLOWER.at(
            artifact_ms=latency.artifact_ms,
            float_ms=latency.float_ms,
            hints=(*told, *SLOWER.fix),
        )
    ]


def _not_numbers(comparisons: Mapping[str, Comparison]) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    for stage, comparison in comparisons.items():
        for output, count in comparison.not_finite().items():
            samples = comparison.outputs[output].samples
            named = stage.replace("_", " ")
            where = Where(tensor=output)
            found.append(
                NOT_FINITE.at(where, output=output, stage=named, count=count, samples=samples)
            )
    first = next(iter(comparisons.values()), Comparison())
    for output, count in first.reference_nan().items():
        samples = first.outputs[output].samples
        where = Where(tensor=output)
        found.append(REFERENCE_NAN.at(where, output=output, count=count, samples=samples))
    return found


def _finite(comparison: Comparison, output: str) -> bool:
    return output not in comparison.not_finite() and output not in comparison.reference_nan()


def _collapsed(figures: OutputFidelity, before: OutputFidelity | None) -> bool:
    if figures.cosine < COLLAPSED_COSINE and figures.sqnr_db < 0:
        return True
    lost = before is not None and before.sqnr_db - figures.sqnr_db > LOST_DB
    return lost and figures.sqnr_db < USABLE_DB


def _collapse(
    stage: str, output: str, figures: OutputFidelity, before: OutputFidelity | None
) -> Diagnostic:
    expected = "" if before is None else f", against {before.sqnr_db:.1f} dB of the quantized ONNX"
    return COLLAPSED.at(
        Where(tensor=output),
        output=output,
        stage=stage.replace("_", " "),
        cosine=figures.cosine,
        sqnr_db=figures.sqnr_db,
        expected=expected,
    )
