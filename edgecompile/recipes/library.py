"""Where recipes are found: shipped with edgecompile, registered by others, or a file by path."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from edgecompile.diagnostics.catalogue.recipe import RECIPE_UNREADABLE, UNKNOWN_RECIPE
from edgecompile.diagnostics.nearest import did_you_mean
from edgecompile.emitters.registry import all_emitters
from edgecompile.passes.registry import all_passes
from edgecompile.plugins.resources import yaml_files
from edgecompile.recipes.document import Passes, parse_recipe
from edgecompile.recipes.fit import check_fit
from edgecompile.recipes.types import Recipe
from edgecompile.targets.schema import Target

GROUP = "edgecompile.recipes"


def load_recipe(name_or_path: str, target: Target, *, passes: Passes | None = None) -> Recipe:
    """The recipe of this name, or in this YAML file, checked against `target`.

    Raises EC-230 for an unknown name (nearest offered), EC-231 for an unreadable file, EC-232 to
    EC-238 for what is wrong in it, all problems at once, with line and column.
    """
    recipe = read_recipe(name_or_path, passes=passes)
    check_fit(recipe, target)
    return recipe


def read_recipe(name_or_path: str, *, passes: Passes | None = None) -> Recipe:
    """Like `load_recipe`, without a target to check it against."""
    known, emitters = all_passes() if passes is None else passes, all_emitters()
    if _is_path(name_or_path):
        path = Path(name_or_path)
        return parse_recipe(_read(path), path.as_posix(), known, emitters, source=path)
    shipped = shipped_recipes()
    if name_or_path not in shipped:
        hints = (did_you_mean(name_or_path, shipped, otherwise=UNKNOWN_RECIPE.fix[0]),)
        if Path(name_or_path).is_file():
            hints = (f"to use the file of that name, write './{name_or_path}'",)
        raise UNKNOWN_RECIPE.error(name=name_or_path, hints=hints)
    entry = shipped[name_or_path]
    return parse_recipe(entry.read_text(encoding="utf-8"), entry.name, known, emitters)


@functools.cache
def shipped_recipes() -> Mapping[str, Traversable]:
    """Recipes that can be named without a path, by name.

    A wheel carries them in `recipes/builtin`; in a source tree they lie in `recipes/` at its root.
    """
    packaged = resources.files("edgecompile.recipes").joinpath("builtin")
    source = resources.files("edgecompile").joinpath("..", "recipes")
    return yaml_files(packaged if packaged.is_dir() else source, GROUP)


def _is_path(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        problem = error.strerror or str(error)
        raise RECIPE_UNREADABLE.error(path=path.as_posix(), problem=problem) from None
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8"
        raise RECIPE_UNREADABLE.error(path=path.as_posix(), problem=problem) from None
