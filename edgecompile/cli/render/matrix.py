"""What every target says about a model: one row each, and the reasons below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.cli.page import Cell, Column, Page

if TYPE_CHECKING:
    from edgecompile.driver.check import Verdict


def render_matrix(page: Page, verdicts: Sequence[Verdict]) -> None:
    """A table of targets, then each finding once, with the targets that it is about."""
    columns = (
        Column("target", fixed=True, style="code"),
        Column("artifact", fixed=True),
        Column("takes it"),
        Column("remarks", number=True),
        Column("codes"),
    )
    page.table(columns, [_row(verdict) for verdict in verdicts])
    reasons: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        for diagnostic in verdict.diagnostics:
            fix = diagnostic.hints[0] if diagnostic.hints else ""
            text = diagnostic.message.replace(verdict.target, "TARGET")
            key = (f"{diagnostic.code}: {text}", fix)
            reasons.setdefault(key, []).append(verdict.target)
    if reasons:
        page.heading("Why, and what to do")
    for (message, fix), targets in reasons.items():
        page.line(Cell(message, "strong"))
        page.item("on", ", ".join(targets))
        if fix:
            page.item("fix", fix)


def _row(verdict: Verdict) -> tuple[str | Cell, ...]:
    if not verdict.accepted:
        answer = Cell("no", "bad")
    elif verdict.diagnostics:
        answer = Cell("yes, with remarks", "warn")
    else:
        answer = Cell("yes", "good")
    codes = " ".join(sorted({diagnostic.code for diagnostic in verdict.diagnostics}))
    return (verdict.target, verdict.format, answer, str(len(verdict.diagnostics)), codes)
