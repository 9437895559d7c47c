"""What the build was made of: digests, versions, data, files, and what there is to know."""

from __future__ import annotations

import json
from collections.abc import Mapping

from edgecompile.artifacts.manifest import DataRecord, DiagnosticRecord
from edgecompile.artifacts.report import Report
from edgecompile.artifacts.report_html import figures
from edgecompile.artifacts.report_html.markup import Child, Html, el, join
from edgecompile.artifacts.report_html.tables import Column, bar, chip, facts, fold, table

KINDS = {"error": "bad", "warning": "warn", "note": "plain"}


def diagnostics(report: Report) -> Html | None:
    """Warnings and notes with what to do about them."""
    if not report.diagnostics:
        return None
    items = [_diagnostic(found) for found in report.diagnostics]
    return el("section", el("h2", "Warnings and notes"), el("ul", *items, class_="diagnostics"))


def artifacts(report: Report) -> Html:
    """Files for the device."""
    blocks = []
    for artifact in report.artifacts:
        pairs: list[tuple[str, Child]] = [
            (
                "Files",
                join((el("code", name) for name in artifact.files or (artifact.path,)), ", "),
            ),
            ("Format", artifact.format),
            ("Size", figures.size(artifact.bytes)),
            ("SHA-256", el("code", artifact.sha256)),
            (
                "Status",
                f"{artifact.status.value}: {artifact.why}"
                if artifact.why
                else artifact.status.value,
            ),
            ("Made by", _versions(artifact.toolchain)),
        ]
        if not artifact.reproducible:
            pairs.append(("Bytes", "differ from build to build: the vendor's format varies"))
        pairs += [("Note", note) for note in artifact.notes]
        blocks.append(facts(pairs))
    return el("section", el("h2", "Artifacts" if len(blocks) > 1 else "Artifact"), *blocks)


def provenance(report: Report) -> Html:
    """Digests and versions that make the build repeatable."""
    pairs: list[tuple[str, Child]] = [
        ("Model", _digest(report.model.name, report.model.sha256)),
        ("Target facts", _digest(report.target.id, report.target.facts_sha256)),
        ("Recipe", _digest(report.recipe.name, report.recipe.sha256)),
        ("Calibration", _data(report.calibration)),
    ]
    if report.evaluation is not None:
        pairs.append(("Evaluation", _data(report.evaluation)))
    pairs.append(("edgecompile", report.edgecompile))
    pairs.append(("Libraries", _versions(report.libraries)))
    if report.host:
        pairs.append(("Build machine", _versions(report.host)))
    steps = [
        el("li", el("code", step.step), " ", el("span", _options(step.options), class_="small"))
        for step in report.recipe.steps
    ]
    return el(
        "section",
        el("h2", "Provenance"),
        facts(pairs),
        fold("The recipe with every option", el("ol", *steps)),
    )


def latency(report: Report) -> Html | None:
    """Time of one inference here, float against artifact."""
    found = report.latency
    if found is None:
        return None
    columns = (Column(title="Model"), Column(title="Median", figure=True), Column(title="Compared"))
    longest = max(found.float_ms, found.artifact_ms) or 1.0
    times = (("Float model", found.float_ms), ("Artifact", found.artifact_ms))
    rows: list[list[Child]] = [
        [name, figures.milliseconds(ms), bar(ms / longest)] for name, ms in times
    ]
    threads = figures.count(found.threads, "thread")
    text = f"One inference in {found.runtime}, {threads}, on the build machine: not the device."
    body = table("Time of one inference", columns, rows)
    return el("section", el("h2", "Time here"), el("p", text), el("div", body, class_="bars"))


def _diagnostic(found: DiagnosticRecord) -> Html:
    place = ", ".join(f"{key} {value}" for key, value in sorted(found.where.items()))
    return el(
        "li",
        el("p", chip(found.severity, KINDS[found.severity]), " ", el("code", found.code), " ",
           found.message),
        el("p", place, class_="small") if place else None,
        el("p", found.why, class_="small") if found.why else None,
        el("ul", *(el("li", hint) for hint in found.hints)) if found.hints else None,
    )  # fmt: skip


def _digest(name: str, sha256: str) -> Html:
    return join([name, " ", el("code", sha256)])


def _data(record: DataRecord | None) -> Html:
    if record is None:
        return join(["none: no step needed data"])
    kind = "random samples, asked for by name" if record.random else "samples"
    text = f"{record.source}, {record.samples:,} {kind} "
    return join([text, el("code", record.sha256)])


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def _options(options: Mapping[str, object]) -> str:
    return ", ".join(f"{name}: {json.dumps(value)}" for name, value in sorted(options.items()))
