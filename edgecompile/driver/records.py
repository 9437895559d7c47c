"""Everything a build has found, as the facts that manifest and report share."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgecompile
from edgecompile.artifacts.manifest import (
    ArtifactRecord,
    DiagnosticRecord,
    FidelityRecord,
    KitRecord,
    ModelRecord,
    RecipeRecord,
    SizeRecord,
    StepRecord,
    TargetRecord,
)
from edgecompile.artifacts.report import NoteRecord, Report, StepReport
from edgecompile.artifacts.report_html import write_html
from edgecompile.artifacts.types import Artifact, BudgetResult, Coverage
from edgecompile.diagnostics import Diagnostic, Severity
from edgecompile.diagnostics.catalogue.budget import SLOWER
from edgecompile.driver.cached import Journal, StageTime
from edgecompile.driver.files import without_folders
from edgecompile.driver.loading import Loaded
from edgecompile.driver.resolve import Resolved
from edgecompile.driver.samples import Samples
from edgecompile.driver.verify import LIBRARIES, status_of
from edgecompile.passes.pipeline import PipelineResult
from edgecompile.passes.results import StepResult
from edgecompile.targets.catalogue import facts_sha256
from edgecompile.vendor import versions

if TYPE_CHECKING:
    from edgecompile.verify.results import VerifyResult

TIMED = frozenset({SLOWER.code})
"""Warnings that rest on a measurement of time, which another build would not repeat."""
REPORTED = {"judged", "metric_samples", "integer_macs", "latency"}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the stages of a build gave."""

    loaded: Loaded
    samples: Samples
    passed: PipelineResult
    artifacts: tuple[Artifact, ...]
    kit: KitRecord | None
    verified: VerifyResult | None
    budgets: tuple[BudgetResult, ...]
    diagnostics: tuple[Diagnostic, ...]
    """What speaks against the result, warnings and errors, except those of the passes."""


def inputs_of(resolved: Resolved, loaded: Loaded, samples: Samples) -> dict[str, Any]:
    """The part of the manifest that is known before any pass runs: what `--locked` compares."""
    recipe = resolved.recipe
    steps = tuple(StepRecord(**step.to_json()) for step in recipe.steps)
    emit = {e.emitter.id: e.emitter.model_dump(mode="json") for e in recipe.emit}
    return {
        "edgecompile": edgecompile.__version__,
        "libraries": versions(*libraries(resolved)),
        "model": ModelRecord(name=loaded.path.name, sha256=loaded.model.digest, bytes=loaded.bytes),
        "target": TargetRecord(id=resolved.target.id, facts_sha256=facts_sha256(resolved.target)),
        "recipe": RecipeRecord(name=recipe.name, sha256=recipe.sha256, steps=steps, emit=emit),
        "calibration": samples.calibration,
        "evaluation": samples.evaluation,
    }


def libraries(resolved: Resolved) -> list[str]:
    """Distributions that take part in the build, sorted."""
    found = set(LIBRARIES)
    for step in resolved.recipe.steps:
        found |= set(step.operation.libraries)
    for emitter in resolved.emitters:
        found |= set(emitter.libraries)
    return sorted(found)


def facts_of(resolved: Resolved, findings: Findings) -> dict[str, Any]:
    """The fields that manifest and report share."""
    verified = findings.verified
    records = []
    for artifact in findings.artifacts:
        status, why = status_of(resolved, artifact, verified)
        records.append(ArtifactRecord.of(artifact, status, why))
    return {
        **inputs_of(resolved, findings.loaded, findings.samples),
        "artifacts": tuple(records),
        "kit": findings.kit,
        "fidelity": None if verified is None else _fidelity(verified),
        "metrics": {} if verified is None else verified.metrics,
        "coverage": _coverage(findings),
        "size": SizeRecord(
            float_bytes=findings.loaded.bytes,
            artifact_bytes=sum(artifact.bytes for artifact in findings.artifacts),
        ),
        "budgets": findings.budgets,
        "diagnostics": _diagnostics(resolved, findings),
    }


def _coverage(findings: Findings) -> Coverage | None:
    """The account of the runtime that ran the artifact, or else of the compiler that made it."""
    if findings.verified is not None and findings.verified.coverage is not None:
        return findings.verified.coverage
    return findings.artifacts[0].coverage


def _diagnostics(resolved: Resolved, findings: Findings) -> tuple[DiagnosticRecord, ...]:
    """Warnings and errors that follow from the inputs alone.

    What rests on a measurement of time is left to the report, notes too.
    """
    found = [*findings.diagnostics, *(w for s in findings.passed.steps for w in s.warnings)]
    told = [d for d in dict.fromkeys(found) if d.severity is not Severity.NOTE]
    kept = [without_folders(d.to_json(), resolved.request) for d in told if d.code not in TIMED]
    return tuple(DiagnosticRecord(**document) for document in kept)


def _fidelity(verified: VerifyResult) -> FidelityRecord:
    # `split` never gives a sample to both sides.
    return FidelityRecord(samples=verified.samples, held_out=True, stages=verified.stages)


def report_of(journal: Journal, facts: Mapping[str, Any], findings: Findings) -> Report:
    """The report of this build: the facts, and what each step did and took."""
    passes = {step.label: step for step in findings.passed.steps}
    verified = findings.verified
    figures = {} if verified is None else verified.model_dump(include=REPORTED)
    all_found = [*findings.diagnostics, *(w for s in passes.values() for w in s.warnings)]
    return Report(
        **{**facts, "diagnostics": [d.to_json() for d in dict.fromkeys(all_found)]},
        **figures,
        steps=tuple(_step(time, passes.get(time.name)) for time in journal.times),
        seconds=round(journal.watch.seconds, 4),
        host={
            "processor": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
    )


def write_report(report: Report, directory: Path) -> None:
    """Write `report.json` and `report.html`. Raises `OSError`."""
    report.write(directory / "report.json")
    write_html(report, directory / "report.html")


def _step(time: StageTime, step: StepResult | None) -> StepReport:
    notes = step.notes if step else ()
    return StepReport(
        step=time.name,
        seconds=time.seconds,
        cpu_seconds=time.cpu_seconds,
        cached=time.cached,
        changed=step.changed if step else None,
        summary=time.summary,
        operators=step.operators if step else {},
        notes=tuple(NoteRecord(**asdict(note)) for note in notes),
    )
