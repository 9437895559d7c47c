"""The check of a build: the same as `edgecompile check`, cached, before any pass runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgecompile.diagnostics import Diagnostic, EdgecompileError, Severity
from edgecompile.diagnostics.catalogue import exit_code_of
from edgecompile.diagnostics.catalogue.check import (
    OPERATOR_ELSEWHERE,
    OPERATOR_TOO_NEW,
)
from edgecompile.diagnostics.catalogue.emit import (
    DIMENSION_FREE,
)
from edgecompile.diagnostics.catalogue.tensorrt import DLA_LEAVES, DLA_PIECES
from edgecompile.driver.cached import Journal, Made, cached_stage
from edgecompile.driver.emit import CORE_LIBRARIES, ROOMS
from edgecompile.driver.loading import Loaded
from edgecompile.driver.resolve import Resolved
from edgecompile.ir.model import Model
from edgecompile.recipes import Recipe
from edgecompile.store.code import code_sha256
from edgecompile.targets.catalogue import facts_sha256
from edgecompile.vendor import versions

CHECK = "check"
TOLD_OF_THE_ARTIFACT = {
    rule.code
    for rule in (OPERATOR_ELSEWHERE, OPERATOR_TOO_NEW, DIMENSION_FREE, DLA_LEAVES, DLA_PIECES)
}
"""What emitters say of the model as it ships; of the model as it came it may be mended by then."""


def check_stage(
    resolved: Resolved, journal: Journal, loaded: Loaded, directory: Path
) -> tuple[Diagnostic, ...]:
    """Warnings about the model. Raises every error at once."""

    def make() -> Made:
        from edgecompile.driver.check import check_model

        found = check_model(loaded.model.get(), resolved.target, resolved.emitters)
        nowhere = [replace(d, where=replace(d.where, file=None)) for d in found]
        left = without_mended(found, resolved.recipe, loaded.model.get)
        return Made(result={"found": [d.to_json() for d in nowhere]}, summary=_summary(left))

    libraries = {name for emitter in resolved.emitters for name in emitter.libraries}
    material = {
        "kind": CHECK,
        "code": code_sha256((*ROOMS, "driver"), resolved.memo),
        "inputs": {"model": loaded.model.digest},
        "options": {
            "steps": sorted({step.operation.id for step in resolved.recipe.steps}),
            "emitters": {e.id: e.model_dump(mode="json") for e in resolved.emitters},
        },
        "target": facts_sha256(resolved.target),
        "libraries": versions(*sorted({*CORE_LIBRARIES, *libraries})),
    }
    document = cached_stage(resolved, journal, CHECK, material, make, directory=directory)
    # Another file of the same content may have been checked: the place is that of this one.
    known = [Diagnostic.from_json(d) for d in document["found"]]
    here = [replace(d, where=replace(d.where, file=str(loaded.path))) for d in known]
    found = [
        d
        for d in without_mended(here, resolved.recipe, loaded.model.get)
        if d.code not in TOLD_OF_THE_ARTIFACT
    ]
    errors = tuple(d for d in found if d.severity is Severity.ERROR)
    if errors:
        raise EdgecompileError(errors, exit_code_of(errors))
    for diagnostic in found:
        resolved.sink.diagnostic(diagnostic)
    return tuple(found)


def without_mended(
    found: Sequence[Diagnostic], recipe: Recipe, model: Callable[[], Model]
) -> list[Diagnostic]:
    """`found` without what a step of `recipe` removes from `model`."""
    steps = [step.operation for step in recipe.steps]
    if not any(d.code in step.mends for d in found for step in steps):
        return list(found)
    return [d for d in found if not any(step.takes_away(d, model()) for step in steps)]


def _summary(found: list[Diagnostic]) -> str:
    errors = sum(d.severity is Severity.ERROR for d in found)
    warnings = sum(d.severity is Severity.WARNING for d in found)
    return f"{errors} errors, {warnings} warnings" if found else "fits the target"
