"""What `build` ends with: the table of figures, then where things are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecompile.cli.page import Cell, Page
from edgecompile.cli.render.report import render_report
from edgecompile.cli.units import seconds_text


def render_build(
    page: Page, report: Mapping[str, Any], directory: Path, *, good: bool, verbose: bool = False
) -> None:
    """The figures of a finished build and its folder; with `verbose`, what its steps noted."""
    render_report(page, report, directory)
    if verbose:
        _notes(page, report["steps"])
    page.gap()
    took = seconds_text(report["seconds"])
    if good:
        page.line(Cell("built", "good"), f" in {took}: {directory}")
        page.line(Cell(f"proof: {directory}/report.html", "dim"))
    else:
        page.line(Cell("not good enough", "bad"), f" after {took}; the output is as it was")
        page.line(Cell(f"for a look: {directory}/report.html", "dim"))


def _notes(page: Page, steps: Sequence[Mapping[str, Any]]) -> None:
    noted = [step for step in steps if step["notes"]]
    if noted:
        page.heading("Notes of the steps")
    for step in noted:
        page.line(Cell(step["step"], "code"))
        for note in step["notes"]:
            place = note["node"] or note["tensor"]
            page.line(f"{place}: " if place else "", note["message"], indent=2)
