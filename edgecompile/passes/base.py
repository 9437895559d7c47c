"""The contract of a pass: `requires -> run -> ensures`.

A pass is a value: its fields are its options, so the recipe schema, `edgecompile passes NAME` and
the reference page all come from the class. The pipeline checks what a pass claims.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import ConfigDict

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.passes import PASS_NOTE
from edgecompile.diagnostics.core import NOWHERE
from edgecompile.ir.model import Model
from edgecompile.plugins.described import Described
from edgecompile.targets.schema import Target

if TYPE_CHECKING:
    from edgecompile.artifacts.budget import Budget
    from edgecompile.calibration.dataset import Dataset
    from edgecompile.calibration.ranges import Ranges
    from edgecompile.ir.facts import TensorSpec


class Need(StrEnum):
    """What a pass needs besides the model."""

    DATA = "data"
    """Calibration samples."""
    RANGES = "ranges"
    """Ranges made by an earlier `calibrate` step."""
    REFERENCE = "reference"
    """The float model that the first lossy step was given, to compare a quantized one with."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something the report should tell: what a pass did or why it did not fire at a place."""

    message: str
    node: str | None = None
    tensor: str | None = None
    op_type: str | None = None
    kept_float: bool = False
    """True when the note is the reason why a node stays in floating point."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a pass may look at besides the model. `target` shows only the facts in `Pass.facts`."""

    target: Target
    data: Dataset | None = None
    ranges: Ranges | None = None
    reference: Model | None = None
    workdir: Path | None = None
    checkpoint: Path | None = None
    """A file in which a long pass may keep its progress, to continue after an interruption; it is
    of this step and its inputs alone. None when there is no cache."""
    threads: int = 1
    progress: Callable[[int, int], None] | None = None
    """Called with samples done and samples in all, by passes that run the data."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a pass made. `changed` must be true exactly when the model's digest differs."""

    model: Model
    changed: bool
    notes: Sequence[Note] = ()
    ranges: Ranges | None = None
    """Set by passes that calibrate."""
    artifact: Path | None = None
    """Set by passes whose result is a vendor file (NNCF's OpenVINO model) instead of ONNX."""


@dataclass
class NoteBook:
    """Collects notes while a pass runs: `fail(reason, node)` is the idiom for "did not fire"."""

    notes: list[Note] = field(default_factory=list)

    def fail(self, reason: str, node: str | None = None, *, op_type: str | None = None) -> None:
        """Record why the pass did not fire at `node`."""
        self.notes.append(Note(message=reason, node=node, op_type=op_type))


class Pass(Described, ABC):
    """One step of a recipe. Subclasses are frozen; their fields are their options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ClassVar[str]
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset()
    makes: ClassVar[frozenset[Need]] = frozenset()
    """What later steps get from this one, such as `Need.RANGES`."""
    facts: ClassVar[tuple[str, ...]] = ()
    """Fields of `Target` that the pass reads; they become part of the cache key."""
    required_facts: ClassVar[tuple[str, ...]] = ()
    """Those of `facts` that must not be null: else the target cannot take the pass."""
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir",)
    """Distributions whose version can change the result; part of the cache key."""
    extra: ClassVar[str | None] = None
    """Optional extra that must be installed, such as `openvino`."""
    toolchain: ClassVar[str | None] = None
    """Isolated toolchain that must be installed, such as `aimet`."""
    mends: ClassVar[frozenset[str]] = frozenset()
    """Codes of what a check may say of the model as it comes, and that the pass takes away."""
    lossy: ClassVar[bool] = False
    """True when the pass means to change what the model computes, as quantization does.
    The others are held to it by `--verify-each`."""
    raises: ClassVar[bool] = False
    """True for a lossy pass that only takes quantized operators back to more precision."""
    still_float: ClassVar[bool] = False
    """True for a lossy pass whose result is a float model still, with weights of its own: that is
    what quantized weights are compared with from then on, not the model before it."""

    def unfit(self, target: Target) -> list[str]:
        """Reasons why `target` cannot take this step, known before any model is loaded.

        A recipe with such a step is refused by name and line.
        """
        return [
            f"the target declares no '{fact}'"
            for fact in self.required_facts
            if getattr(target, fact) is None
        ]

    def held_to(self, budgets: Sequence[Budget]) -> Self:
        """This step in a build with these `budgets`: most steps do the same whatever they are."""
        del budgets
        return self

    def takes_away(self, problem: Diagnostic, model: Model) -> bool:
        """Whether the pass removes what a check has found of the model as it comes."""
        del model
        return problem.code in self.mends

    def inputs_after(self, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """What the model's inputs take once this pass has run: samples are read for that.

        Raises what `requires` would say of the inputs, where options contradict them.
        """
        return tuple(inputs)

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """Problems that forbid running the pass on this model; empty when it may run."""
        del model, context
        return []

    @abstractmethod
    def run(self, model: Model, context: Context) -> Outcome:
        """Transform. Must not edit `model`'s graph: edit a `model.clone()` and return that.

        Return the model given, with `changed=False`, when there was nothing to do.
        """

    def ensures(self, before: Model, after: Model, context: Context) -> list[Diagnostic]:
        """What must hold afterwards; checked by the pipeline. Empty when it does."""
        del before, after, context
        return []


def unchanged(model: Model, notes: Sequence[Note] = ()) -> Outcome:
    """The outcome of a pass that found nothing to do."""
    return Outcome(model=model, changed=False, notes=notes)


def note_diagnostic(note: Note, step: str) -> Diagnostic:
    """A note in the form that reports and `--format json` use."""
    where = Where(step=step, node=note.node, tensor=note.tensor) if note.node else NOWHERE
    return PASS_NOTE.at(where, message=note.message)
