"""From what the user typed to what a build needs: target, recipe, emitters, cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgecompile.artifacts.budget import Budget, check_metric, parse
from edgecompile.diagnostics import Diagnostic, EdgecompileError, ExitCode
from edgecompile.diagnostics.catalogue.data import DATA_MISSING
from edgecompile.diagnostics.catalogue.emit import FORMAT_REPLACED
from edgecompile.diagnostics.catalogue.recipe import INTEGERS_REFUSED
from edgecompile.diagnostics.catalogue.target import FORMAT_NOT_TAKEN, NO_NPU
from edgecompile.diagnostics.nearest import did_you_mean
from edgecompile.driver.request import BuildRequest
from edgecompile.driver.sink import Sink
from edgecompile.driver.together import load_targets
from edgecompile.emitters.base import Emitter
from edgecompile.emitters.registry import emitter_for
from edgecompile.passes.base import Need
from edgecompile.recipes import (
    Recipe,
    apply_overrides,
    default_recipe,
    load_recipe,
    read_recipe,
    with_shapes,
)
from edgecompile.store.memo import Memo
from edgecompile.store.store import Store
from edgecompile.targets.schema import Target
from edgecompile.targets.stacks import with_release
from edgecompile.vendor import missing
from edgecompile.vendor.toolchains.place import absent

NPUS = frozenset({"npu", "dsp"})
"""Units that a build can be held to: processors for networks, and a DSP that runs them."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A request whose names have been looked up."""

    request: BuildRequest
    target: Target
    recipe: Recipe
    """With overrides and budgets applied."""
    emitters: tuple[Emitter, ...]
    store: Store | None
    sink: Sink
    remarks: tuple[Diagnostic, ...] = ()
    """What is done otherwise than asked for."""

    @property
    def memo(self) -> Memo:
        """Facts about files, kept with the cache."""
        return self.store.memo if self.store else Memo(None)

    @property
    def needs_data(self) -> bool:
        """Whether a step runs calibration samples."""
        return any(Need.DATA in step.operation.needs for step in self.recipe.steps)

    @property
    def calibrate_samples(self) -> int | None:
        """The most samples that a step takes; None when none limits itself."""
        wanted = [
            getattr(step.operation, "samples", None)
            for step in self.recipe.steps
            if Need.DATA in step.operation.needs
        ]
        known = [count for count in wanted if isinstance(count, int)]
        return max(known) if known and len(known) == len(wanted) else None


def resolve(request: BuildRequest, store: Store, sink: Sink) -> Resolved:
    """Look up every name of `request`.

    Raises EC-2xx for an unknown or unfit target, recipe, option or budget.
    """
    target = load_targets(request.target)
    if request.release is not None:
        target = with_release(target, *request.release)
    recipe, remarks = _recipe(request, target)
    recipe = with_shapes(recipe, request.shapes)
    recipe = apply_overrides(recipe, request.overrides, target)
    recipe = _with_budgets(recipe, _budgets(recipe.budgets, request.budgets))
    formats = _formats(target, request.artifacts)
    if request.require_npu and not NPUS & set(target.precisions):
        raise NO_NPU.error(target=target.id)
    emitters, replaced = _emitters(recipe, target, formats, request.artifacts)
    for remark in (*remarks, *replaced):
        sink.diagnostic(remark)
    return Resolved(
        request=request,
        target=target,
        recipe=recipe,
        emitters=emitters,
        store=None if request.no_cache else store,
        sink=sink,
        remarks=(*remarks, *replaced),
    )


def _recipe(request: BuildRequest, target: Target) -> tuple[Recipe, tuple[Diagnostic, ...]]:
    """The recipe asked for, or the target's own where that one makes integers for nothing."""
    name = request.recipe or _default(request, target)
    if target.float_only is not None:
        asked = read_recipe(name)
        if any(s.operation.lossy and s.operation.unfit(target) for s in asked.steps):
            remark = INTEGERS_REFUSED.at(
                target=target.id, recipe=asked.name, instead=target.recipe, why=target.float_only
            )
            return load_recipe(target.recipe, target), (remark,)
    return load_recipe(name, target), ()


