"""`link`: several builds for one device in one artifact, equal weights stored once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import edgecompile
from edgecompile.artifacts.kit import FOLDER, GOLDEN_FILE
from edgecompile.artifacts.link import LinkManifest, MemberRecord
from edgecompile.artifacts.manifest import (
    ArtifactRecord,
    DiagnosticRecord,
    Manifest,
    TargetRecord,
)
from edgecompile.artifacts.types import Artifact, OutputFidelity, Status
from edgecompile.diagnostics import Diagnostic, EdgecompileError, ExitCode
from edgecompile.diagnostics.catalogue.budget import COLLAPSED
from edgecompile.diagnostics.catalogue.qnn import LINK_UNFIT, WEIGHTS_NOT_SHARED
from edgecompile.diagnostics.catalogue.toolchain import TOOL_CRASHED
from edgecompile.driver.workspace import MANIFEST, Workspace
from edgecompile.emitters.base import Emitter
from edgecompile.emitters.registry import emitter_for
from edgecompile.ir.load import load
from edgecompile.recipes.document import validate_options
from edgecompile.store.files import sha256_of_file
from edgecompile.targets.catalogue import facts_sha256, load_target
from edgecompile.targets.schema import Target
from edgecompile.vendor import demand

if TYPE_CHECKING:
    from edgecompile.verify.compare import Array

MODEL = "model.onnx"
NOT_RUN = (
    "each model was proven by its own build, and the graphs of all were read back from the binary; "
    "together they were not run, since there were no golden samples or the emulator ended with a "
    "fault, as that of QNN 2.51 does on binaries that share weights"
)
MIN_COSINE = 0.99
"""Below this a linked model does not compute what it was quantized to compute."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A build to link."""

    name: str
    directory: Path
    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class Linked:
    """The folder that was made."""

    directory: Path
    manifest: LinkManifest


def link(builds: tuple[Path, ...], output: Path, *, threads: int = 1) -> Linked:
    """Compile the quantized models of `builds` into one artifact in `output`.

    Each runs on the golden samples of its build, where the emulator can run what is linked.

    Raises EC-634 for builds that do not go together, EC-660 for what is no build, EC-500 to EC-514
    when the compiler fails, EC-653 when a model does not compute what it did before.
    """
    members = _members(builds)
    target = load_target(members[0].manifest.target.id)
    emitter = _emitter(members, target)
    if emitter.extra is not None:
        demand(emitter.extra)
    models = {member.name: load(member.directory / MODEL) for member in members}
    with Workspace(output) as work:
        artifact = emitter.link(models, target, work.build)
        records, problems = [], list(artifact.remarks)
        for member, wrapper in zip(members, artifact.files, strict=False):
            count, outputs = _run(
                member,
                work.build / wrapper,
                emitter.id,
                target,
                scratch=work.scratch,
                threads=threads,
            )
            records.append(_record(member, wrapper, count, outputs))
            problems += _broken(member.name, outputs)
        errors = tuple(d for d in problems if d.severity == "error")
        if errors:
            raise EdgecompileError(errors, ExitCode.REJECTED)
        alone = sum(record.alone_bytes for record in records)
        if artifact.bytes >= alone:
            problems.append(WEIGHTS_NOT_SHARED.at(together=artifact.bytes, alone=alone))
        manifest = _manifest(target, artifact, records, problems)
        manifest.write(work.build / MANIFEST)
        return Linked(directory=work.publish(), manifest=manifest)


def _members(builds: tuple[Path, ...]) -> list[Member]:
    found: list[Member] = []
    for directory in builds:
        try:
            manifest = Manifest.load(directory / MANIFEST)
        except OSError as error:
            problem = f"'{directory}' holds no build: {error.strerror}"
            raise LINK_UNFIT.error(problem=problem) from None
        name = Path(manifest.model.name).stem
        taken = {member.name for member in found}
        if name in taken:
            name = f"{name}-{sum(n == name or n.startswith(f'{name}-') for n in taken) + 1}"
        found.append(Member(name=name, directory=directory, manifest=manifest))
    if len(found) < 2:
        raise LINK_UNFIT.error(problem="it takes two builds or more")
    return found


