"""`edgecompile recipes`: what ships, and one recipe with every option spelt out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgecompile.cli.common import new_app, replies
from edgecompile.cli.completion import complete_recipes
from edgecompile.cli.page import Column, Page
from edgecompile.cli.reply import Reply

app = new_app()


@app.command(rich_help_panel="Look up")
@replies
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="Name, or path of a YAML file; all that ship when left out.",
            autocompletion=complete_recipes,
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of a recipe, for editors.")
    ] = False,
) -> Reply:
    """List the recipes, or print one as YAML with every option.

    What it prints is a recipe: save it, change it, and give its path to 'build --recipe'.
    """
    if schema:
        return _schema()
    if name is None:
        return _list()
    from edgecompile.cli.render.recipes import recipe_yaml
    from edgecompile.recipes import read_recipe

    recipe = read_recipe(name)
    return Reply(
        result=recipe.to_json(), render=lambda page: page.verbatim(recipe_yaml(recipe.to_json()))
    )


def _schema() -> Reply:
    from edgecompile.cli.reply import to_text
    from edgecompile.recipes import json_schema

    schema = json_schema()
    return Reply(result=schema, render=lambda page: page.verbatim(to_text(schema)))


def _list() -> Reply:
    from edgecompile.recipes import read_recipe, shipped_recipes

    found: list[dict[str, Any]] = [read_recipe(name).to_json() for name in shipped_recipes()]

    def render(page: Page) -> None:
        columns = (
            Column("recipe", fixed=True, style="code"),
            Column("what it does"),
            Column("steps", number=True),
        )
        rows = [(r["name"], r["description"], str(len(r["does"]["steps"]))) for r in found]
        page.table(columns, rows)

    return Reply(result=found, render=render)
