"""Turns pydantic's complaints about a recipe into diagnostics with place and nearest names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from edgecompile.diagnostics import Diagnostic, EdgecompileError
from edgecompile.diagnostics.catalogue.recipe import RECIPE_KEY, RECIPE_VALUE
from edgecompile.diagnostics.located import Loc, Located
from edgecompile.diagnostics.nearest import did_you_mean, nearest

_EXPECTED = re.compile(r"'([^']+)'")


def raise_all(problems: Iterable[Diagnostic]) -> None:
    """Raise one error with all `problems`, in order of their place; nothing when there are none."""
    found = sorted(problems, key=lambda d: (d.where.line or 0, d.where.column or 0))
    if found:
        raise EdgecompileError(tuple(found), RECIPE_VALUE.exit_code)


def from_validation(
    invalid: ValidationError, document: Located, base: Loc, place: str, known: Iterable[str]
) -> list[Diagnostic]:
    """Diagnostics for the errors of the value at `base`, which `place` names in words.

    `known` are the keys that would have been right at the top of that value.
    """
    return [
        _diagnostic(error, document, base, place, known)
        for error in invalid.errors(include_url=False)
    ]


def unknown_key(
    document: Located, loc: Loc, place: str, known: Iterable[str], otherwise: str = ""
) -> Diagnostic:
    """The key at `loc` means nothing there; the nearest of `known` is offered."""
    names = sorted(known)
    listed = f"known keys: {', '.join(names)}" if names else "no key is allowed here"
    hint = did_you_mean(str(loc[-1]), names, otherwise=otherwise or listed)
    return RECIPE_KEY.at(document.where(loc, key=True), key=loc[-1], place=place, hints=(hint,))


def explain(error: Mapping[str, Any]) -> str:
    """What is wrong with a value, in our form: lower case, no full stop, the value quoted."""
    text = str(error["msg"]).removeprefix("Value error, ").removesuffix(".")
    text = text.replace("Input should be", "must be", 1)
    text = text[:1].lower() + text[1:]
    given = error.get("input")
    if error["type"] == "missing":
        return "is required"
    if isinstance(given, bool):
        return f"{text}, not '{str(given).lower()}'"
    if isinstance(given, str | int | float):
        return f"{text}, not '{given}'"
    return text


def value_hints(error: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The nearest of the allowed words, when the error lists some."""
    given = error.get("input")
    if error["type"] not in {"literal_error", "enum"} or not isinstance(given, str):
        return None
    words = _EXPECTED.findall(str(error.get("ctx", {}).get("expected", "")))
    if not nearest(given, words):
        return None
    return (did_you_mean(given, words, otherwise=""),)


def field_names(model: type[BaseModel]) -> list[str]:
    """The keys that a model takes."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _diagnostic(
    error: Mapping[str, Any], document: Located, base: Loc, place: str, known: Iterable[str]
) -> Diagnostic:
    loc = (*base, *error["loc"])
    path = ".".join(f"item {p + 1}" if isinstance(p, int) else p for p in error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown_key(document, loc, place, known if len(error["loc"]) == 1 else ())
    where = document.where(loc)
    named = f"'{path}' of {place}" if path else place
    return RECIPE_VALUE.at(where, place=named, problem=explain(error), hints=value_hints(error))
