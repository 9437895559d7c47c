"""The top of the page: what was built, how far it is proven, and the four figures that matter."""

from __future__ import annotations

from edgecompile.artifacts.manifest import ArtifactRecord
from edgecompile.artifacts.narrow import NARROW_FLOATS, narrow_float
from edgecompile.artifacts.report import Report
from edgecompile.artifacts.report_html import figures
from edgecompile.artifacts.report_html.markup import Child, Html, el
from edgecompile.artifacts.report_html.tables import Column, chip, table
from edgecompile.artifacts.types import INTEGERS, Metric, OutputFidelity, Status

STATUS = {
    Status.VERIFIED: "ran in the runtime that the device uses, outputs compared",
    Status.SIMULATED: "ran in the vendor's own emulator, outputs compared",
    Status.CHECKED: "built and held against the target's rules, not run as on the device",
    Status.NEEDS_DEVICE_BUILD: "everything but the last step, which the device must do",
}


def headline(report: Report) -> Html:
    """Title, status of each artifact, key figures, and budgets if there are any."""
    return el(
        "header",
        el("p", "edgecompile build report", class_="eyebrow"),
        el("h1", report.model.name, el("span", f" for {report.target.id}")),
        *(_artifact(artifact) for artifact in report.artifacts),
        _missed(report),
        el("ul", *(_tile(*tile) for tile in _tiles(report)), class_="tiles"),
    )


def budgets(report: Report) -> Html | None:
    """What the build had to reach."""
    if not report.budgets:
        return None
    rows: list[list[Child]] = [
        [
            budget.metric,
            _required(budget.required.removeprefix(budget.metric)),
            "not measured" if budget.actual is None else figures.number(budget.actual),
            budget.arithmetic or "\u2013",
            chip("met", "good") if budget.met else chip("missed", "bad"),
        ]
        for budget in report.budgets
    ]
    columns = (
        Column(title="Metric"),
        Column(title="Required", figure=True),
        Column(title="Reached", figure=True),
        Column(title="Arithmetic"),
        Column(title="Result"),
    )
    return el("section", el("h2", "Budgets"), table("Budgets and what was reached", columns, rows))


def _required(text: str) -> str:
    return text.replace(">=", "\u2265 ").replace("<=", "\u2264 ")


def worst(report: Report) -> tuple[str, OutputFidelity, str] | None:
    """The least faithful output of the stages that compute as the target does.

    With its name, and the arithmetic of its stage.
    """
    if report.fidelity is None:
        return None
    stages = report.fidelity.stages
    judged = [stages[name] for name in report.judged if name in stages] or list(stages.values())
    outputs = [(*item, s.arithmetic) for s in judged for item in s.outputs.items()]
    return min(outputs, key=lambda item: _rank(item[1].cosine), default=None)


def _rank(cosine: float) -> float:
    return cosine if cosine == cosine else float("-inf")  # noqa: PLR0124


def _missed(report: Report) -> Html | None:
    missed = [budget.required for budget in report.budgets if not budget.met]
    if not missed:
        return None
    text = f" {figures.count(len(missed), 'budget')}: {', '.join(missed)}."
    return el("p", chip("missed", "bad"), text, class_="status")


def _artifact(artifact: ArtifactRecord) -> Html:
    kind = "good" if artifact.status in (Status.VERIFIED, Status.SIMULATED) else "warn"
    return el(
        "p",
        chip(artifact.status.value, kind),
        " ",
        el("code", artifact.format),
        f" {STATUS[artifact.status]}.",
        class_="status",
    )


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """Label, figure, and what it means."""
    found = [_size(report)]
    for name, metric in sorted(report.metrics.items())[:2]:
        found.append(_metric(name, metric))
    lowest = worst(report)
    if lowest is not None:
        name, fidelity, arithmetic = lowest
        db = figures.decibels(fidelity.sqnr_db)
        text = f"{db} at output '{name}', {arithmetic} arithmetic"
        found.append(("Cosine to float", figures.cosine(fidelity.cosine), text))
    if report.coverage is not None:
        found.append(_coverage(report))
    if report.latency is not None and len(found) < 5:
        ratio = report.latency.float_ms / max(report.latency.artifact_ms, 1e-9)
        text = f"{figures.milliseconds(report.latency.artifact_ms)} on the build machine"
        found.append(("Speed against float", f"{ratio:.2f}\u00d7", text))
    return found


def _size(report: Report) -> tuple[str, str, str]:
    before, after = report.size.float_bytes, report.size.artifact_bytes
    if before == after or not before or not after:
        return ("Size", figures.size(after), f"from {figures.size(before)}")
    word, ratio = ("smaller", before / after) if after < before else ("larger", after / before)
    meaning = f"{ratio:.2f}\u00d7 {word} than {figures.size(before)}"
    return ("Size", figures.size(after), meaning)


def _metric(name: str, metric: Metric) -> tuple[str, str, str]:
    if 0 <= min(metric.float, metric.quantized) <= max(metric.float, metric.quantized) <= 1:
        difference = figures.points(metric.quantized - metric.float)
        return (
            name,
            figures.percent(metric.quantized, 2),
            f"float {figures.percent(metric.float, 2)} ({difference})",
        )
    return (name, figures.number(metric.quantized), f"float {figures.number(metric.float)}")


def _coverage(report: Report) -> tuple[str, str, str]:
    assert report.coverage is not None
    low = sum(report.coverage.precision.get(kind, 0) for kind in INTEGERS)
    nodes = f"{low:,} of {figures.count(report.coverage.nodes, 'layer')}"
    narrow = narrow_float(report.coverage.precision)
    if narrow is not None:
        count = report.coverage.precision[narrow]
        of = f"{count:,} of {figures.count(report.coverage.nodes, 'layer')}"
        return (f"In {NARROW_FLOATS[narrow]}", of, "nothing runs in integers")
    if report.integer_macs is None:
        return ("In integers", nodes, "as the runtime itself reports them")
    return ("Arithmetic in integers", figures.percent(report.integer_macs), nodes)


def _tile(label: str, figure: str, meaning: str) -> Html:
    return el(
        "li",
        el("span", label, class_="label"),
        el("strong", figure),
        el("span", meaning, class_="meaning"),
    )
