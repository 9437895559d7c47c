"""`edgecompile toolchain`: which vendor tools are here, and what each target needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecompile.cli.common import new_app, replies
from edgecompile.cli.completion import complete_targets
from edgecompile.cli.page import Cell, Column, Page
from edgecompile.cli.reply import Reply

if TYPE_CHECKING:
    from edgecompile.vendor import ToolStatus

HELP = "See which vendor tools are here, and what each target needs."
app = new_app(HELP)


@app.command("list")
@replies
def list_tools() -> Reply:
    """List the toolchains that edgecompile can use."""
    from edgecompile.vendor import doctor

    found = doctor()

    def render(page: Page) -> None:
        columns = (
            Column("toolchain", fixed=True, style="code"),
            Column("here", fixed=True),
            Column("for"),
        )
        page.table(columns, [(tool.name, _state(tool), tool.purpose) for tool in found])

    return Reply(result=[_json(tool) for tool in found], render=render)


@app.command("doctor")
@replies
def doctor_command(
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            metavar="TARGET",
            help="Only what this target needs.",
            autocompletion=complete_targets,
        ),
    ] = None,
) -> Reply:
    """Say what is installed, what is missing, and what to type.

    With --target, exit 3 when something that the target needs is missing.
    """
    from edgecompile.cli.toolchains import needed_by
    from edgecompile.diagnostics import ExitCode
    from edgecompile.vendor import doctor

    needed = None if target is None else needed_by(target)
    found = [tool for tool in doctor() if needed is None or tool.name in needed]
    ready = needed is None or all(tool.present for tool in found)

    def render(page: Page) -> None:
        for tool in found:
            _render(page, tool)
        if not found:
            page.line(f"'{target}' needs no vendor tool")

    return Reply(
        result=[_json(tool) for tool in found],
        render=render,
        exit_code=ExitCode.OK if ready else ExitCode.TOOLCHAIN,
    )


def _state(tool: ToolStatus) -> Cell:
    if not tool.present:
        return Cell("missing", "warn")
    return Cell(", ".join(tool.versions.values()), "good")


def _json(tool: ToolStatus) -> dict[str, Any]:
    return {
        "name": tool.name,
        "purpose": tool.purpose,
        "present": tool.present,
        "versions": dict(tool.versions),
        "missing": list(tool.missing),
        "install": tool.install,
    }


def _render(page: Page, tool: ToolStatus) -> None:
    page.heading(tool.name)
    page.line(tool.purpose, indent=2)
    for name, version in tool.versions.items():
        page.line(Cell(f"{name} {version}", "good"), indent=2)
    for name in tool.missing:
        page.line(Cell(f"{name} is not installed", "warn"), indent=2)
    if not tool.present:
        page.line("to install: ", Cell(tool.install, "code"), indent=2)
