"""Toolchains as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecompile.cli.page import Cell, Column, Page
from edgecompile.cli.units import bytes_text

if TYPE_CHECKING:
    from edgecompile.vendor import ToolStatus


def tool_json(tool: ToolStatus) -> dict[str, Any]:
    """Everything known of a toolchain; texts are empty where there is nothing to say."""
    return {
        "name": tool.name,
        "purpose": tool.purpose,
        "present": tool.present,
        "versions": dict(tool.versions),
        "missing": list(tool.missing),
        "install": tool.install,
        "isolated": tool.isolated,
        "directory": tool.directory,
        "python": tool.python,
        "answer": tool.answer,
        "licence": tool.licence,
        "size_bytes": tool.size_bytes,
        "notes": list(tool.notes),
    }


def render_list(page: Page, found: list[ToolStatus]) -> None:
    """One row for each."""
    columns = (
        Column("toolchain", fixed=True, style="code"),
        Column("here", fixed=True),
        Column("lives in", fixed=True),
        Column("for"),
    )
    rows = [(t.name, _state(t), "its own" if t.isolated else "this", t.purpose) for t in found]
    page.table(columns, rows)


def _state(tool: ToolStatus) -> Cell:
    if not tool.present:
        return Cell("missing", "warn")
    versions = list(tool.versions.values())
    return Cell(versions[0] if tool.isolated and versions else ", ".join(versions) or "yes", "good")


def render_tool(page: Page, tool: ToolStatus) -> None:
    """What the doctor says of one."""
    page.heading(tool.name)
    page.line(tool.purpose, indent=2)
    for name, version in tool.versions.items():
        page.line(Cell(f"{name} {version}", "good"), indent=2)
    if tool.directory:
        what = f"Python {tool.python} in {tool.directory}" if tool.python else tool.directory
        page.line(what, indent=2)
    if tool.answer == "yes":
        page.line(Cell("starts and imports", "good"), indent=2)
    elif tool.answer:
        page.line(Cell(f"does not answer: {tool.answer}", "warn"), indent=2)
    for name in tool.missing:
        page.line(Cell(f"{name} is not installed", "warn"), indent=2)
    if tool.present:
        return
    for note in tool.notes:
        page.line(Cell(note, "dim"), indent=2)
    if tool.size_bytes:
        page.line(f"takes about {bytes_text(tool.size_bytes)}; {tool.licence}", indent=2)
    again = f"edgecompile toolchain remove {tool.name} && " if tool.directory else ""
    page.line("to install: ", Cell(f"{again}{tool.install}", "code"), indent=2)
