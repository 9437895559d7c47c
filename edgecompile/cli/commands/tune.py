"""`edgecompile tune`: the fastest placement of Q/DQ pairs, measured on the device."""

from __future__ import annotations

from typing import Annotated

import typer

from edgecompile.cli import options as o
from edgecompile.cli.common import new_app, replies
from edgecompile.cli.page import Cell, Column, Page
from edgecompile.cli.reply import Reply
from edgecompile.cli.session import Session

app = new_app()

DeviceOption = Annotated[
    str,
    typer.Option(
        "--builder",
        metavar="ssh://USER@DEVICE",
        help="The device that measures.",
        show_default=False,
    ),
]


@app.command(rich_help_panel="Compile")
@replies
def tune(
    session: Session,
    *,
    asked: o.Asked,
    builder: DeviceOption,
    output: o.OutputOption = None,
    budgets: o.BudgetOption = None,
) -> Reply:
    """Measure a few placements of Q/DQ pairs on a device, and keep the fastest that holds.

    Run it again after an interruption: what was measured is not measured again.
    """
    from edgecompile.driver.build import BuildResult
    from edgecompile.driver.remote import proven_on, reachable
    from edgecompile.driver.tune import tune as run

    reachable(builder)
    request = asked.request(output, budgets=tuple(budgets or ()))

    def prove(built: BuildResult) -> BuildResult:
        return proven_on(built, builder, told=session.err.line if session.talks else None)

    tuned = run(request, session.sink, prove)

    def render(page: Page) -> None:
        columns = (Column("placement"), Column("ms", number=True), Column("remark"))
        rows = [
            (one.name, "" if one.latency_ms is None else f"{one.latency_ms:.3f}", one.reason)
            for one in tuned.measured
        ]
        page.table(columns, rows)
        page.line(Cell(f"{tuned.best.name}: {tuned.result.directory}", "good"))
        for text in tuned.overrides:
            page.line(f"--set '{text}'", indent=2)

    return Reply(result=tuned.to_json(), render=render)
