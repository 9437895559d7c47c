"""`edgecompile passes`: the steps that recipes are made of, and the options of one."""

from __future__ import annotations

from typing import Annotated

import typer

from edgecompile.cli.common import new_app, replies
from edgecompile.cli.completion import complete_passes
from edgecompile.cli.page import Page
from edgecompile.cli.reply import Reply
from edgecompile.cli.usage import nearest
from edgecompile.diagnostics.catalogue.usage import UNKNOWN_PASS

app = new_app()


@app.command(rich_help_panel="Look up")
@replies
def passes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="PASS",
            help="Id of a pass; all of them when left out.",
            autocompletion=complete_passes,
        ),
    ] = None,
) -> Reply:
    """List the passes, or show the options of one."""
    from edgecompile.cli.facts import pass_facts
    from edgecompile.cli.render.passes import render_pass, render_passes
    from edgecompile.passes.registry import all_passes

    found = all_passes()
    if name is None:
        facts = [pass_facts(operation) for operation in found.values()]
        return Reply(result=facts, render=lambda page: render_passes(page, facts))
    if name not in found:
        raise UNKNOWN_PASS.error(name=name, hints=nearest(name, found, UNKNOWN_PASS))
    one = pass_facts(found[name])

    def render(page: Page) -> None:
        render_pass(page, one)

    return Reply(result=one, render=render)
