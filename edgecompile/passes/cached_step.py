"""One step on one state: from the cache, or by running its pass and keeping what it gave."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgecompile.calibration.ranges import Ranges
from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.data import DATA_MISSING
from edgecompile.diagnostics.catalogue.passes import PASS_NOT_DETERMINISTIC
from edgecompile.diagnostics.catalogue.recipe import MISSING_EARLIER_STEP
from edgecompile.ir.facts import op_census
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Outcome
from edgecompile.passes.execute import execute
from edgecompile.passes.instruments import StepLike, Stopwatch
from edgecompile.passes.lazy import Lazy
from edgecompile.passes.material import step_material
from edgecompile.passes.results import StepResult
from edgecompile.passes.stored import (
    ARTIFACT,
    MODEL,
    RANGES,
    files_digest,
    read_model,
    read_ranges,
    restore_artifact,
    siblings,
    worth_keeping,
    written_model,
)
from edgecompile.store.entry import DamagedError, Entry
from edgecompile.store.history import StepRecord
from edgecompile.store.keys import Material, canonical, key_of
from edgecompile.store.memo import Memo
from edgecompile.store.store import Store
from edgecompile.targets.schema import Target
from edgecompile.targets.view import declared

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class State:
    """What flows from step to step."""

    model: Lazy[Model]
    ranges: Lazy[Ranges] | None = None
    reference: Lazy[Model] | None = None
    """The model that the first lossy step was given; None while all steps were exact."""
    artifact: Lazy[Path] | None = None
    """A vendor model that a pass has made of `model`; gone when a later step changes the model."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What all steps share. `workdir` must outlive the result: vendor models lie there."""

    origin: Path
    """The user's model file, for messages."""
    target: Target
    workdir: Path
    data: Lazy[Dataset] | None = None
    threads: int = 1
    progress: Callable[[str, int, int], None] | None = None
    """Called with a step's label, samples done and samples in all."""


