"""From the last model of the passes to files for the device, cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic, EdgecompileError, Severity
from edgecompile.diagnostics.catalogue import exit_code_of
from edgecompile.diagnostics.catalogue.check import OPERATOR_ELSEWHERE, OPERATOR_TOO_NEW
from edgecompile.diagnostics.catalogue.qnn import LEFT_TO_CPU
from edgecompile.driver.cached import Journal, Made, cached_stage
from edgecompile.driver.resolve import Resolved
from edgecompile.emitters.base import Emitter
from edgecompile.passes.cached_step import State
from edgecompile.store.code import class_sha256, code_sha256
from edgecompile.targets.catalogue import facts_sha256
from edgecompile.vendor import versions
from edgecompile.vendor.toolchains.place import demand

ROOMS = ("ir", "artifacts", "diagnostics", "targets", "vendor", "emitters")
CORE_LIBRARIES = ("onnx", "onnx-ir", "numpy")
MODEL = "model.onnx"
ELSEWHERE = frozenset(rule.code for rule in (LEFT_TO_CPU, OPERATOR_ELSEWHERE, OPERATOR_TOO_NEW))
"""Remarks on operators that another unit runs."""


def write_model(resolved: Resolved, journal: Journal, state: State, build: Path) -> None:
    """Write the canonical ONNX that the artifacts are made from into `build`."""

    def make() -> Made:
        from edgecompile.ir.save import save

        save(state.model.get(), build / MODEL)
        written = sorted(build.glob(f"{MODEL}*"))
        size = sum(path.stat().st_size for path in written)
        return Made(
            result={}, files=tuple(path.name for path in written), summary=f"{size:,} bytes"
        )

    material = {
        "kind": "write",
        "code": code_sha256(("ir",), resolved.memo),
        "inputs": {"model": state.model.digest},
        "libraries": versions(*CORE_LIBRARIES),
    }
    makers = {"model": state.model.maker}
    cached_stage(resolved, journal, "write", material, make, directory=build, makers=makers)


def emit(
    resolved: Resolved, journal: Journal, state: State, build: Path, emitter: Emitter
) -> Artifact:
    """Write one artifact into `build`.

    Raises EC-5xx when the vendor's tool fails and EC-6xx when the target cannot take the model.
    """

    def make() -> Made:
        model = state.model.get()
        _refuse_unsupported(resolved, emitter, state)
        source = state.artifact.get() if state.artifact else None
        artifact = emitter.emit(model, resolved.target, build, source)
        files = tuple(sorted({artifact.path, *artifact.files}))
        return Made(result=asdict(artifact), files=files, summary=f"{artifact.bytes:,} bytes")

    document = cached_stage(
        resolved,
        journal,
        f"emit {emitter.id}",
        _material(resolved, state, emitter),
        make,
        directory=build,
        makers={"model": state.model.maker},
    )
    return TypeAdapter(Artifact).validate_python(document)


def placement(resolved: Resolved, artifacts: Sequence[Artifact]) -> list[Diagnostic]:
    """What the emitters remark; errors, with --require-npu, for what runs elsewhere."""
    found = []
    for remark in (remark for artifact in artifacts for remark in artifact.remarks):
        strict = resolved.request.require_npu and remark.code in ELSEWHERE
        told = replace(remark, severity=Severity.ERROR) if strict else remark
        resolved.sink.diagnostic(told)
        found.append(told)
    return found


def _material(resolved: Resolved, state: State, emitter: Emitter) -> dict[str, Any]:
    inputs = {"model": state.model.digest}
    if state.artifact is not None:
        inputs["vendor_model"] = state.artifact.digest
    material: dict[str, Any] = {
        "kind": "emit",
        "emitter": emitter.id,
        "version": emitter.version,
        "code": code_sha256(ROOMS, resolved.memo),
        "options": emitter.model_dump(mode="json"),
        "inputs": inputs,
        "target": facts_sha256(resolved.target),
        "libraries": versions(*sorted({*CORE_LIBRARIES, *emitter.libraries})),
    }
    if emitter.toolchain is not None:
        material["toolchain"] = demand(emitter.toolchain).digest
    if not type(emitter).__module__.startswith("edgecompile."):
        material["class"] = class_sha256(type(emitter), resolved.memo)
    return material


def _refuse_unsupported(resolved: Resolved, emitter: Emitter, state: State) -> None:
    """What the passes have made must be what the target takes."""
    found = emitter.supports(state.model.get(), resolved.target)
    errors = tuple(d for d in found if d.severity is Severity.ERROR)
    if errors:
        raise EdgecompileError(errors, exit_code_of(errors))
