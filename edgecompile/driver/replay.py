"""A build that depends on nothing that has changed comes from the cache as a whole.

Step by step such a build takes more time to import what the steps are made of than to find their
results. So a good build is kept as a whole, under everything that it depends on: the content of
every input file, edgecompile's code, the libraries and the processor. When in doubt there is no
replay, and the steps decide.
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
from edgecompile.driver.files import content_of, name_of
from edgecompile.driver.host import processor
from edgecompile.driver.request import BuildRequest
from edgecompile.driver.sink import Sink
from edgecompile.driver.workspace import MANIFEST, Workspace, discard, failed_directory
from edgecompile.store.code import ROOT, code_sha256
from edgecompile.store.entry import DamagedError, Entry
from edgecompile.store.files import sha256_of_file
from edgecompile.store.history import BuildRecord, History, StepRecord
from edgecompile.store.keys import Material, key_of
from edgecompile.store.store import Store
from edgecompile.vendor import versions
from edgecompile.vendor.qnn.sdk import found_here
from edgecompile.vendor.toolchains.place import fingerprint

if TYPE_CHECKING:
    from edgecompile.artifacts.report import Report
    from edgecompile.driver.cached import Journal

REPORT = "report.json"
LIBRARIES = (
    "ml-dtypes", "nncf", "numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript",
    "openvino", "pillow", "pydantic", "tensorrt", "tensorrt-rtx",
)  # fmt: skip
PLUGINS = ("passes", "emitters", "methods", "targets", "recipes", "runtimes")
RECIPES = ROOT.parent / "recipes"
"""Shipped recipes of a source tree; those of a wheel lie among the code."""
SITE = frozenset({"site-packages", "dist-packages"})


def replay_key(request: BuildRequest, store: Store) -> Material | None:
    """What the whole build depends on; None when that is not known yet, or not to be cached."""
    if request.no_cache or request.locked or request.dump_ir or request.verify_each:
        return None
    content = content_of(request, store.memo)
    if content is None:
        return None
    rooms = tuple(sorted(p.name for p in ROOT.iterdir() if p.is_dir() and p.name[0] != "_"))
    sites = sorted({Path(p) for p in sys.path if Path(p).name in SITE and Path(p).is_dir()})
    return {
        "kind": "build",
        "request": {
            "model": request.model.name,
            "target": request.target,
            "release": request.release,
            "recipe": request.recipe,
            "shapes": list(request.shapes),
            "calibration": name_of(request.calibration) if request.calibration else None,
            "eval": name_of(request.eval) if request.eval else None,
            "overrides": list(request.overrides),
            "budgets": list(request.budgets),
            "artifacts": list(request.artifacts),
            "require_npu": request.require_npu,
            "threads": request.threads,
        },
        "content": content,
        "code": code_sha256(rooms, store.memo),
        "recipes": store.memo.content(sorted(RECIPES.glob("*.yaml"))),
        "libraries": versions(*LIBRARIES),
        "environment": [[str(site), site.stat().st_mtime_ns] for site in sites],
        "toolchains": fingerprint(),
        "sdk": found_here(),
        "python": sys.version,
        "processor": processor(),
    }


def replay(request: BuildRequest, key: Material, store: Store, sink: Sink) -> BuildResult | None:
    """The result of an equal earlier build in the output directory, or None when it must run.

    Raises EC-71x when the output cannot be written.
    """
    started_s = time.perf_counter()
    entry = store.get(key_of(key))
    if entry is None:
        return None
    with Workspace(request.output) as work, store.in_use():
        try:
            found = _restore(store, entry, work)
        except DamagedError as error:
            store.drop(entry.key, "build", str(error))
            return None
        return (
            _publish(request, entry, store=store, work=work, sink=sink, started_s=started_s)
            if found
            else None
        )


def keep(
    request: BuildRequest, key: Material | None, store: Store, journal: Journal, result: BuildResult
) -> None:
    """Remember a good build, whose key was `key` when it began and must be that still."""
    if result.exit_code is not ExitCode.OK or not journal.replayable or _plugins():
        return
    if key is None or key != replay_key(request, store):
        return
    document = {
        "stages": [asdict(stage) for stage in journal.times],
        "outputs": dict(journal.outputs),
        "records": [asdict(replace(r, hit=True, reason="")) for r in journal.records],
        "recipe": journal.slot["recipe"],
        "target": journal.slot["target"],
        "diagnostics": [d.model_dump(mode="json") for d in result.report.diagnostics],
    }
    texts = {name: (result.directory / name).read_bytes() for name in (MANIFEST, REPORT)}
    store.put(key_of(key), key, texts, document)


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
    request: BuildRequest,
    entry: Entry,
    *,
    store: Store,
    work: Workspace,
    sink: Sink,
    started_s: float,
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
    slot = {
        "model": str(request.model.absolute()),
        "target": entry.result["target"],
        "recipe": entry.result["recipe"],
    }
    record = BuildRecord(slot=slot, output=str(work.output), steps=steps)
    History(store.root / "history").record(record)
    return BuildResult(directory=directory, manifest=manifest, report=report, exit_code=ExitCode.OK)


def _report(entry: Entry, seconds: float) -> Report:
    """The report of the build that made the result, as one whose steps were all cached."""
    from edgecompile.artifacts.report import Report

    report = Report.load(entry.checked(REPORT))
    steps = tuple(step.model_copy(update={"cached": True}) for step in report.steps)
    return report.model_copy(update={"steps": steps, "seconds": round(seconds, 4)})
