"""`report.html`: one page that needs no network, no script and no font of its own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from edgecompile.artifacts.report import Report
from edgecompile.artifacts.report_html.accuracy import fidelity, metrics
from edgecompile.artifacts.report_html.coverage import coverage
from edgecompile.artifacts.report_html.headline import budgets, headline
from edgecompile.artifacts.report_html.markup import Html, el, join
from edgecompile.artifacts.report_html.provenance import artifacts, diagnostics, latency, provenance
from edgecompile.artifacts.report_html.timeline import steps

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser itself refuses to load anything."""


def render(report: Report) -> str:
    """The page. The same report gives the same text."""
    sections = (
        budgets(report),
        metrics(report),
        fidelity(report),
        coverage(report),
        latency(report),
        steps(report),
        diagnostics(report),
        artifacts(report),
        provenance(report),
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("title", f"{report.model.name} for {report.target.id}: edgecompile report"),
        el("style", Html(_style())),
    )
    body = el("body", el("main", headline(report), *sections), _footer(report))
    page = el("html", head, body, lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def write_html(report: Report, path: Path) -> None:
    """Write the page to `path`. Raises `OSError`."""
    path.write_text(render(report), encoding="utf-8", newline="\n")


def _style() -> str:
    return resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")


def _footer(report: Report) -> Html:
    text = join(
        [
            f"Made by edgecompile {report.edgecompile}. The same facts for machines: ",
            el("code", "manifest.json"),
            " and ",
            el("code", "report.json"),
            " beside this page.",
        ]
    )
    return el("footer", el("p", text))
