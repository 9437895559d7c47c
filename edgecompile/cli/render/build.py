"""What `build` ends with: the table of figures, then where things are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecompile.cli.page import Cell, Page
from edgecompile.cli.render.report import render_report
from edgecompile.cli.units import seconds_text


def render_build(page: Page, report: Mapping[str, Any], directory: str, *, good: bool) -> None:
    """The figures of a finished build and its folder."""
    render_report(page, report, Path(directory))
    page.gap()
    took = seconds_text(report["seconds"])
    if good:
        page.line(Cell("built", "good"), f" in {took}: {directory}")
        page.line(Cell(f"proof: {directory}/report.html", "dim"))
    else:
        page.line(Cell("not good enough", "bad"), f" after {took}; the output is as it was")
        page.line(Cell(f"for a look: {directory}/report.html", "dim"))
