"""`edgecompile analyze`: which layers cost accuracy, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from edgecompile.cli import options as o
from edgecompile.cli.common import new_app, replies
from edgecompile.cli.page import Page
from edgecompile.cli.reply import Reply
from edgecompile.cli.session import Session

app = new_app()


@app.command(rich_help_panel="Compile")
@replies
def analyze(
    session: Session,
    *,
    asked: o.Asked,
    top: Annotated[
        int, typer.Option("--top", min=1, help="Show so many layers, the worst first.")
    ] = 10,
    samples: Annotated[
        int,
        typer.Option("--samples", min=1, help="Measure on so many held-out samples."),
    ] = 4,
    no_cache: o.NoCacheOption = False,
) -> Reply:
    """Rank layers by what quantizing each of them costs.

    Runs the recipe up to quantization, follows the error at the outputs back to the layers, and
    measures the worst of them alone. The JSON document holds all layers.
    """
    from edgecompile.cli.render.analysis import render_analysis
    from edgecompile.driver.analyze import analyze as run

    request = asked.request(None, no_cache=no_cache)
    found = run(request, session.sink, samples=samples)

    def render(page: Page) -> None:
        render_analysis(page, found, top)

    return Reply(result=found, render=render)
