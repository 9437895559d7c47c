"""Paths in recipes: only files in the recipe's own directory or below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.recipe import PATH_OUTSIDE
from edgecompile.passes.base import Pass


def contain(operation: Pass, directory: Path | None, where: Callable[[str], Where]) -> Pass:
    """`operation` with its path options taken relative to `directory`, the recipe's own.

    Raises EC-238 for a path that leads out of it (absolute, `..`, symbolic link), or when the
    recipe has no directory because it ships with edgecompile. `where` gives an option's place.
    """
    paths = {name: value for name, value in operation if isinstance(value, Path)}
    if not paths:
        return operation
    for name, path in paths.items():
        if directory is None or not _inside(path, directory):
            raise PATH_OUTSIDE.error(where(name), option=name, path=path.as_posix())
    joined = {name: directory / path for name, path in paths.items() if directory is not None}
    return operation.model_copy(update=joined)


def relative(path: Path, directory: Path) -> str:
    """`path`, which `contain` has joined, as the recipe wrote it."""
    return path.relative_to(directory).as_posix()


def _inside(path: Path, directory: Path) -> bool:
    if path.is_absolute() or path.drive:
        return False
    return (directory / path).resolve().is_relative_to(directory.resolve())
