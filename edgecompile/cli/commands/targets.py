"""`edgecompile targets`: the devices that are served, and what is known about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecompile.cli.common import new_app, replies
from edgecompile.cli.completion import complete_targets
from edgecompile.cli.page import Cell, Page
from edgecompile.cli.reply import Reply

if TYPE_CHECKING:
    from edgecompile.targets.schema import Target

app = new_app()


@app.command(rich_help_panel="Look up")
@replies
def targets(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="Id or alias; all targets when left out.",
            autocompletion=complete_targets,
        ),
    ] = None,
) -> Reply:
    """List the devices, or show the facts about one.

    Each figure comes with its source.
    """
    from edgecompile.cli.render.targets import render_target, render_targets
    from edgecompile.targets.catalogue import all_targets, load_target

    if name is not None:
        target = load_target(name)
        return Reply(result=target_json(target), render=lambda page: render_target(page, target))
    found = list(all_targets().values())

    def render(page: Page) -> None:
        render_targets(page, found)

    def summary(page: Page) -> None:
        page.line(Cell("facts, sources and aliases: edgecompile targets NAME", "dim"))

    result = [target_json(target) for target in found]
    return Reply(result=result, render=render, summary=summary)


def target_json(target: Target) -> dict[str, Any]:
    """A target as its YAML has it, with the digest that cache keys and manifests use."""
    from edgecompile.targets.catalogue import facts_sha256

    facts: dict[str, Any] = target.model_dump(mode="json", by_alias=True)
    return {**facts, "facts_sha256": facts_sha256(target)}
