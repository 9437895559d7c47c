"""Which toolchains a target needs: those of its recipe's passes and of its artifacts' emitters."""

from __future__ import annotations


def needed_by(target_name: str) -> set[str]:
    """Names of the extras that building for the target needs. Raises EC-201 for an unknown one."""
    from edgecompile.emitters.registry import all_emitters
    from edgecompile.recipes import load_recipe
    from edgecompile.targets.catalogue import load_target

    target = load_target(target_name)
    recipe = load_recipe(target.recipe, target)
    emitters = all_emitters()
    extras = {step.operation.extra for step in recipe.steps}
    extras |= {emitters[a.format].extra for a in target.artifacts if a.format in emitters}
    return {extra for extra in extras if extra is not None}
