"""From the YAML of one recipe to a `Recipe`: every problem is collected, with its place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgecompile.artifacts.budget import Budget, parse
from edgecompile.diagnostics import Diagnostic, EdgecompileError
from edgecompile.diagnostics.catalogue.recipe import (
    BAD_YAML,
    RECIPE_VALUE,
    UNKNOWN_PASS,
)
from edgecompile.diagnostics.located import Loc, Located, read_yaml
from edgecompile.diagnostics.nearest import did_you_mean
from edgecompile.emitters.base import Emitter
from edgecompile.passes.base import Pass
from edgecompile.plugins.described import Described
from edgecompile.recipes.paths import contain
from edgecompile.recipes.problems import field_names, from_validation, raise_all, unknown_key
from edgecompile.recipes.types import SCHEMA, Emission, Recipe, Step, VerifyOptions, labels

Passes = Mapping[str, type[Pass]]
Emitters = Mapping[str, type[Emitter]]
Options = TypeVar("Options", bound=BaseModel)


class Header(Described):
    """The top level of a recipe file. `steps` and `budgets` are checked item by item."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Annotated[Literal["edgecompile/recipe@1"], Field(alias="schema")]
    """Version of the format."""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the recipe, as manifests show it."""
    description: str = ""
    """One sentence: what it does and for whom."""
    steps: list[dict[str, Any]] = Field(min_length=1)
    """The passes to run, in order."""
    emit: dict[str, dict[str, Any]] = Field(default={})
    """Options for artifact formats: format, then its options."""
    budgets: list[Any] = Field(default=[])
    """What the result must reach, such as `cosine>=0.99`."""
    verify: VerifyOptions = VerifyOptions()
    """How to compare the result with the float model."""


def parse_recipe(
    text: str, file: str, passes: Passes, emitters: Emitters, source: Path | None = None
) -> Recipe:
    """The recipe that YAML `text` describes; `file` is its name in messages.

    Raises one error that holds every problem found (EC-232 to EC-235, EC-250), with line and
    column.
    """
    document = read_yaml(text, file, BAD_YAML)
    if not isinstance(document.value, dict):
        problem = f"must be a mapping with 'schema: {SCHEMA}' at its head"
        raise RECIPE_VALUE.error(document.where(()), place="the recipe", problem=problem)
    problems: list[Diagnostic] = []
    header = _header(document, problems)
    directory = source.parent if source is not None else None
    steps = _steps(document, passes, directory, problems)
    emit = _emissions(document, emitters, problems)
    budgets = _budgets(document, problems)
    raise_all(problems)
    assert header is not None
    return Recipe(
        name=header.name,
        description=header.description,
        steps=steps,
        emit=emit,
        budgets=budgets,
        verify=header.verify,
        source=source,
    )


def validate_options(kind: type[Options], options: Any) -> Options:
    """A pass or emitter with these options, read as strictly as JSON: `true` is not 1.

    Raises `pydantic.ValidationError`.
    """
    return kind.model_validate_json(json.dumps(options), strict=True)


def _header(document: Located, problems: list[Diagnostic]) -> Header | None:
    try:
        return validate_options(Header, document.value)
    except ValidationError as invalid:
        problems += from_validation(invalid, document, (), "the recipe", field_names(Header))
        return None


def _steps(
    document: Located, passes: Passes, directory: Path | None, problems: list[Diagnostic]
) -> tuple[Step, ...]:
    items = document.value.get("steps")
    if not isinstance(items, list):
        return ()
    made: list[Step] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            continue  # the header has already complained
        try:
            step = _step(document, ("steps", index), item, passes, directory)
        except EdgecompileError as error:
            problems += error.diagnostics
        else:
            made.append(step)
    names = labels([step.operation.id for step in made])
    return tuple(dataclasses.replace(s, label=n) for s, n in zip(made, names, strict=True))


def _step(
    document: Located, loc: Loc, item: dict[str, Any], passes: Passes, directory: Path | None
) -> Step:
    if "pass" not in item:
        problem = "the key 'pass' is required"
        raise RECIPE_VALUE.error(document.where(loc), place="a step", problem=problem)
    name = item["pass"]
    if not isinstance(name, str) or name not in passes:
        hint = did_you_mean(str(name), passes, otherwise=UNKNOWN_PASS.fix[0])
        raise UNKNOWN_PASS.error(document.where((*loc, "pass")), name=name, hints=(hint,))
    place = f"the step '{name}'"
    options = {key: value for key, value in item.items() if key != "pass"}
    try:
        operation = validate_options(passes[name], options)
    except ValidationError as invalid:
        known = field_names(passes[name])
        found = from_validation(invalid, document, loc, place, known)
        raise EdgecompileError(tuple(found), RECIPE_VALUE.exit_code) from None
    operation = contain(operation, directory, lambda option: document.where((*loc, option)))
    return Step(label=name, operation=operation, where=document.where((*loc, "pass")))


def _emissions(
    document: Located, emitters: Emitters, problems: list[Diagnostic]
) -> tuple[Emission, ...]:
    section = document.value.get("emit")
    made: list[Emission] = []
    for name, options in sorted(section.items()) if isinstance(section, dict) else ():
        loc: Loc = ("emit", name)
        if name not in emitters:
            problems.append(unknown_key(document, loc, "'emit'", emitters))
            continue
        if not isinstance(options, dict):
            continue  # the header has already complained
        try:
            emitter = validate_options(emitters[name], options)
        except ValidationError as invalid:
            known = field_names(emitters[name])
            problems += from_validation(invalid, document, loc, f"the format '{name}'", known)
        else:
            made.append(Emission(emitter=emitter, where=document.where(loc, key=True)))
    return tuple(made)


def _budgets(document: Located, problems: list[Diagnostic]) -> tuple[Budget, ...]:
    items = document.value.get("budgets")
    made: list[Budget] = []
    for index, item in enumerate(items if isinstance(items, list) else []):
        loc: Loc = ("budgets", index)
        try:
            if isinstance(item, str):
                made.append(parse(item, document.where(loc)))
            else:
                made.append(validate_options(Budget, item))
        except EdgecompileError as error:
            problems += error.diagnostics
        except ValidationError as invalid:
            known = field_names(Budget)
            problems += from_validation(invalid, document, loc, "a budget", known)
    return tuple(made)
