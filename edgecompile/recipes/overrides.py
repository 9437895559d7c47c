"""`--set STEP.OPTION=VALUE`: change options of a recipe's steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue.recipe import (
    BAD_OPTION_VALUE,
    BAD_OVERRIDE,
    UNKNOWN_OPTION,
    UNKNOWN_STEP,
)
from edgecompile.diagnostics.located import read_yaml
from edgecompile.diagnostics.nearest import did_you_mean
from edgecompile.recipes.document import validate_options
from edgecompile.recipes.fit import check_fit
from edgecompile.recipes.paths import contain
from edgecompile.recipes.problems import explain, value_hints
from edgecompile.recipes.types import Recipe, Step
from edgecompile.targets.schema import Target

FLAG = "--set"


def apply_overrides(
    recipe: Recipe, overrides: Sequence[str], target: Target | None = None
) -> Recipe:
    """`recipe` with the options that `overrides` name replaced; a later one wins.

    STEP is a step's label: the pass id, or `id#2` for the second use of that pass. VALUE is YAML:
    `8`, `true`, `null`, `entropy`, `[Conv, MatMul]`. With `target` the result is checked against
    it. Raises EC-240 to EC-243 for every override that is wrong, with the nearest names.
    """
    steps = {step.label: step for step in recipe.steps}
    problems: list[Diagnostic] = []
    for text in overrides:
        try:
            step = _override(recipe, steps, text)
        except EdgecompileError as error:
            problems += error.diagnostics
        else:
            steps[step.label] = step
    if problems:
        raise EdgecompileError(tuple(problems), BAD_OVERRIDE.exit_code)
    changed = dataclasses.replace(recipe, steps=tuple(steps.values()))
    if target is not None:
        check_fit(changed, target)
    return changed


def _override(recipe: Recipe, steps: dict[str, Step], text: str) -> Step:
    name, equals, value = text.partition("=")
    label, dot, option = name.strip().rpartition(".")
    where = Where(file=FLAG)
    if not (equals and dot and label and option):
        raise BAD_OVERRIDE.error(where, text=text)
    if label not in steps:
        hint = did_you_mean(label, steps, otherwise=_listing("steps", steps))
        raise UNKNOWN_STEP.error(where, recipe=recipe.name, step=label, hints=(hint,))
    step = steps[label]
    known = type(step.operation).model_fields
    if option not in known:
        hint = did_you_mean(option, known, otherwise=_listing("options", known))
        raise UNKNOWN_OPTION.error(where, step=label, option=option, hints=(hint,))
    fields = {"step": label, "option": option, "value": value}
    parsed = read_yaml(value, FLAG, BAD_OPTION_VALUE, **fields).value
    options = {**step.to_json()["options"], option: parsed}
    try:
        operation = validate_options(type(step.operation), options)
    except ValidationError as invalid:
        error = invalid.errors(include_url=False)[0]
        raise BAD_OPTION_VALUE.error(
            where, **fields, problem=explain(error), hints=value_hints(error)
        ) from None
    directory = recipe.source.parent if recipe.source is not None else None
    operation = contain(operation, directory, lambda _: where)
    return dataclasses.replace(step, operation=operation)


def _listing(what: str, names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"{what}: {listed}" if listed else f"it has no {what}"
