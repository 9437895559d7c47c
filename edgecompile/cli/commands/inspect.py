"""`edgecompile inspect`: what a model, an artifact or a build directory holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecompile.cli.common import new_app, replies
from edgecompile.cli.page import Page
from edgecompile.cli.reply import Reply

app = new_app()


@app.command(rich_help_panel="Compile")
@replies
def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A model, an artifact or a build directory.", show_default=False
        ),
    ],
) -> Reply:
    """Show what a model, an artifact or a build directory holds."""
    from edgecompile.cli.render.inspection import render_inspection
    from edgecompile.driver.inspect import inspect as look

    found = {"path": str(path), **look(path)}

    def render(page: Page) -> None:
        render_inspection(page, found)

    return Reply(result=found, render=render)
