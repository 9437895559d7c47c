"""How near the artifact is to the float model, output by output, in which arithmetic."""

from __future__ import annotations

from edgecompile.artifacts.report import Report
from edgecompile.artifacts.report_html import figures
from edgecompile.artifacts.report_html.markup import Child, Html, breakable, el, join
from edgecompile.artifacts.report_html.tables import Column, chip, table
from edgecompile.artifacts.types import StageFidelity

STAGES = {
    "quantized_onnx": "Quantized ONNX",
    "artifact": "Artifact",
    "artifact_exact": "Artifact, exact arithmetic",
    "artifact_saturating": "Artifact, saturating kernels",
}


def metrics(report: Report) -> Html | None:
    """Task metrics, float against quantized."""
    if not report.metrics:
        return None
    columns = (
        Column(title="Metric"),
        Column(title="Kind"),
        Column(title="Float", figure=True),
        Column(title="Quantized", figure=True),
        Column(title="Arithmetic"),
        Column(title="Difference", figure=True),
    )
    rows: list[list[Child]] = [
        [
            name,
            metric.kind,
            figures.fixed(metric.float),
            figures.fixed(metric.quantized),
            metric.arithmetic or "\u2013",
            figures.signed(metric.quantized - metric.float),
        ]
        for name, metric in sorted(report.metrics.items())
    ]
    samples = figures.count(report.metric_samples, "labelled sample")
    return el(
        "section",
        el("h2", "Task accuracy"),
        el("p", f"Measured on {samples} that calibration has not seen."),
        table("Task metrics", columns, rows),
    )


def fidelity(report: Report) -> Html:
    """Every output of every stage against the float model."""
    found = report.fidelity
    if found is None:
        text = "Nothing was run: there were no samples to compare on."
        return el("section", el("h2", "Fidelity"), el("p", text))
    samples = figures.count(found.samples, "sample")
    apart = "held out from calibration" if found.held_out else "also used for calibration"
    intro = f"Against the float model in ONNX Runtime, on {samples} {apart}."
    order = [
        *(n for n in STAGES if n in found.stages),
        *sorted(found.stages.keys() - STAGES.keys()),
    ]
    stages = [_stage(report, name, found.stages[name]) for name in order]
    return el("section", el("h2", "Fidelity"), el("p", intro), *stages)


def _stage(report: Report, name: str, stage: StageFidelity) -> Html:
    ranked = any(f.top1_agreement is not None for f in stage.outputs.values())
    columns = [
        Column(title="Output"),
        Column(title="Cosine", figure=True),
        Column(title="SQNR", figure=True),
        Column(title="Largest error", figure=True),
    ]
    if ranked:
        columns.append(Column(title="Same top 1", figure=True))
    rows: list[list[Child]] = []
    for output, measured in sorted(stage.outputs.items()):
        row: list[Child] = [
            el("code", breakable(output)),
            figures.cosine(measured.cosine),
            figures.decibels(measured.sqnr_db),
            figures.number(measured.max_abs),
        ]
        if ranked:
            top1 = measured.top1_agreement
            row.append("\u2013" if top1 is None else figures.percent(top1))
        rows.append(row)
    title = STAGES.get(name, name)
    heading: list[Child] = [title, " ", chip(f"{stage.arithmetic} arithmetic", "plain")]
    if name in report.judged:
        heading += [" ", chip("as the target computes", "plain")]
    return join(
        [el("h3", *heading), el("p", stage.runtime, class_="small"), table(title, columns, rows)]
    )
