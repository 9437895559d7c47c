"""`--shape NAME=VALUE`: shapes of the model's inputs, as an option of `freeze_shapes`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.usage import BAD_VALUE
from edgecompile.passes.graph.freeze_shapes import FreezeShapes
from edgecompile.recipes.types import Recipe, Step

FLAG = "--shape"
_NUMBER = re.compile(r"[1-9][0-9]*")
_SEPARATORS = re.compile(r"\s*[x,]\s*")


def with_shapes(recipe: Recipe, shapes: Sequence[str]) -> Recipe:
    """`recipe` with the shapes of `shapes` frozen; a later one wins over an earlier.

    `L=128` is the value of a symbolic dimension, wherever it occurs; `ids=1x128` or `ids=[1, 128]`
    the whole shape of an input. They go to the recipe's first `freeze_shapes`; a recipe without one
    gets it as its first step, which then freezes nothing else. Raises EC-263 for what is neither.
    """
    if not shapes:
        return recipe
    dims, inputs = dict[str, int](), dict[str, tuple[int, ...]]()
    for text in shapes:
        name, value = _parsed(text)
        if isinstance(value, int):
            dims[name] = value
        else:
            inputs[name] = value
    for at, step in enumerate(recipe.steps):
        if isinstance(step.operation, FreezeShapes):
            merged = step.operation.model_copy(
                update={
                    "dims": {**step.operation.dims, **dims},
                    "inputs": {**step.operation.inputs, **inputs},
                }
            )
            steps = (*recipe.steps[:at], dataclasses.replace(step, operation=merged))
            return dataclasses.replace(recipe, steps=(*steps, *recipe.steps[at + 1 :]))
    operation = FreezeShapes(dims=dims, inputs=inputs, batch=None)
    first = Step(label=FreezeShapes.id, operation=operation, where=Where(file=FLAG))
    return dataclasses.replace(recipe, steps=(first, *recipe.steps))


def _parsed(text: str) -> tuple[str, int | tuple[int, ...]]:
    """`L=128` gives 128, `ids=1x128` and `ids=[1, 128]` give (1, 128)."""
    name, _, value = (part.strip() for part in text.rpartition("="))
    listed = value.startswith("[") and value.endswith("]")
    numbers = _SEPARATORS.split(value[1:-1].strip() if listed else value)
    if not name or not all(_NUMBER.fullmatch(number) for number in numbers):
        reason = (
            f"'{text}' is neither SYMBOL=NUMBER, such as L=128, nor INPUT=SHAPE, such as ids=1x128"
        )
        raise BAD_VALUE.error(name=FLAG, reason=reason)
    shape = tuple(map(int, numbers))
    return (name, shape) if listed or len(shape) > 1 else (name, shape[0])
