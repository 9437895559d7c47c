"""What the result of a step depends on: the material of its cache key."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

from edgecompile.passes.base import Need, Pass
from edgecompile.passes.lazy import Lazy
from edgecompile.store.code import class_sha256, code_sha256
from edgecompile.store.keys import Material
from edgecompile.store.memo import Memo
from edgecompile.targets.catalogue import declared_facts
from edgecompile.targets.schema import Target
from edgecompile.vendor import versions
from edgecompile.vendor.toolchains.place import find
from edgecompile.vendor.toolchains.spec import load_toolchain

ROOMS = ("ir", "targets", "calibration", "passes", "vendor")
"""Rooms whose code can change what a pass gives."""
CORE_LIBRARIES = ("numpy", "onnx", "onnx-ir")


def step_material(
    operation: Pass,
    *,
    target: Target,
    inputs: dict[str, Lazy[Any]],
    threads: int,
    memo: Memo,
) -> Material:
    """Everything that can change the result of `operation`, as JSON.

    `inputs` are the digests of what the pass takes: `model`, and `data` and `ranges` where it
    needs them.
    """
    kind = type(operation)
    material: dict[str, Any] = {
        "kind": "pass",
        "pass": operation.id,
        "version": operation.version,
        "code": code_sha256(ROOMS, memo),
        "options": _options(operation, memo),
        "inputs": {name: value.digest for name, value in sorted(inputs.items())},
        "target": declared_facts(target, operation.facts),
        "libraries": versions(*sorted({*CORE_LIBRARIES, *operation.libraries})),
    }
    if operation.toolchain is not None:
        material["toolchain"] = _toolchain(operation.toolchain)
    if not kind.__module__.startswith("edgecompile."):
        material["class"] = class_sha256(kind, memo)
    if Need.DATA in operation.needs:
        # What runs the data gives other last bits on other processors and thread counts.
        python = ".".join(map(str, sys.version_info[:2]))
        material["run"] = {"threads": threads, "machine": platform.machine(), "python": python}
    return material


def _toolchain(name: str) -> dict[str, str]:
    """The pins of an isolated toolchain, whether or not it is installed now."""
    toolchain = load_toolchain(name)
    here = find(toolchain)
    python = toolchain.python[0] if here is None else here.python
    return {"name": name, "digest": toolchain.digest(python)}


def _options(operation: Pass, memo: Memo) -> dict[str, Any]:
    """The options; a file counts by its content and not by its place."""
    options = operation.model_dump(mode="json")
    for name, value in operation:
        if isinstance(value, Path):
            options[name] = memo.content([value]) if value.is_file() else None
    return options
