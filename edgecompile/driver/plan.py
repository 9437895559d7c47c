"""`--dry-run`: what a build would do, and what it would find in the cache."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgecompile.driver.cached import Journal
from edgecompile.driver.loading import load_stage
from edgecompile.driver.pass_stage import surroundings
from edgecompile.driver.records import libraries
from edgecompile.driver.request import BuildRequest
from edgecompile.driver.resolve import preflight, resolve
from edgecompile.driver.samples import choose_samples
from edgecompile.driver.sink import Sink
from edgecompile.driver.workspace import refuse_foreign
from edgecompile.passes.pipeline import forecast
from edgecompile.store.location import cache_root
from edgecompile.store.store import Store
from edgecompile.vendor import versions

SCHEMA = "edgecompile/plan@1"


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One step of the recipe with every option, and whether the cache holds its result."""

    step: str
    id: str
    options: dict[str, Any]
    cached: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A resolved request: nothing is missing, and nothing was built."""

    model: str
    model_sha256: str
    nodes: int
    opset: int
    target: str
    recipe: str
    steps: tuple[PlannedStep, ...]
    """A step is `cached` when it and all steps before it are; one further down may still be."""
    artifacts: tuple[str, ...]
    """Formats."""
    budgets: tuple[str, ...]
    calibrate_samples: int
    verify_samples: int
    toolchain: dict[str, str]
    """Distributions that take part, and their versions."""
    output: str

    def to_json(self) -> dict[str, Any]:
        """The document of `--dry-run --format json`."""
        return {"schema": SCHEMA, **asdict(self)}


def plan(request: BuildRequest, sink: Sink) -> Plan:
    """Resolve `request` without building. Raises what `build` would raise before its first pass."""
    store = Store(cache_root(request.cache_dir), sink.diagnostic)
    resolved = resolve(request, store, sink)
    preflight(resolved)
    refuse_foreign(request.output)
    journal = Journal()
    loaded = load_stage(resolved, journal)
    samples = choose_samples(resolved, journal, loaded)
    with TemporaryDirectory(prefix="edgecompile-") as scratch:
        around = surroundings(resolved, samples, Path(scratch))
        hits = forecast(resolved.recipe.steps, loaded.model, around, store=resolved.store)
    steps = tuple(
        PlannedStep(
            step=step.label,
            id=step.operation.id,
            options=step.operation.model_dump(mode="json"),
            cached=step.label in hits,
        )
        for step in resolved.recipe.steps
    )
    return Plan(
        model=request.model.name,
        model_sha256=loaded.model.digest,
        nodes=loaded.nodes,
        opset=loaded.opset,
        target=resolved.target.id,
        recipe=resolved.recipe.name,
        steps=steps,
        artifacts=tuple(emitter.id for emitter in resolved.emitters),
        budgets=tuple(str(budget) for budget in resolved.recipe.budgets),
        calibrate_samples=samples.calibration.samples if samples.calibration else 0,
        verify_samples=samples.evaluation.samples if samples.evaluation else 0,
        toolchain=versions(*libraries(resolved)),
        output=str(request.output),
    )
