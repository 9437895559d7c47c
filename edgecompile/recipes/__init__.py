"""Recipes: ordered passes with options, read from YAML with a place for every problem."""

from edgecompile.recipes.default import default_recipe
from edgecompile.recipes.fit import check_fit
from edgecompile.recipes.library import load_recipe, read_recipe, shipped_recipes
from edgecompile.recipes.overrides import apply_overrides
from edgecompile.recipes.schema import json_schema
from edgecompile.recipes.shapes import with_shapes
from edgecompile.recipes.types import Recipe, Step, VerifyOptions

__all__ = [
    "Recipe",
    "Step",
    "VerifyOptions",
    "apply_overrides",
    "check_fit",
    "default_recipe",
    "json_schema",
    "load_recipe",
    "read_recipe",
    "shipped_recipes",
    "with_shapes",
]