def _emitter(members: list[Member], target: Target) -> Emitter:
    """The emitter of the format that all have, with the options that all were built with."""
    for member in members[1:]:
        if member.manifest.target != members[0].manifest.target:
            problem = f"'{member.directory}' is for another device than '{members[0].directory}'"
            raise LINK_UNFIT.error(problem=problem)
    shared = [
        artifact.format
        for artifact in members[0].manifest.artifacts
        if emitter_for(artifact.format).links
        and all(artifact.format in _formats(member) for member in members)
    ]
    if not shared:
        raise LINK_UNFIT.error(problem=f"no format of '{target.id}' shares between models")
    given = [member.manifest.recipe.emit.get(shared[0], {}) for member in members]
    if any(options != given[0] for options in given):
        raise LINK_UNFIT.error(problem=f"they were built with different options of '{shared[0]}'")
    return validate_options(emitter_for(shared[0]), given[0])


def _formats(member: Member) -> set[str]:
    return {artifact.format for artifact in member.manifest.artifacts}


def _run(
    member: Member, wrapper: Path, format: str, target: Target, *, scratch: Path, threads: int
) -> tuple[int, dict[str, OutputFidelity]]:
    """The golden samples of a build through its part of the linked artifact."""
    import numpy as np

    from edgecompile.verify.compare import Comparison
    from edgecompile.verify.runtimes.registry import all_runtimes

    golden = member.directory / FOLDER / GOLDEN_FILE
    if not golden.is_file():
        return 0, {}
    samples: dict[str, dict[int, dict[str, Array]]] = {"input": {}, "quantized": {}}
    with np.load(golden) as stored:
        for key in stored.files:
            kind, number, name = key.split("/", 2)
            if kind in samples:
                samples[kind].setdefault(int(number), {})[name] = stored[key]
    order, comparison = sorted(samples["input"]), Comparison()
    feeds = [samples["input"][number] for number in order]
    try:
        with all_runtimes()[format]().open(wrapper, target, scratch, threads=threads) as opened:
            made = opened.run(feeds)
    except EdgecompileError as error:
        if error.diagnostics[0].code != TOOL_CRASHED.code:
            raise
        # The emulator of QNN 2.51 ends with a fault on every binary that shares weights.
        return 0, {}
    for number, stages in zip(order, made, strict=True):
        comparison.add(samples["quantized"][number], next(iter(stages.values())))
    return len(order), comparison.fidelity()


def _broken(name: str, outputs: dict[str, OutputFidelity]) -> list[Diagnostic]:
    return [
        COLLAPSED.at(
            output=output,
            stage=f"linked model '{name}'",
            cosine=figures.cosine,
            sqnr_db=figures.sqnr_db,
            expected="",
        )
        for output, figures in outputs.items()
        if figures.cosine < MIN_COSINE
    ]


def _record(
    member: Member, wrapper: str, samples: int, outputs: dict[str, OutputFidelity]
) -> MemberRecord:
    return MemberRecord(
        name=member.name,
        manifest_sha256=sha256_of_file(member.directory / MANIFEST),
        model_sha256=member.manifest.model.sha256,
        wrapper=wrapper,
        alone_bytes=sum(artifact.bytes for artifact in member.manifest.artifacts),
        samples=samples,
        outputs=outputs,
    )


def _manifest(
    target: Target, artifact: Artifact, members: list[MemberRecord], problems: list[Diagnostic]
) -> LinkManifest:
    rule = next(rule for rule in target.artifacts if rule.format == artifact.format)
    ran = all(member.samples for member in members)
    status = Status(rule.status) if ran else Status.CHECKED
    why = rule.why if ran else NOT_RUN
    return LinkManifest(
        edgecompile=edgecompile.__version__,
        target=TargetRecord(id=target.id, facts_sha256=facts_sha256(target)),
        artifacts=(ArtifactRecord.of(artifact, status, why),),
        members=tuple(members),
        diagnostics=tuple(DiagnosticRecord(**problem.to_json()) for problem in problems),
    )
