"""Run the steps of a recipe in order, each from the cache when nothing it depends on has changed.

The chain runs on digests: a step's key holds the digests of what it takes, and its entry holds the
digest of what it gave. So a step that gives the same as before lets all later ones hit, and a
model is opened only when a step really runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecompile.ir.model import Model
from edgecompile.passes.cached_step import CachedStep, State, Surroundings
from edgecompile.passes.instruments import Instrument, StepLike
from edgecompile.passes.lazy import Lazy
from edgecompile.passes.results import StepResult
from edgecompile.store.history import StepRecord
from edgecompile.store.store import Store


@dataclass(frozen=True, kw_only=True)
class PipelineResult:
    """What the last step gave, and what every step did."""

    state: State
    steps: tuple[StepResult, ...]
    records: tuple[StepRecord, ...]
    """For `cache why`."""


def run_pipeline(
    steps: Sequence[StepLike],
    model: Lazy[Model],
    around: Surroundings,
    *,
    store: Store | None = None,
    instruments: Sequence[Instrument] = (),
) -> PipelineResult:
    """Take `model` through `steps`.

    Raises what the steps' `requires` find, EC-300 for a step that lacks data, EC-237 for one that
    lacks ranges, and EC-401 to EC-405 for a pass that breaks its contract.
    """
    state = State(model=model)
    results: list[StepResult] = []
    records: list[StepRecord] = []
    for step in steps:
        for instrument in instruments:
            instrument.before(step, state.model)
        run = CachedStep(step=step, state=state, around=around, store=store)
        result, state = run()
        for instrument in instruments:
            instrument.after(result, state.model)
        results.append(result)
        records.append(run.record(hit=result.cached))
    return PipelineResult(state=state, steps=tuple(results), records=tuple(records))


def forecast(
    steps: Sequence[StepLike], model: Lazy[Model], around: Surroundings, *, store: Store | None
) -> set[str]:
    """Labels of the first steps, up to the first that would run: nothing runs here."""
    state, hits = State(model=model), set[str]()
    for step in steps:
        known = CachedStep(step=step, state=state, around=around, store=store).recall()
        if known is None:
            break
        hits.add(step.label)
        state = known[1]
    return hits
