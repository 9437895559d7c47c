"""How a problem reads on standard error: what, where, why, what to do."""

from __future__ import annotations

from collections.abc import Sequence

from edgecompile.cli.page import Cell, Page, Style
from edgecompile.diagnostics import Diagnostic, Severity

STYLES: dict[Severity, Style] = {
    Severity.ERROR: "bad",
    Severity.WARNING: "warn",
    Severity.NOTE: "dim",
}


def render_diagnostics(page: Page, diagnostics: Sequence[Diagnostic]) -> None:
    """All of them; reasons and hints that several share are told once, after the last of them."""
    for position, diagnostic in enumerate(diagnostics):
        following = diagnostics[position + 1 : position + 2]
        render_head(page, diagnostic)
        shared = following and (following[0].code, following[0].hints) == (
            diagnostic.code,
            diagnostic.hints,
        )
        if not shared:
            render_tail(page, diagnostic)


def render_head(page: Page, diagnostic: Diagnostic) -> None:
    """`error[EC-203]: message` and the place."""
    style = STYLES[diagnostic.severity]
    page.line(
        Cell(f"{diagnostic.severity}[{diagnostic.code}]", style),
        Cell(f": {diagnostic.message}", "strong"),
    )
    place = str(diagnostic.where)
    if place:
        page.item("at", place)


def render_tail(page: Page, diagnostic: Diagnostic) -> None:
    """Why it matters and what to do."""
    if diagnostic.why:
        page.item("why", diagnostic.why)
    for number, hint in enumerate(diagnostic.hints):
        page.item("" if number else "fix", hint)
    if diagnostic.severity is not Severity.NOTE:
        page.item("more", Cell(f"edgecompile explain {diagnostic.code}", "code"))
