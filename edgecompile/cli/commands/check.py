"""`edgecompile check`: what a target would refuse or run elsewhere, before any work."""

from __future__ import annotations

from edgecompile.cli import options as o
from edgecompile.cli.common import new_app, replies
from edgecompile.cli.page import Cell, Page
from edgecompile.cli.reply import Reply

app = new_app()


@app.command(rich_help_panel="Compile")
@replies
def check(
    model: o.ModelArgument,
    target: o.TargetOption,
    jetpack: o.JetpackOption = None,
    tensorrt: o.TensorRtOption = None,
) -> Reply:
    """Say what a device would refuse of a model, or run slowly.

    Exit 1 when the target would refuse it.
    """
    from edgecompile.cli.render.diagnostics import render_diagnostics
    from edgecompile.diagnostics import ExitCode, Severity
    from edgecompile.driver.check import check as check_against

    found = check_against(model, target, release=o.release_of(jetpack, tensorrt))
    refused = any(d.severity is Severity.ERROR for d in found)

    def render(page: Page) -> None:
        render_diagnostics(page, found)
        if found and not refused:
            page.line(Cell(f"'{target}' takes the model, with the remarks above", "good"))
        if not found:
            page.line(Cell(f"'{target}' takes the model, all of it", "good"))

    return Reply(
        result={"model": model.name, "target": target, "accepted": not refused},
        render=render,
        exit_code=ExitCode.REJECTED if refused else ExitCode.OK,
        diagnostics=found,
        diagnostics_rendered=True,
    )