def _default(request: BuildRequest, target: Target) -> str:
    """The target's recipe for the model; a file that is no sound model is told by `load`."""
    if target.transformer_recipe is None:
        return target.recipe
    from edgecompile.ir.load import load

    try:
        return default_recipe(target, load(request.model))
    except EdgecompileError:
        return target.recipe


def _emitters(
    recipe: Recipe, target: Target, formats: Sequence[str], asked: Sequence[str]
) -> tuple[tuple[Emitter, ...], tuple[Diagnostic, ...]]:
    """Emitters of the formats that this machine can write, and what is said about the others.

    A format that it cannot write stays where no other stands in for it: `preflight` tells why.
    """
    found: list[Emitter] = []
    remarks: list[Diagnostic] = []
    stand_ins = {rule.instead_of: rule.format for rule in target.artifacts if rule.instead_of}
    for format in formats:
        if format in stand_ins.values() and format not in asked:
            continue
        emitter = recipe.emitter(format) or emitter_for(format)()
        other = None if format in asked else stand_ins.get(format)
        problem = emitter.out_of_reach(target)
        if other is not None and problem is not None:
            emitter = recipe.emitter(other) or emitter_for(other)()
            remarks.append(
                FORMAT_REPLACED.at(
                    hints=problem.hints, format=format, other=other, reason=problem.message
                )
            )
        found.append(emitter)
    return tuple(found), tuple(remarks)


def preflight(resolved: Resolved) -> None:
    """Raise every problem that can be known before work starts: missing toolchains, missing data.

    Raises EC-500, EC-520 and EC-300, all at once.
    """
    wanted = {step.operation.extra for step in resolved.recipe.steps}
    extras = sorted(extra for extra in wanted if extra is not None)
    isolated = {step.operation.toolchain for step in resolved.recipe.steps}
    asked = [
        *map(missing, extras),
        *(emitter.out_of_reach(resolved.target) for emitter in resolved.emitters),
        *(absent(name) for name in sorted(name for name in isolated if name is not None)),
    ]
    found: list[Diagnostic] = [d for d in dict.fromkeys(asked) if d is not None]
    code = ExitCode.TOOLCHAIN if found else ExitCode.USAGE
    if resolved.request.calibration is None:
        found += [
            DATA_MISSING.at(step.where, step=step.label)
            for step in resolved.recipe.steps
            if Need.DATA in step.operation.needs
        ]
    if found:
        raise EdgecompileError(tuple(found), code)


def _formats(target: Target, asked: tuple[str, ...]) -> list[str]:
    """The formats to write: those asked for, or all that the target does not keep for that."""
    known = [rule.format for rule in target.artifacts]
    for format in asked:
        if format not in known:
            hint = did_you_mean(format, known, otherwise=FORMAT_NOT_TAKEN.fix[0])
            raise FORMAT_NOT_TAKEN.error(hints=(hint,), format=format, target=target.id)
    if asked:
        return [format for format in known if format in asked]
    return [rule.format for rule in target.artifacts if not rule.on_request]


def _with_budgets(recipe: Recipe, budgets: tuple[Budget, ...]) -> Recipe:
    """`recipe` with these budgets, and with steps that do what they can to hold them."""
    steps = tuple(replace(step, operation=step.operation.held_to(budgets)) for step in recipe.steps)
    return replace(recipe, budgets=budgets, steps=steps)


def _budgets(recipe: tuple[Budget, ...], asked: tuple[str, ...]) -> tuple[Budget, ...]:
    """The recipe's budgets, those of a metric that was asked for replaced."""
    extra = [parse(text) for text in asked]
    for budget in (*recipe, *extra):
        check_metric(budget)
    named = {budget.metric for budget in extra}
    return (*(b for b in recipe if b.metric not in named), *extra)
