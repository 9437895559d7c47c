"""Whether a target can honour a recipe, before any model is loaded."""

from __future__ import annotations

import dataclasses

from edgecompile.diagnostics import Diagnostic, EdgecompileError
from edgecompile.diagnostics.catalogue.recipe import (
    MISSING_EARLIER_STEP,
    NO_SUCH_ARTIFACT,
    STEP_UNFIT,
)
from edgecompile.passes.base import Need
from edgecompile.recipes.problems import raise_all
from edgecompile.recipes.types import Recipe, Step
from edgecompile.targets.schema import Target


def misfits(recipe: Recipe, target: Target) -> list[Diagnostic]:
    """Every step or format that `target` cannot take, or that lacks what an earlier step makes."""
    found: list[Diagnostic] = []
    made: set[Need] = set()
    for step in recipe.steps:
        found += _unfit(step, target)
        if Need.RANGES in step.operation.needs and Need.RANGES not in made:
            found.append(MISSING_EARLIER_STEP.at(step.where, step=step.label))
        made |= step.operation.makes
    formats = {rule.format for rule in target.artifacts}
    found += [
        NO_SUCH_ARTIFACT.at(emission.where, format=emission.emitter.id, target=target.id)
        for emission in recipe.emit
        if emission.emitter.id not in formats
    ]
    return found


def check_fit(recipe: Recipe, target: Target) -> None:
    """Raise EC-236, EC-237 and EC-239 for every misfit at once, each with its line and column."""
    raise_all(misfits(recipe, target))


def _unfit(step: Step, target: Target) -> list[Diagnostic]:
    """What the pass has against `target`; a pass may also raise a rule of its own."""
    try:
        reasons = step.operation.unfit(target)
    except EdgecompileError as error:
        return [dataclasses.replace(d, where=step.where) for d in error.diagnostics]
    return [
        STEP_UNFIT.at(step.where, step=step.label, target=target.id, reason=reason)
        for reason in reasons
    ]
