"""`Recipe` and `Step`: what the loader makes of YAML, ready to run."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from edgecompile.artifacts.budget import Budget
from edgecompile.diagnostics import Where
from edgecompile.emitters.base import Emitter
from edgecompile.passes.base import Pass
from edgecompile.plugins.described import Described
from edgecompile.recipes.paths import relative

if TYPE_CHECKING:
    from edgecompile.ir.facts import TensorSpec

SCHEMA = "edgecompile/recipe@1"


class VerifyOptions(Described):
    """The `verify` section of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(default=16, ge=1, le=100_000)
    """How many held-out samples to compare on, at most."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: a pass with its options, and its line in the recipe.

    `label` is unique in the recipe: the pass id, then `id#2`, `id#3` for further uses.
    """

    label: str
    operation: Pass
    where: Where

    def to_json(self) -> dict[str, Any]:
        """The resolved step: every option, defaults too."""
        options = self.operation.model_dump(mode="json")
        for name, value in self.operation:
            if isinstance(value, Path):
                options[name] = relative(value, Path(self.where.file or "").parent)
        return {"step": self.label, "pass": self.operation.id, "options": options}


@dataclass(frozen=True, kw_only=True)
class Emission:
    """Options for the artifacts of one format, and their place in the recipe."""

    emitter: Emitter
    where: Where


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Ordered steps, how to write the artifacts, and the budgets that the result must meet."""

    name: str
    description: str
    steps: tuple[Step, ...]
    emit: tuple[Emission, ...] = ()
    """Formats that the recipe sets options for, sorted; the others take the defaults."""
    budgets: tuple[Budget, ...] = ()
    verify: VerifyOptions = field(default_factory=VerifyOptions)
    source: Path | None = None
    """The file; None for a recipe that ships with edgecompile."""

    @property
    def sha256(self) -> str:
        """Digest of what the recipe does: resolved steps, emitters, budgets, verify options."""
        text = json.dumps(self.to_json()["does"], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def inputs_after(self, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """What the inputs of a model take in the end. Raises EC-423 and EC-424."""
        for step in self.steps:
            inputs = step.operation.inputs_after(inputs)
        return tuple(inputs)

    def emitter(self, format: str) -> Emitter | None:
        """The emitter of `format` with the recipe's options; None when it sets none."""
        return next((e.emitter for e in self.emit if e.emitter.id == format), None)

    def to_json(self) -> dict[str, Any]:
        """The resolved recipe, as `edgecompile recipes NAME --format json` prints it."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "description": self.description,
            "does": {
                "steps": [step.to_json() for step in self.steps],
                "emit": {e.emitter.id: e.emitter.model_dump(mode="json") for e in self.emit},
                "budgets": [b.model_dump(mode="json") for b in self.budgets],
                "verify": self.verify.model_dump(mode="json"),
            },
        }


def labels(ids: list[str]) -> list[str]:
    """Unique labels for passes in order: `a, b, a` gives `a, b, a#2`."""
    seen: Counter[str] = Counter()
    result = []
    for id_ in ids:
        seen[id_] += 1
        result.append(id_ if seen[id_] == 1 else f"{id_}#{seen[id_]}")
    return result
