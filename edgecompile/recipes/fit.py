"""Whether a target can honour a recipe, before any model is loaded."""

from __future__ import annotations

import dataclasses

from edgecompile.diagnostics import Diagnostic, EdgecompileError
from edgecompile.diagnostics.catalogue.recipe import MISSING_EARLIER_STEP, STEP_UNFIT
from edgecompile.passes.base import Need
from edgecompile.recipes.problems import raise_all
from edgecompile.recipes.types import Recipe, Step
from edgecompile.targets.schema import Target


def misfits(recipe: Recipe, target: Target) -> list[Diagnostic]:
    """Every step that `target` cannot take, or that lacks what an earlier step must make."""
    found: list[Diagnostic] = []
    made: set[Need] = set()
    for step in recipe.steps:
        found += _unfit(step, target)
        if Need.RANGES in step.operation.needs and Need.RANGES not in made:
            found.append(MISSING_EARLIER_STEP.at(step.where, step=step.label))
        made |= step.operation.makes
    return found


def check_fit(recipe: Recipe, target: Target) -> None:
    """Raise EC-236 or EC-237 for every misfit at once, each with the step's line and column."""
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
