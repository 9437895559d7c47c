"""Hold a model against a target before any work: every problem in one list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.diagnostics import Diagnostic, Severity, Where
from edgecompile.diagnostics.catalogue.check import (
    CONTROL_FLOW,
    DYNAMIC_SHAPE,
)
from edgecompile.driver.check_stage import without_mended
from edgecompile.driver.together import load_targets
from edgecompile.emitters.base import Emitter
from edgecompile.emitters.registry import emitter_for
from edgecompile.ir.facts import all_nodes, input_specs
from edgecompile.ir.finite import weight_problems
from edgecompile.ir.load import load
from edgecompile.ir.model import Model
from edgecompile.recipes import apply_overrides, default_recipe, load_recipe, with_shapes
from edgecompile.targets.catalogue import all_targets
from edgecompile.targets.schema import Target
from edgecompile.targets.stacks import with_release

CONTROL_FLOW_OPERATORS = frozenset({"If", "Loop", "Scan"})


def check(
    model_path: Path,
    target: str,
    *,
    shapes: Sequence[str] = (),
    release: tuple[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> list[Diagnostic]:
    """Every reason why `target` would refuse the model or run part of it elsewhere.

    What the target's own recipe mends is none; `shapes` are those of `recipes.with_shapes`, and
    `overrides` options of steps and artifacts as a build takes them, such as
    `tensorrt-bundle.dla_core=0`. Raises EC-1xx for a file that is not a sound model, EC-201 for an
    unknown target, EC-263 for a shape that is none, EC-240 to EC-243 for an override that is wrong,
    EC-210 to EC-212 for an unknown `release` of the device's software: `("jetpack", "6.2")`.
    """
    known = load_targets(target)
    if release is not None:
        known = with_release(known, *release)
    model = load(model_path)
    recipe = load_recipe(default_recipe(known, model), known)
    recipe = apply_overrides(recipe, overrides, known)
    formats = [rule.format for rule in known.artifacts]
    emitters = [recipe.emitter(name) or emitter_for(name)() for name in formats]
    found = check_model(model, known, emitters)
    recipe = with_shapes(recipe, shapes)
    recipe.inputs_after(input_specs(model))
    return without_mended(found, recipe, lambda: model)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one target has to say about a model."""

    target: str
    format: str
    """The artifact that a build would write."""
    diagnostics: tuple[Diagnostic, ...]

    @property
    def accepted(self) -> bool:
        """Whether the target takes the model, perhaps with remarks."""
        return not any(d.severity is Severity.ERROR for d in self.diagnostics)

    def to_json(self) -> dict[str, Any]:
        """One row of the matrix."""
        found = [d.to_json() for d in self.diagnostics]
        return {
            "target": self.target,
            "format": self.format,
            "accepted": self.accepted,
            "diagnostics": found,
        }


def check_all(model_path: Path, *, shapes: Sequence[str] = ()) -> list[Verdict]:
    """The verdict of every target, in order of name, for the model in these `shapes`.

    Raises EC-1xx for no sound model, EC-263 for a shape that is none.
    """
    model, found = load(model_path), []
    for target in all_targets().values():
        recipe = with_shapes(load_recipe(default_recipe(target, model), target), shapes)
        rules = [rule for rule in target.artifacts if rule.instead_of is None]
        named = [rule.format for rule in rules if not rule.on_request]
        emitters = [recipe.emitter(name) or emitter_for(name)() for name in named]
        problems = check_model(model, target, emitters)
        recipe.inputs_after(input_specs(model))
        kept = without_mended(problems, recipe, lambda: model)
        found.append(Verdict(target=target.id, format=rules[0].format, diagnostics=tuple(kept)))
    return found


def check_model(model: Model, target: Target, emitters: Sequence[Emitter]) -> list[Diagnostic]:
    """The problems of a loaded model, errors first."""
    found = [*weight_problems(model), *_shapes(model, target), *_control_flow(model)]
    for emitter in emitters:
        found += emitter.supports(model, target)
    unique = list(dict.fromkeys(found))
    return sorted(unique, key=lambda d: (d.severity is not Severity.ERROR, d.code))


def _shapes(model: Model, target: Target) -> Iterator[Diagnostic]:
    if not target.static_shapes:
        return
    for spec in input_specs(model):
        if not spec.ranked or not all(isinstance(dim, int) for dim in spec.shape):
            shape = [dim if dim is not None else "?" for dim in spec.shape]
            where = Where(tensor=spec.name)
            yield DYNAMIC_SHAPE.at(where, input=spec.name, shape=shape, target=target.id)


def _control_flow(model: Model) -> Iterator[Diagnostic]:
    for node in all_nodes(model):
        if not node.domain and node.op_type in CONTROL_FLOW_OPERATORS:
            name = node.name or node.op_type
            yield CONTROL_FLOW.at(Where(node=name), op=node.op_type, name=name)
