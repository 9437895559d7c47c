"""Which recipe a target takes for a model when nobody names one."""

from __future__ import annotations

from edgecompile.ir.kinds import is_transformer
from edgecompile.ir.model import Model
from edgecompile.targets.schema import Target


def default_recipe(target: Target, model: Model) -> str:
    """The target's recipe for transformers if it has one and `model` is one, else its own."""
    special = target.transformer_recipe
    return special if special is not None and is_transformer(model) else target.recipe
