"""Run float model, quantized model and artifact on held-out samples, cached."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.artifacts.types import Artifact, BudgetResult, Status
from edgecompile.diagnostics import Diagnostic
from edgecompile.driver.cached import Journal, Made, cached_stage
from edgecompile.driver.host import processor
from edgecompile.driver.loading import Loaded
from edgecompile.driver.resolve import Resolved
from edgecompile.driver.samples import Samples
from edgecompile.passes.pipeline import PipelineResult
from edgecompile.passes.results import StepResult
from edgecompile.store.code import code_sha256
from edgecompile.targets.catalogue import facts_sha256
from edgecompile.vendor import versions

if TYPE_CHECKING:
    from edgecompile.verify.results import VerifyResult

ROOMS = ("ir", "artifacts", "calibration", "diagnostics", "targets", "vendor", "verify")
LIBRARIES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-qnn", "openvino")
VERIFY = "verify"


def verify_artifact(
    resolved: Resolved,
    journal: Journal,
    *,
    loaded: Loaded,
    samples: Samples,
    passed: PipelineResult,
    artifact: Artifact,
    build: Path,
) -> VerifyResult | None:
    """The figures of `artifact`, or None when there are no samples to run it on.

    Raises what `verify.run.verify` raises.
    """
    from edgecompile.verify.results import VerifyResult

    held_out, state = samples.held_out, passed.state
    if held_out is None:
        return None

    def make() -> Made:
        from edgecompile.verify.run import verify

        result = verify(
            original=loaded.model.get(),
            quantized=None if state.artifact else state.model.get(),
            artifact=artifact,
            directory=build,
            target=resolved.target,
            data=held_out.get(),
            samples=resolved.recipe.verify.samples,
            kept_float=kept_float(passed.steps),
            threads=resolved.request.threads,
            progress=lambda done, total: resolved.sink.progress(VERIFY, done, total),
        )
        return Made(result=result.to_json(), summary=f"{result.samples} samples")

    material = {
        "kind": "verify",
        "code": code_sha256(ROOMS, resolved.memo),
        "inputs": {
            "original": loaded.model.digest,
            "model": state.model.digest,
            "artifact": artifact.sha256,
            "samples": held_out.digest,
        },
        "options": resolved.recipe.verify.model_dump(mode="json"),
        "target": facts_sha256(resolved.target),
        "libraries": {**versions(*LIBRARIES), **_host_tools(artifact)},
        "run": {"threads": resolved.request.threads, "processor": processor()},
    }
    makers = {"model": state.model.maker, "artifact": f"emit {artifact.format}"}
    result = cached_stage(resolved, journal, VERIFY, material, make, directory=build, makers=makers)
    return VerifyResult.from_json(dict(result))


def _host_tools(artifact: Artifact) -> dict[str, str]:
    from edgecompile.verify.runtimes.registry import all_runtimes

    runtime = all_runtimes().get(artifact.format)
    return {} if runtime is None else runtime.host_tools()


def judge(
    resolved: Resolved, verified: VerifyResult | None
) -> tuple[list[BudgetResult], list[Diagnostic]]:
    """Hold the figures against the budgets; without figures no budget is met.

    Returns what speaks against the artifact: what verification found, then the budgets missed.
    """
    budgets = resolved.recipe.budgets
    found = list(verified.diagnostics) if verified else []
    for diagnostic in found:
        resolved.sink.diagnostic(diagnostic)
    if not budgets:
        return [], found
    from edgecompile.verify.budgets import check_budgets
    from edgecompile.verify.results import VerifyResult

    figures = verified or VerifyResult(samples=0, stages={}, judged=())
    results, missed = check_budgets(budgets, figures)
    return results, [*found, *missed]


def kept_float(steps: Sequence[StepResult]) -> dict[str, str]:
    """Node name -> why it stays in float, as the passes have said."""
    notes = (note for step in steps for note in step.notes)
    return {note.node: note.message for note in notes if note.kept_float and note.node}


def status_of(
    resolved: Resolved, artifact: Artifact, verified: VerifyResult | None
) -> tuple[Status, str]:
    """How far the artifact was proven, never more than the target's rule allows, and why."""
    rule = next(rule for rule in resolved.target.artifacts if rule.format == artifact.format)
    ran = verified is not None and any(name.startswith("artifact") for name in verified.stages)
    if ran or rule.status not in {Status.VERIFIED, Status.SIMULATED}:
        return Status(rule.status), rule.why
    reason = "no samples were given to run it on" if verified is None else "it was not run"
    return Status.CHECKED, f"built and parsed back, but {reason}"
