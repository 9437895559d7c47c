"""`edgecompile prove`: merge what a device has found into the manifest of the build that it ran.

The device's figures are not taken on trust: they are computed again from the outputs that it sent,
and a proof counts only for the very bytes of this build.
"""

from __future__ import annotations

import math
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgecompile.artifacts.kit import (
    FOLDER,
    OUTPUTS_FILE,
    REPORT_FILE,
    BuiltFile,
    DeviceKit,
    DeviceReport,
)
from edgecompile.artifacts.manifest import (
    ArtifactRecord,
    BuildFacts,
    DeviceProof,
    FidelityRecord,
    Manifest,
)
from edgecompile.artifacts.report import Report
from edgecompile.artifacts.types import StageFidelity, Status
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.device import (
    DEVICE_DIFFERS,
    DEVICE_FLOATS,
    DEVICE_SLOWER,
    NO_KIT,
    REPORT_FOREIGN,
    REPORT_MISSING,
)
from edgecompile.driver.workspace import MANIFEST
from edgecompile.store.files import sha256_of_file, write_atomically

if TYPE_CHECKING:
    from edgecompile.verify.compare import Array

STAGE = "device"
_NAMED = 5
Facts = TypeVar("Facts", bound=BuildFacts)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a device has proven, or why it has not."""

    manifest: Manifest
    """With the proof merged in where nothing speaks against it, else as it was."""
    report: DeviceReport
    fidelity: StageFidelity
    problems: tuple[Diagnostic, ...]
    remarks: tuple[Diagnostic, ...] = ()
    """What is worth knowing and speaks against nothing: a float engine that is faster."""


def prove(directory: Path, report: Path | None = None) -> Proof:
    """Hold the report of a device against the build in `directory`, and merge it when it holds.

    Raises EC-670 for a directory without a kit, EC-671 when report or outputs are not there, EC-672
    when they belong to another build, EC-660 for a document that is none.
    """
    manifest = _manifest(directory)
    path = report or directory / FOLDER / REPORT_FILE
    outputs = path.with_name(OUTPUTS_FILE)
    for file in (path, outputs):
        if not file.is_file():
            raise REPORT_MISSING.error(Where(file=str(file)), file=file)
    kit = DeviceKit.load(directory / FOLDER / "kit.json")
    told = DeviceReport.load(path)
    _same_build(directory, manifest, told, outputs)
    fidelity = _fidelity(directory / FOLDER / kit.golden.file, outputs, kit, told)
    problems = _too_far(fidelity, kit, path) + _budgets(manifest, fidelity)
    if not problems:
        manifest = _merge(directory, path, told, fidelity)
    return Proof(
        manifest=manifest,
        report=told,
        fidelity=fidelity,
        problems=tuple(problems),
        remarks=(*_in_float(told), *_slower(times_of(told))),
    )


def _manifest(directory: Path) -> Manifest:
    if not (directory / MANIFEST).is_file():
        raise NO_KIT.error(Where(file=str(directory)), directory=directory)
    manifest = Manifest.load(directory / MANIFEST)
    if manifest.kit is None:
        raise NO_KIT.error(Where(file=str(directory)), directory=directory)
    return manifest


def _same_build(directory: Path, manifest: Manifest, told: DeviceReport, outputs: Path) -> None:
    kit = manifest.kit
    golden = DeviceKit.load(directory / FOLDER / "kit.json").golden
    wanted = {
        "the kit is another one": kit is not None and told.kit_sha256 == kit.sha256,
        "kit.json here is not the one that was built": kit is not None
        and sha256_of_file(directory / FOLDER / "kit.json") == kit.sha256,
        "the golden data here is not what was built": golden.sha256
        == sha256_of_file(directory / FOLDER / golden.file),
        "another artifact ran": told.artifact.sha256 == manifest.artifacts[0].sha256,
        f"{OUTPUTS_FILE} is not the one that it was written with": told.outputs_sha256
        == sha256_of_file(outputs),
        "a file that it names as built is not beside it, or has changed": all(
            _is_there(outputs.with_name(built.file), built) for built in told.built
        ),
    }
    for reason, same in wanted.items():
        if not same:
            raise REPORT_FOREIGN.error(
                Where(file=str(outputs.with_name(REPORT_FILE))), reason=reason
            )


def _is_there(path: Path, built: BuiltFile) -> bool:
    return path.is_file() and sha256_of_file(path) == built.sha256


def _fidelity(golden: Path, outputs: Path, kit: DeviceKit, told: DeviceReport) -> StageFidelity:
    """The outputs of the device against those of the float model."""
    import numpy as np

    from edgecompile.verify.compare import Comparison

    comparison = Comparison()
    try:
        with np.load(golden, allow_pickle=False) as want, np.load(outputs) as got:
            for sample in range(kit.golden.samples):
                comparison.add(
                    _sample(want, f"float/{sample}", kit.outputs),
                    _sample(got, f"device/{sample}", kit.outputs),
                )
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        where = Where(file=str(outputs))
        raise REPORT_FOREIGN.error(where, reason=f"{outputs.name}: {error}") from error
    return StageFidelity(
        arithmetic="runtime",
        runtime=f"{told.runtime} on {told.device.node}",
        outputs=comparison.fidelity(),
    )


def _sample(arrays: Mapping[str, Any], prefix: str, names: tuple[str, ...]) -> dict[str, Array]:
    return {name: arrays[f"{prefix}/{name}"] for name in names}


def _too_far(fidelity: StageFidelity, kit: DeviceKit, path: Path) -> list[Diagnostic]:
    return [
        DEVICE_DIFFERS.at(
            Where(file=str(path), tensor=name),
            output=name,
            cosine=figures.cosine,
            limit=kit.limits[name],
        )
        for name, figures in fidelity.outputs.items()
        if not figures.cosine >= kit.limits[name]
    ]


def _budgets(manifest: Manifest, fidelity: StageFidelity) -> list[Diagnostic]:
    """The build's own budgets, as far as they are about fidelity, held on the device too."""
    from edgecompile.artifacts.budget import FIDELITY, parse
    from edgecompile.verify.budgets import check_budgets
    from edgecompile.verify.results import VerifyResult

    asked = [parse(budget.required) for budget in manifest.budgets]
    budgets = [budget for budget in asked if budget.metric.partition("@")[0] in FIDELITY]
    result = VerifyResult(samples=1, stages={STAGE: fidelity}, judged=(STAGE,))
    return check_budgets(budgets, result)[1]