class CachedStep:
    """One step on one state."""

    def __init__(
        self, *, step: StepLike, state: State, around: Surroundings, store: Store | None
    ) -> None:
        """Raises EC-300 for a step that lacks data, EC-237 for one that lacks ranges."""
        self.step, self.state, self.around, self.store = step, state, around, store
        self.inputs = _inputs(step, state, around.data)
        self.material: Material = step_material(
            step.operation,
            target=around.target,
            inputs=self.inputs,
            threads=around.threads,
            memo=store.memo if store else Memo(None),
        )
        self.key = key_of(self.material)

    def __call__(self) -> tuple[StepResult, State]:
        """From the cache, or by running the pass."""
        return self.recall() or self._make()

    def recall(self) -> tuple[StepResult, State] | None:
        """From the cache, or None."""
        entry = self.store.get(self.key) if self.store else None
        return None if entry is None else self._restore(entry)

    def record(self, *, hit: bool) -> StepRecord:
        """What `cache why` compares."""
        makers = {name: value.maker for name, value in self.inputs.items() if value.maker}
        return StepRecord(
            label=self.step.label, key=self.key, hit=hit, material=self.material, makers=makers
        )

    def _make(self) -> tuple[StepResult, State]:
        watch, model = Stopwatch(), self.state.model.get()
        done = execute(self.step.operation, model, self._context(), self.step.label)
        outcome = done.outcome
        state = self._after(outcome)
        result = StepResult(
            label=self.step.label,
            id=self.step.operation.id,
            key=self.key,
            cached=False,
            changed=outcome.changed,
            seconds=round(watch.seconds, 4),
            cpu_seconds=round(watch.cpu_seconds, 4),
            input_digest=model.digest,
            output_digest=outcome.model.digest,
            ops_before=op_census(model),
            ops_after=op_census(outcome.model),
            notes=tuple(outcome.notes),
            warnings=done.warnings,
        )
        if self.store is not None:
            self._keep(self.store, outcome, result, state)
        return result, state

    def _after(self, outcome: Outcome) -> State:
        label, state = self.step.label, self.state
        if outcome.changed:
            model = Lazy.known(outcome.model.digest, outcome.model, maker=label)
            state = replace(state, model=model, artifact=None, reference=self._reference())
        if outcome.ranges is not None:
            digest = hashlib.sha256(canonical(outcome.ranges.to_json())).hexdigest()
            state = replace(state, ranges=Lazy.known(digest, outcome.ranges, maker=label))
        if outcome.artifact is not None:
            digest = files_digest(siblings(outcome.artifact))
            state = replace(state, artifact=Lazy.known(digest, outcome.artifact, maker=label))
        return state

    def _keep(self, store: Store, outcome: Outcome, result: StepResult, state: State) -> None:
        files: dict[str, bytes | Path] = {}
        document = result.to_json()
        if outcome.changed and worth_keeping(outcome.model, result.seconds):
            files.update(written_model(outcome.model, self._workdir("model")))
        if outcome.ranges is not None and state.ranges is not None:
            files[RANGES] = canonical(outcome.ranges.to_json())
            document["ranges"] = state.ranges.digest
        if outcome.artifact is not None and state.artifact is not None:
            files.update({ARTIFACT + path.name: path for path in siblings(outcome.artifact)})
            document["artifact"] = {"digest": state.artifact.digest, "name": outcome.artifact.name}
        store.put(self.key, self.material, files, document)

    def _restore(self, entry: Entry) -> tuple[StepResult, State]:
        label, document, state = self.step.label, entry.result, self.state
        result = StepResult.from_json(
            document,
            label=label,
            id=self.step.operation.id,
            key=self.key,
            input_digest=state.model.digest,
        )
        if result.changed:
            state = replace(state, model=self._stored(entry, result.output_digest, self._model))
            state = replace(state, artifact=None, reference=self._reference())
        if "ranges" in document:
            ranges = self._stored(entry, document["ranges"], self._ranges)
            state = replace(state, ranges=ranges)
        if "artifact" in document:
            artifact = self._stored(entry, document["artifact"]["digest"], self._artifact)
            state = replace(state, artifact=artifact)
        return result, state

    def _reference(self) -> Lazy[Model] | None:
        """What a later step compares with, once this one has changed the model."""
        operation = self.step.operation
        if self.state.reference is None and operation.lossy and not operation.still_float:
            return self.state.model
        return self.state.reference

    def _stored(self, entry: Entry, digest: str, read: Callable[[Entry], T]) -> Lazy[T]:
        return Lazy(digest, lambda: read(entry), maker=self.step.label)

    def _model(self, entry: Entry) -> Model:
        if MODEL not in entry.files:
            return self._again(entry).model.get()
        try:
            return read_model(entry, self.around.origin)
        except DamagedError as error:
            return self._replaced(entry, error).model.get()

    def _ranges(self, entry: Entry) -> Ranges:
        try:
            return read_ranges(entry)
        except DamagedError as error:
            again = self._replaced(entry, error).ranges
            assert again is not None
            return again.get()

    def _artifact(self, entry: Entry) -> Path:
        try:
            return restore_artifact(entry, self._workdir("artifact"))
        except DamagedError as error:
            again = self._replaced(entry, error).artifact
            assert again is not None
            return again.get()

    def _replaced(self, entry: Entry, error: DamagedError) -> State:
        assert self.store is not None
        self.store.drop(self.key, self.step.label, str(error))
        return self._again(entry)

    def _again(self, entry: Entry) -> State:
        """Run the pass although its result is known, because the bytes are not at hand."""
        result, state = self._make()
        if result.output_digest != entry.result["model"]:
            where = Where(step=self.step.label)
            raise PASS_NOT_DETERMINISTIC.error(where, id=self.step.operation.id)
        return state

    def _context(self) -> Context:
        label, around, needs = self.step.label, self.around, self.step.operation.needs
        told = around.progress
        state = self.state
        return Context(
            target=declared(around.target, self.step.operation.facts),
            data=around.data.get() if around.data and Need.DATA in needs else None,
            ranges=state.ranges.get() if state.ranges and Need.RANGES in needs else None,
            reference=self._wanted_reference(),
            workdir=self._workdir("pass"),
            checkpoint=self.store.partial(self.key) if self.store else None,
            threads=around.threads,
            progress=None if told is None else lambda done, total: told(label, done, total),
        )

    def _wanted_reference(self) -> Model | None:
        if Need.REFERENCE not in self.step.operation.needs:
            return None
        return (self.state.reference or self.state.model).get()

    def _workdir(self, purpose: str) -> Path:
        directory = self.around.workdir / self.step.label.replace("#", "-") / purpose
        directory.mkdir(parents=True, exist_ok=True)
        return directory


def _inputs(step: StepLike, state: State, data: Lazy[Dataset] | None) -> dict[str, Lazy[Any]]:
    """What the step takes, by name. Raises EC-300 and EC-237 for what is not there."""
    needs, where = step.operation.needs, Where(step=step.label)
    inputs: dict[str, Lazy[Any]] = {"model": state.model}
    if Need.DATA in needs:
        if data is None:
            raise DATA_MISSING.error(where, step=step.label)
        inputs["data"] = data
    if Need.RANGES in needs:
        if state.ranges is None:
            raise MISSING_EARLIER_STEP.error(where, step=step.label)
        inputs["ranges"] = state.ranges
    if Need.REFERENCE in needs:
        inputs["reference"] = state.reference or state.model
    return inputs
