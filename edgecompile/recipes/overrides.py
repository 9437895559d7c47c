"""`--set STEP.OPTION=VALUE`: change options of a recipe's steps and artifact formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue.recipe import (
    BAD_OPTION_VALUE,
    BAD_OVERRIDE,
    UNKNOWN_OPTION,
    UNKNOWN_STEP,
)
from edgecompile.diagnostics.located import read_yaml
from edgecompile.diagnostics.nearest import did_you_mean
from edgecompile.emitters.registry import all_emitters
from edgecompile.recipes.document import Emitters, validate_options
from edgecompile.recipes.fit import check_fit
from edgecompile.recipes.paths import contain
from edgecompile.recipes.problems import explain, value_hints
from edgecompile.recipes.types import Emission, Recipe, Step
from edgecompile.targets.schema import Target

FLAG = Where(file="--set")
Kind = TypeVar("Kind", bound=BaseModel)


def apply_overrides(
    recipe: Recipe,
    overrides: Sequence[str],
    target: Target | None = None,
    *,
    emitters: Emitters | None = None,
) -> Recipe:
    """`recipe` with the options that `overrides` name replaced; a later one wins.

    STEP is a step's label: the pass id, or `id#2` for the second use of that pass; or the format
    of an artifact, such as `openvino-ir`. VALUE is YAML: `8`, `true`, `null`, `entropy`,
    `[Conv, MatMul]`. With `target` the result is checked against it. Raises EC-240 to EC-243 for
    every override that is wrong, with the nearest names.
    """
    emitters = all_emitters() if emitters is None else emitters
    changed, problems = recipe, list[Diagnostic]()
    for text in overrides:
        try:
            changed = _override(changed, text, emitters)
        except EdgecompileError as error:
            problems += error.diagnostics
    if problems:
        raise EdgecompileError(tuple(problems), BAD_OVERRIDE.exit_code)
    if target is not None:
        check_fit(changed, target)
    return changed


def _override(recipe: Recipe, text: str, emitters: Emitters) -> Recipe:
    name, equals, value = text.partition("=")
    label, dot, option = name.strip().rpartition(".")
    if not (equals and dot and label and option):
        raise BAD_OVERRIDE.error(FLAG, text=text)
    for index, step in enumerate(recipe.steps):
        if step.label == label:
            new = _set_step(recipe, step, option, value)
            steps = (*recipe.steps[:index], new, *recipe.steps[index + 1 :])
            return dataclasses.replace(recipe, steps=steps)
    if label in emitters:
        return _set_emitter(recipe, emitters, label, option, value)
    names = [step.label for step in recipe.steps]
    hint = did_you_mean(label, [*names, *emitters], otherwise=_listing("steps", names))
    raise UNKNOWN_STEP.error(FLAG, recipe=recipe.name, step=label, hints=(hint,))


def _set_step(recipe: Recipe, step: Step, option: str, value: str) -> Step:
    given = step.to_json()["options"]
    operation = _with_option(type(step.operation), given, step.label, option, value)
    directory = recipe.source.parent if recipe.source is not None else None
    return dataclasses.replace(step, operation=contain(operation, directory, lambda _: FLAG))


def _set_emitter(
    recipe: Recipe, emitters: Emitters, format: str, option: str, value: str
) -> Recipe:
    before = recipe.emitter(format) or emitters[format]()
    given = before.model_dump(mode="json")
    emitter = _with_option(type(before), given, format, option, value)
    others = [e for e in recipe.emit if e.emitter.id != format]
    emit = sorted([*others, Emission(emitter=emitter, where=FLAG)], key=lambda e: e.emitter.id)
    return dataclasses.replace(recipe, emit=tuple(emit))


def _with_option(
    kind: type[Kind], given: dict[str, Any], label: str, option: str, value: str
) -> Kind:
    """A pass or emitter with the options `given`, and `option` as the YAML `value` says."""
    if option not in kind.model_fields:
        known = kind.model_fields
        hint = did_you_mean(option, known, otherwise=_listing("options", known))
        raise UNKNOWN_OPTION.error(FLAG, step=label, option=option, hints=(hint,))
    fields = {"step": label, "option": option, "value": value}
    parsed = read_yaml(value, "--set", BAD_OPTION_VALUE, **fields).value
    try:
        return validate_options(kind, {**given, option: parsed})
    except ValidationError as invalid:
        error = invalid.errors(include_url=False)[0]
        raise BAD_OPTION_VALUE.error(
            FLAG, **fields, problem=explain(error), hints=value_hints(error)
        ) from None


def _listing(what: str, names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"{what}: {listed}" if listed else f"it has no {what}"