def times_of(told: DeviceReport) -> dict[str, float]:
    """Milliseconds of the artifact and of float engines, as far as the device has measured them."""
    found = told.facts.get("times_ms")
    if not isinstance(found, dict):
        return {}
    times = {name: ms for name, ms in found.items() if isinstance(ms, float) and 0 < ms < math.inf}
    return times if "artifact" in times else {}


def _in_float(told: DeviceReport) -> list[Diagnostic]:
    """Layers that the runtime computes otherwise than the build expects, as far as it tells."""
    missed, types = (told.facts.get(name) for name in ("not_as_expected", "layer_types"))
    if not isinstance(missed, list) or not missed:
        return []
    shown = ", ".join(f"'{name}'" for name in missed[:_NAMED])
    more = ", ..." if len(missed) > _NAMED else ""
    promised = len(types) if isinstance(types, dict) else len(missed)
    return [DEVICE_FLOATS.at(count=len(missed), promised=promised, nodes=shown + more)]


def _slower(times: Mapping[str, float]) -> list[Diagnostic]:
    own = times.get("artifact", 0.0)
    return [
        DEVICE_SLOWER.at(own=own, other=name.upper(), time=ms)
        for name, ms in sorted(times.items())
        if ms < own
    ]


def _merge(directory: Path, path: Path, told: DeviceReport, fidelity: StageFidelity) -> Manifest:
    proof = DeviceProof(
        device=told.device.node,
        runtime=told.runtime,
        samples=told.samples,
        report_sha256=sha256_of_file(path),
        latency_ms=told.latency_ms,
        times_ms=times_of(told),
    )
    built = [_bring(directory, path.with_name(b.file), b, proof) for b in told.built]
    manifest = _proven(Manifest.load(directory / MANIFEST), proof, fidelity, built)
    report = _proven(Report.load(directory / "report.json"), proof, fidelity, built)
    write_atomically(directory / MANIFEST, manifest.to_text().encode())
    write_atomically(directory / "report.json", report.to_text().encode())
    from edgecompile.artifacts.report_html import write_html

    write_html(report, directory / "report.html")
    return manifest


def _bring(directory: Path, source: Path, built: BuiltFile, proof: DeviceProof) -> ArtifactRecord:
    """Put a file that the device built among the artifacts."""
    target = directory / "artifacts" / built.file
    if source.resolve() != target.resolve():
        shutil.copyfile(source, target)
    name = f"artifacts/{built.file}"
    return ArtifactRecord(
        path=name,
        files=(name,),
        format=built.format,
        sha256=built.sha256,
        bytes=target.stat().st_size,
        status=Status.VERIFIED,
        why=_why(proof),
        toolchain={},
        executable=built.executable,
        reproducible=False,
        device=proof,
    )


def _why(proof: DeviceProof) -> str:
    return f"ran on {proof.device} in {proof.runtime}, {proof.samples} golden samples compared"


def _proven(
    facts: Facts, proof: DeviceProof, fidelity: StageFidelity, built: list[ArtifactRecord]
) -> Facts:
    """`facts` with the proof in place of an earlier one."""
    first = facts.artifacts[0]
    record = first.model_copy(
        update={"status": Status.VERIFIED, "why": _why(proof), "device": proof}
    )
    new = {artifact.path for artifact in built}
    others = [artifact for artifact in facts.artifacts[1:] if artifact.path not in new]
    before = facts.fidelity
    stages = {**(before.stages if before else {}), STAGE: fidelity}
    return facts.model_copy(
        update={
            "artifacts": (record, *others, *built),
            "fidelity": FidelityRecord(
                samples=before.samples if before else proof.samples, held_out=True, stages=stages
            ),
        }
    )
