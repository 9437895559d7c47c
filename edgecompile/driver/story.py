"""The story of a build: resolve, load, check, run the passes, emit, verify, publish."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgecompile.artifacts.manifest import Manifest
from edgecompile.artifacts.report import Report
from edgecompile.diagnostics import ExitCode
from edgecompile.driver.build import BuildResult
from edgecompile.driver.cached import Journal
from edgecompile.driver.check_stage import check_stage
from edgecompile.driver.emit import emit, placement, write_model
from edgecompile.driver.kit import write_kit
from edgecompile.driver.loading import load_stage
from edgecompile.driver.locked import check_artifacts, check_inputs, read_lock
from edgecompile.driver.pass_stage import run_passes
from edgecompile.driver.records import Findings, facts_of, inputs_of, report_of, write_report
from edgecompile.driver.request import BuildRequest
from edgecompile.driver.resolve import Resolved, preflight, resolve
from edgecompile.driver.samples import choose_samples
from edgecompile.driver.sink import Sink
from edgecompile.driver.verify import judge, verify_artifact
from edgecompile.driver.workspace import MANIFEST, Workspace, discard, failed_directory
from edgecompile.store.history import BuildRecord, History
from edgecompile.store.store import Store


def tell(request: BuildRequest, store: Store, sink: Sink) -> tuple[BuildResult, Journal]:
    """Build the artifact that `request` asks for, and note what happened."""
    resolved = resolve(request, store, sink)
    preflight(resolved)
    lock = read_lock(request.output) if request.locked else None
    with Workspace(request.output) as work, _journal(resolved) as journal:
        loaded = load_stage(resolved, journal)
        samples = choose_samples(resolved, journal, loaded)
        if lock is not None:
            check_inputs(lock, inputs_of(resolved, loaded, samples))

        warnings = check_stage(resolved, journal, loaded, work.scratch)
        passed = run_passes(resolved, journal, loaded, samples, work.scratch)
        write_model(resolved, journal, passed.state, work.build)
        artifacts = tuple(
            emit(resolved, journal, passed.state, work.build, emitter)
            for emitter in resolved.emitters
        )
        kit = write_kit(
            resolved,
            journal,
            loaded=loaded,
            samples=samples,
            state=passed.state,
            artifact=artifacts[0],
            build=work.build,
        )
        verified = verify_artifact(
            resolved,
            journal,
            loaded=loaded,
            samples=samples,
            passed=passed,
            artifact=artifacts[0],
            build=work.build,
        )
        placed = placement(resolved, artifacts)
        budgets, problems = judge(resolved, verified)
        findings = Findings(
            loaded=loaded,
            samples=samples,
            passed=passed,
            artifacts=artifacts,
            kit=kit,
            verified=verified,
            budgets=tuple(budgets),
            diagnostics=(*resolved.remarks, *samples.diagnostics, *warnings, *placed, *problems),
        )
        facts = facts_of(resolved, findings)
        manifest = Manifest(**facts)
        report = report_of(journal, facts, findings)
        manifest.write(work.build / MANIFEST)
        write_report(report, work.build)
        if lock is not None:
            check_artifacts(lock, manifest)
        return _publish(work, manifest, report), journal


def _publish(work: Workspace, manifest: Manifest, report: Report) -> BuildResult:
    """A build that is good replaces the output; one that is not is kept beside it."""
    failed = failed_directory(work.output)
    if any(d.severity == "error" for d in manifest.diagnostics):
        place = work.publish(failed)
        code = ExitCode.REJECTED
    else:
        place = work.publish()
        discard(failed)
        code = ExitCode.OK
    return BuildResult(directory=place, manifest=manifest, report=report, exit_code=code)


@contextmanager
def _journal(resolved: Resolved) -> Iterator[Journal]:
    """Keeps what the build uses safe from `cache gc`, and records its steps for `cache why`."""
    request, store = resolved.request, resolved.store
    slot = {
        "model": str(request.model.absolute()),
        "target": resolved.target.id,
        "recipe": resolved.recipe.name,
    }
    journal = Journal(slot=slot)
    if store is None:
        yield journal
        return
    history = History(store.root / "history")
    with store.in_use():
        try:
            yield journal
        finally:
            steps = tuple(journal.records)
            record = BuildRecord(slot=slot, output=str(request.output.absolute()), steps=steps)
            history.record(history.explained(record))
