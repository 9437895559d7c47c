"""`edgecompile toolchain`: vendor tools, what each target needs, and environments of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from edgecompile.cli.common import new_app, replies
from edgecompile.cli.completion import complete_targets, complete_toolchains
from edgecompile.cli.page import Page
from edgecompile.cli.reply import Reply
from edgecompile.cli.session import Session

HELP = "List and install vendor tools, and see what each target needs."
app = new_app(HELP)

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="An isolated toolchain.", autocompletion=complete_toolchains
    ),
]


@app.command("list")
@replies
def list_tools() -> Reply:
    """List the toolchains that edgecompile can use, without starting any."""
    from edgecompile.cli.render.toolchains import render_list, tool_json
    from edgecompile.cli.toolchains import state_of_all

    found = state_of_all(ask=False)
    return Reply(
        result=[tool_json(tool) for tool in found], render=lambda page: render_list(page, found)
    )


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
    """Say what is installed, whether it answers, what is missing, and what to type.

    Isolated toolchains are started, which can take a minute. With --target, exit 3 when something
    that the target needs is missing; an SDK that only spares another machine the last step is told
    and does not count.
    """
    from edgecompile.cli.render.toolchains import render_tool, tool_json
    from edgecompile.cli.toolchains import helped_by, needed_by, state_of_all
    from edgecompile.diagnostics import ExitCode

    needed = None if target is None else needed_by(target)
    also = set() if target is None else helped_by(target)
    found = state_of_all(ask=True, only=None if needed is None else needed | also)
    ready = needed is None or all(tool.present for tool in found if tool.name in needed)

    def render(page: Page) -> None:
        for tool in found:
            render_tool(page, tool)
        if not found:
            page.line(f"'{target}' needs no vendor tool")

    return Reply(
        result=[tool_json(tool) for tool in found],
        render=render,
        exit_code=ExitCode.OK if ready else ExitCode.TOOLCHAIN,
        diagnostics=[problem for tool in found for problem in tool.problems],
    )


@app.command("install")
@replies
def install_command(
    session: Session,
    name: NameArgument,
    python: Annotated[
        str | None,
        typer.Option(
            "--python",
            metavar="COMMAND",
            help="The Python to make it with. (default: a suitable one that is found)",
        ),
    ] = None,
) -> Reply:
    """Make the environment of a toolchain, with pinned versions, by venv and pip.

    Prints its folder. Does nothing when it is there already.
    """
    from edgecompile.vendor.toolchains.install import install
    from edgecompile.vendor.toolchains.spec import load_toolchain

    toolchain = load_toolchain(name)

    def told(text: str) -> None:
        if session.talks:
            session.err.line(text)

    made = install(toolchain, told=told, python=python)

    def summary(page: Page) -> None:
        page.line(f"{len(made.versions)} packages for Python {made.python}, all imports passed")

    return Reply(
        result={
            "name": name,
            "directory": str(made.directory),
            "python": made.python,
            "digest": made.digest,
            "versions": dict(made.versions),
        },
        render=lambda page: page.verbatim(str(made.directory)),
        summary=summary,
    )


@app.command("remove")
@replies
def remove_command(name: NameArgument) -> Reply:
    """Remove every environment of a toolchain, also those of other versions."""
    from edgecompile.vendor.toolchains.place import remove

    removed = [str(path) for path in remove(name)]

    def render(page: Page) -> None:
        for path in removed:
            page.line(f"removed {path}")
        if not removed:
            page.line(f"'{name}' was not installed")

    return Reply(result={"name": name, "removed": removed}, render=render)
