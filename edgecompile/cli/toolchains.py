"""Which toolchains a target needs: those of its recipe's passes and of its artifacts' emitters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgecompile.vendor import ToolStatus


def needed_by(target_name: str) -> set[str]:
    """Names of the toolchains that building for the target needs. Raises EC-201 when unknown."""
    from edgecompile.emitters.registry import all_emitters
    from edgecompile.recipes import load_recipe
    from edgecompile.targets.catalogue import load_target

    target = load_target(target_name)
    recipe = load_recipe(target.recipe, target)
    emitters = all_emitters()
    names = {step.operation.extra for step in recipe.steps}
    names |= {step.operation.toolchain for step in recipe.steps}
    writers = [emitters[a.format] for a in target.artifacts if a.format in emitters]
    names |= {name for emitter in writers for name in (emitter.extra, emitter.toolchain)}
    return {name for name in names if name is not None}


def helped_by(target_name: str) -> set[str]:
    """Names of SDKs that do the last step for the target where they are. Raises EC-201."""
    from edgecompile.emitters.registry import all_emitters
    from edgecompile.targets.catalogue import load_target

    emitters = all_emitters()
    formats = [rule.format for rule in load_target(target_name).artifacts]
    names = {emitters[format].sdk for format in formats if format in emitters}
    return {name for name in names if name is not None}


def state_of_all(*, ask: bool, only: set[str] | None = None) -> list[ToolStatus]:
    """Extras of this environment, SDKs found, then isolated toolchains; `ask` starts the last."""
    from edgecompile.vendor import doctor
    from edgecompile.vendor.openvino.npu import compiler_status
    from edgecompile.vendor.qaic import sdk as qaic
    from edgecompile.vendor.qnn import sdk as qnn
    from edgecompile.vendor.tensorrt.host import host_status
    from edgecompile.vendor.toolchains.status import statuses

    hosts = (qnn.sdk_status(), host_status(), compiler_status(), qaic.sdk_status())
    found = [*doctor(), *hosts]
    here = [tool for tool in found if only is None or tool.name in only]
    return [*here, *statuses(ask=ask, only=only)]
