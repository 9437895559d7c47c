"""A build for people: the table that `build` ends with and that `inspect` shows again.

Works on the JSON form of a manifest or a report, so both commands show the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecompile.artifacts.narrow import NARROW_FLOATS, narrow_float
from edgecompile.artifacts.reasons import kind, merged
from edgecompile.cli.page import Cell, Column, Page, Style
from edgecompile.cli.render.targets import status_cell
from edgecompile.cli.units import bytes_text

STAGES = {
    "quantized_onnx": "quantized ONNX",
    "artifact": "artifact",
    "artifact_exact": "artifact, exact",
    "artifact_saturating": "artifact, saturating",
    "device": "device",
}
"""Stages by what people call them, in the order in which they are made."""
LISTED = 12
"""Kinds of fallback that are listed before the rest is counted."""
ALL_IN_INTEGERS = "nothing that could run in integers stayed in float"


def render_report(page: Page, report: Mapping[str, Any], directory: Path) -> None:
    """Artifacts, sizes, accuracy, fidelity, what stayed in float, budgets.

    `directory` is where the build lies.
    """
    _artifacts(page, report["artifacts"], directory)
    _before_and_after(page, report)
    if report["fidelity"] is not None:
        _fidelity(page, report["fidelity"], report.get("judged", ()))
    if report["coverage"] is not None:
        _coverage(page, report["coverage"], report.get("integer_macs"))
    if report["budgets"]:
        _budgets(page, report["budgets"])


def _artifacts(page: Page, artifacts: Sequence[Mapping[str, Any]], directory: Path) -> None:
    for artifact in artifacts:
        tools = ", ".join(f"{name} {version}" for name, version in artifact["toolchain"].items())
        page.heading("Artifact")
        page.line(
            Cell(artifact["format"], "strong"),
            ", ",
            status_cell(artifact["status"]),
            f", made with {tools}" if tools else "",
        )
        if artifact["why"]:
            page.line(Cell(artifact["why"], "dim"))
        files = [directory / name for name in artifact["files"] or (artifact["path"],)]
        columns = (Column("", fixed=True, style="code"), Column("", number=True))
        sizes = [(f, bytes_text(f.stat().st_size) if f.is_file() else "missing") for f in files]
        page.table(columns, [(file.as_posix(), size) for file, size in sizes])


def _before_and_after(page: Page, report: Mapping[str, Any]) -> None:
    page.heading("Before and after")
    columns = (
        Column("", fixed=True),
        Column("float", number=True),
        Column("artifact", number=True),
        Column(""),
    )
    rows = [_size_row(report["size"]), *map(_metric_row, report["metrics"].items())]
    latency = report.get("latency")
    if latency is not None:
        rows.append(_latency_row(latency))
    page.table(columns, rows)
    if report.get("metric_samples"):
        names = " and ".join(report["metrics"])
        page.line(
            Cell(f"{names} on {report['metric_samples']} labelled samples{_in(report)}", "dim")
        )


def _in(report: Mapping[str, Any]) -> str:
    """In which arithmetic metrics were taken."""
    known = {metric.get("arithmetic") for metric in report["metrics"].values()} - {None}
    return f", in {' and '.join(sorted(known))} arithmetic" if known else ""


def _size_row(size: Mapping[str, int]) -> tuple[str, str, str, Cell]:
    before, after = size["float_bytes"], size["artifact_bytes"]
    smaller = before / after if after else 0.0
    text = f"{smaller:.1f} times smaller"
    if smaller < 1.05:
        text = f"{1 / smaller:.2f} times as large" if smaller else ""
    return ("size", bytes_text(before), bytes_text(after), Cell(text, _grade(smaller >= 1.05)))


def _metric_row(item: tuple[str, Mapping[str, Any]]) -> tuple[str, str, str, Cell]:
    name, metric = item
    before, after, kind = metric["float"], metric["quantized"], metric["kind"]
    if isinstance(before, str) or isinstance(after, str):
        return (name, str(before), str(after), Cell(""))
    change = after - before
    worse = change > 0 if kind == "error" else change < 0
    style: Style = "warn" if worse else "good"
    if kind in ("accuracy", "error"):
        return (name, percent(before), percent(after), Cell(f"{100 * change:+.2f} points", style))
    return (name, figure(before), figure(after), Cell(f"{change:+.4g}", style))


def _latency_row(latency: Mapping[str, Any]) -> tuple[str, str, str, Cell]:
    before, after = latency["float_ms"], latency["artifact_ms"]
    faster = before / after if after else 0.0
    text = f"{faster:.2f} times as fast on this machine"
    return ("latency", f"{before:.3g} ms", f"{after:.3g} ms", Cell(text, _grade(faster >= 1)))


def _fidelity(page: Page, fidelity: Mapping[str, Any], judged: Sequence[str]) -> None:
    count, held_out = fidelity["samples"], fidelity["held_out"]
    which = "held-out samples" if held_out else "samples that calibration has seen"
    page.heading(f"Fidelity to the float model, {count} {which}")
    columns = (
        Column("output", fixed=True),
        Column("arithmetic", fixed=True),
        Column("cosine", number=True),
        Column("SQNR", number=True),
        Column("max error", number=True),
        Column("top-1", number=True),
    )
    stages = sorted(fidelity["stages"].items(), key=lambda item: [*STAGES, item[0]].index(item[0]))
    rows: list[tuple[str | Cell, ...]] = []
    for output in dict.fromkeys(name for _, told in stages for name in told["outputs"]):
        rows.append((Cell(output, "code"), "", "", "", "", ""))
        for stage, told in stages:
            if output in told["outputs"]:
                name = f"  {STAGES.get(stage, stage)}"
                rows.append((name, told["arithmetic"], *_figures(told["outputs"][output])))
    page.table(columns, rows)
    for stage, told in stages:
        page.line(Cell(f"{STAGES.get(stage, stage)}: {told['runtime']}", "dim"))
    if len(judged) > 1:
        names = ", ".join(f"'{STAGES.get(stage, stage)}'" for stage in judged)
        page.line(Cell(f"budgets look at the worst of {names}", "dim"))


def _figures(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    agreement = one.get("top1_agreement")
    return (
        figure(one["cosine"], digits=5),
        f"{figure(one['sqnr_db'], digits=1)} dB",
        figure(one["max_abs"], significant=3),
        "" if agreement is None else percent(agreement),
    )


def _coverage(page: Page, coverage: Mapping[str, Any], integer_macs: float | None) -> None:
    frequent = sorted(coverage["precision"].items(), key=lambda item: (-item[1], item[0]))
    counts = ", ".join(f"{count} in {precision}" for precision, count in frequent if count)
    page.heading(f"Of {coverage['nodes']} nodes: {counts}")
    narrow = narrow_float(coverage["precision"])
    if narrow is not None:
        count = coverage["precision"][narrow]
        page.line(f"no integers: {count} of {coverage['nodes']} nodes in {NARROW_FLOATS[narrow]}")
    elif integer_macs is not None:
        page.line(f"{percent(integer_macs)} of the multiply-accumulates run in integers")
    unit = coverage.get("unit", "").upper()
    if unit:
        page.line(f"{coverage['accelerated']} of {coverage['nodes']} nodes run on the {unit}")
    if coverage.get("accelerated_macs") is not None:
        page.line(f"{percent(coverage['accelerated_macs'])} of the multiply-accumulates run there")
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for fallback in coverage["fallback"]:
        groups.setdefault((kind(fallback["reason"]), fallback["op"]), []).append(fallback)
    if not groups:
        none = f"nothing runs elsewhere than on the {unit}" if unit else ALL_IN_INTEGERS
        if unit or narrow is None:
            page.line(Cell(none, "good"))
        return
    columns = (
        Column("runs on the CPU" if unit else "stayed in float", fixed=True, style="code"),
        Column("nodes", number=True),
        Column("why"),
        Column("such as", style="dim"),
    )
    rows = [
        (op, str(len(found)), merged(one["reason"] for one in found), found[0]["node"])
        for (_, op), found in list(groups.items())[:LISTED]
    ]
    page.table(columns, rows)
    if len(groups) > LISTED:
        page.line(Cell(f"and {len(groups) - LISTED} more kinds: see report.html", "dim"))


def _budgets(page: Page, budgets: Sequence[Mapping[str, Any]]) -> None:
    page.heading("Budgets")
    columns = (
        Column("", fixed=True),
        Column("", number=True),
        Column("", fixed=True),
        Column("", style="dim"),
    )
    rows = []
    for budget in budgets:
        actual = "not measured" if budget["actual"] is None else figure(budget["actual"])
        met = Cell("met", "good") if budget["met"] else Cell("missed", "bad")
        told = budget.get("arithmetic")
        rows.append((budget["required"], actual, met, f"{told} arithmetic" if told else ""))
    page.table(columns, rows)


def _grade(good: bool) -> Style:
    return "good" if good else "warn"


def percent(share: float | str) -> str:
    """`98.20 %`, 100 % only for all of it; strings are the infinities of JSON."""
    if isinstance(share, str):
        return share
    return "> 99.99 %" if 0.99995 <= share < 1 else f"{100 * share:.2f} %"


def figure(value: float | str, *, digits: int | None = None, significant: int = 6) -> str:
    """A figure with fixed decimals, or with significant digits."""
    if isinstance(value, str):
        return {"Infinity": "inf", "-Infinity": "-inf"}.get(value, value)
    return f"{value:.{digits}f}" if digits is not None else f"{value:.{significant}g}"
