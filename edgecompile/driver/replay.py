"""A build that depends on nothing that has changed comes from the cache as a whole.

Step by step such a build takes more time to import what the steps are made of than to find their
results. So the last good build of a request is kept under the state of everything it depends on:
size, times and inode of every input file, as `make` does, and edgecompile's code, the libraries and
the processor. When in doubt there is no replay, and the steps decide by content.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.diagnostics import Diagnostic, ExitCode
from edgecompile.driver.build import BuildResult
from edgecompile.driver.files import KnownFiles, known_files
from edgecompile.driver.host import processor
from edgecompile.driver.request import BuildRequest
from edgecompile.driver.sink import Sink
from edgecompile.driver.workspace import MANIFEST, Workspace, discard, failed_directory
from edgecompile.store.code import ROOT, code_sha256
from edgecompile.store.entry import DamagedError, Entry
from edgecompile.store.files import sha256_of_file
from edgecompile.store.history import BuildRecord, History, StepRecord
from edgecompile.store.keys import Material, key_of
from edgecompile.store.location import cache_root
from edgecompile.store.memo import tick_ns
from edgecompile.store.store import Store
from edgecompile.vendor import versions

if TYPE_CHECKING:
    from edgecompile.artifacts.report import Report
    from edgecompile.driver.cached import Journal

REPORT = "report.json"
LIBRARIES = (
    "ml-dtypes", "nncf", "numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "onnxslim",
    "openvino", "pillow", "pydantic",
)  # fmt: skip
PLUGINS = ("passes", "emitters", "methods", "targets", "recipes", "runtimes")
SITE = frozenset({"site-packages", "dist-packages"})


def replay(request: BuildRequest, sink: Sink) -> BuildResult | None:
    """The result of an equal earlier build in the output directory, or None when it must run.

    Raises EC-71x when the output cannot be written.
    """
    if request.no_cache or request.locked or request.dump_ir or request.verify_each:
        return None
    started_s = time.perf_counter()
    store = Store(cache_root(request.cache_dir), sink.diagnostic)
    files = known_files(request, store.memo)
    entry = store.get(key_of(_material(request, files, store))) if files else None
    if entry is None:
        return None
    with Workspace(request.output) as work, store.in_use():
        try:
            found = _restore(store, entry, work)
        except DamagedError as error:
            store.drop(entry.key, "build", str(error))
            return None
        return _publish(store, entry, work, sink, started_s) if found else None


def keep(request: BuildRequest, journal: Journal, result: BuildResult, started_ns: int) -> None:
    """Remember a good build whose inputs are those of before `started_ns` still."""
    if request.no_cache or not journal.replayable or result.exit_code is not ExitCode.OK:
        return
    store = Store(cache_root(request.cache_dir))
    files = known_files(request, store.memo)
    if files is None or started_ns - files.newest_ns < tick_ns(files.newest_ns) or _plugins():
        return
    document = {
        "stages": [asdict(stage) for stage in journal.times],
        "outputs": dict(journal.outputs),
        "records": [asdict(replace(r, hit=True, reason="")) for r in journal.records],
        "slot": dict(journal.slot),
        "diagnostics": [d.model_dump(mode="json") for d in result.report.diagnostics],
    }
    material = _material(request, files, store)
    texts = {name: (result.directory / name).read_bytes() for name in (MANIFEST, REPORT)}
    store.put(key_of(material), material, texts, document)


def _material(request: BuildRequest, files: KnownFiles, store: Store) -> Material:
    rooms = tuple(sorted(p.name for p in ROOT.iterdir() if p.is_dir() and p.name[0] != "_"))
    sites = sorted({Path(p) for p in sys.path if Path(p).name in SITE and Path(p).is_dir()})
    return {
        "kind": "build",
        "request": {
            "target": request.target,
            "recipe": request.recipe,
            "calibration": request.calibration,
            "eval": request.eval,
            "overrides": list(request.overrides),
            "budgets": list(request.budgets),
            "threads": request.threads,
        },
        "files": files.state,
        "code": code_sha256(rooms, store.memo),
        "libraries": versions(*LIBRARIES),
        "environment": [[str(site), site.stat().st_mtime_ns] for site in sites],
        "python": sys.version,
        "processor": processor(),
    }


def _plugins() -> bool:
    """Whether other packages take part: their code is not watched here."""
    return any(entry_points(group=f"edgecompile.{kind}") for kind in PLUGINS)


def _restore(store: Store, entry: Entry, work: Workspace) -> bool:
    """Put all files but the report in place; False when one is not in the cache any more."""
    build, output = work.build, work.output
    entry.copy_to(MANIFEST, build / MANIFEST)
    outputs: Mapping[str, Any] = entry.result["outputs"]
    for name, key in sorted(outputs.items()):
        made = store.get(key)
        if made is None:
            return False
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        _place(made, name, build / name, output / name)
    return True


def _place(entry: Entry, name: str, target: Path, previous: Path) -> None:
    """Put a file of `entry` at `target`: as another link to the `previous` output's, which goes
    away in the end, or as a copy where that has other content. Raises `DamagedError`.
    """
    stored = entry.files[name]
    known = previous.is_file() and previous.stat().st_size == stored.bytes
    if known and sha256_of_file(previous) == stored.sha256:
        with suppress(OSError):  # some file systems have no links
            os.link(previous, target)
            os.utime(target)
            return
    entry.copy_to(name, target)


def _publish(
    store: Store, entry: Entry, work: Workspace, sink: Sink, started_s: float
) -> BuildResult:
    from edgecompile.artifacts.manifest import Manifest
    from edgecompile.artifacts.report_html import write_html

    for document in entry.result["diagnostics"]:
        sink.diagnostic(Diagnostic.from_json(document))
    for stage in entry.result["stages"]:
        sink.step_started(stage["name"])
        sink.step_finished(stage["name"], seconds=0.0, cached=True, summary=stage["summary"])
    report = _report(entry, time.perf_counter() - started_s)
    report.write(work.build / REPORT)
    write_html(report, work.build / "report.html")
    manifest = Manifest.load(work.build / MANIFEST)
    directory = work.publish()
    discard(failed_directory(work.output))
    steps = tuple(StepRecord(**step) for step in entry.result["records"])
    store.touch(step.key for step in steps)
    record = BuildRecord(slot=entry.result["slot"], output=str(work.output), steps=steps)
    History(store.root / "history").record(record)
    return BuildResult(directory=directory, manifest=manifest, report=report, exit_code=ExitCode.OK)


def _report(entry: Entry, seconds: float) -> Report:
    """The report of the build that made the result, as one whose steps were all cached."""
    from edgecompile.artifacts.report import Report

    report = Report.load(entry.checked(REPORT))
    steps = tuple(step.model_copy(update={"cached": True}) for step in report.steps)
    return report.model_copy(update={"steps": steps, "seconds": round(seconds, 4)})
