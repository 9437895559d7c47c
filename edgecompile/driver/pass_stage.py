"""The passes of a build: instruments from the request, events to the sink."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgecompile.driver.cached import Journal, StageTime
from edgecompile.driver.loading import Loaded
from edgecompile.driver.resolve import Resolved
from edgecompile.driver.samples import Samples
from edgecompile.driver.sink import Sink
from edgecompile.driver.workspace import unwritable
from edgecompile.ir.model import Model
from edgecompile.passes.cached_step import Surroundings
from edgecompile.passes.instruments import DumpIr, Instrument, StepLike, Timing
from edgecompile.passes.lazy import Lazy
from edgecompile.passes.pipeline import PipelineResult, run_pipeline
from edgecompile.passes.results import StepResult
from edgecompile.passes.verify_each import VerifyEach


@dataclass
class Narrator:
    """An instrument that tells the sink."""

    sink: Sink
    timing: Timing = field(default_factory=Timing)

    def before(self, step: StepLike, model: Lazy[Model]) -> None:
        """A step begins."""
        self.sink.step_started(step.label)
        self.timing.before(step, model)

    def after(self, result: StepResult, model: Lazy[Model]) -> None:
        """A step ended."""
        self.timing.after(result, model)
        for warning in result.warnings:
            self.sink.diagnostic(warning)
        self.sink.step_finished(
            result.label,
            seconds=self.timing.seconds[result.label],
            cached=result.cached,
            summary=result.summary,
        )


def run_passes(
    resolved: Resolved, journal: Journal, loaded: Loaded, samples: Samples, scratch: Path
) -> PipelineResult:
    """Take the model through the recipe. Raises what `run_pipeline` raises."""
    request = resolved.request
    instruments: list[Instrument] = [Narrator(resolved.sink)]
    if request.dump_ir is not None:
        instruments.append(DumpIr(_made(request.dump_ir)))
    if request.verify_each:
        instruments.append(VerifyEach(samples.calibrate))
    result = run_pipeline(
        resolved.recipe.steps,
        loaded.model,
        surroundings(resolved, samples, scratch),
        store=resolved.store,
        instruments=instruments,
    )
    options = [value for step in resolved.recipe.steps for _, value in step.operation]
    journal.replayable = not any(isinstance(value, Path) for value in options)
    journal.records += result.records
    journal.times += [
        StageTime(
            name=step.label,
            seconds=step.seconds,
            cpu_seconds=step.cpu_seconds,
            cached=step.cached,
            summary=step.summary,
        )
        for step in result.steps
    ]
    return result


def _made(directory: Path) -> Path:
    """`directory`, made if it was not there. Raises EC-711."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(directory, error) from error
    return directory


def surroundings(resolved: Resolved, samples: Samples, scratch: Path) -> Surroundings:
    """What all passes share."""
    return Surroundings(
        origin=resolved.request.model,
        target=resolved.target,
        workdir=scratch / "passes",
        data=samples.calibrate,
        threads=resolved.request.threads,
        progress=resolved.sink.progress,
    )
