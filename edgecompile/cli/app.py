"""The program: finds the commands in their folder, loads one only when it is named."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import edgecompile
from edgecompile import __version__, cli
from edgecompile.cli import commands
from edgecompile.cli.common import Group
from edgecompile.cli.reply import Reply
from edgecompile.cli.session import Session
from edgecompile.cli.streams import is_rich
from edgecompile.diagnostics import ExitCode

MAKEFILE = "edgecompile.mk"
PANELS = ("Compile", "Look up", "Housekeeping")


def command_names() -> list[str]:
    """Names of all commands: the modules of `cli/commands`."""
    return sorted(info.name for info in pkgutil.iter_modules(commands.__path__))


def load_command(name: str) -> Any:
    """The parsed form of one command; imports its module."""
    module = importlib.import_module(f"{commands.__name__}.{name}")
    module.app.rich_markup_mode = markup_mode()
    command: Any = typer.main.get_command(module.app)
    command.name = name
    command.rich_help_panel = command.rich_help_panel or PANELS[-1]
    return command


def markup_mode() -> Any:
    """Boxes and colour in help on a terminal, plain text elsewhere (which also loads faster)."""
    return "rich" if is_rich(sys.stdout) else None


class LazyGroup(Group):
    """The group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of help: by panel, then by alphabet."""

        def panel(name: str) -> int:
            command = load_command(name)
            return PANELS.index(command.rich_help_panel)

        return sorted(command_names(), key=panel)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None when there is none of that name."""
        return load_command(cmd_name) if cmd_name in command_names() else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Note the name for the JSON document, then resolve as groups do."""
        if isinstance(ctx.obj, Session) and args[0] in command_names():
            ctx.obj.command = args[0]
        return super().resolve_command(ctx, args)


def makefile() -> Path:
    """The rules that a Makefile can include: in the wheel, or at the root of a clone."""
    package = Path(edgecompile.__file__).parent
    packaged = package / MAKEFILE
    return packaged if packaged.is_file() else package.parent / MAKEFILE


def _makefile(value: bool) -> None:
    if value:
        sys.stdout.write(f"{makefile()}\n")
        raise typer.Exit


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"edgecompile {__version__}\n")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    makefile_path: Annotated[
        bool,
        typer.Option(
            "--makefile",
            callback=_makefile,
            is_eager=True,
            help="Print the path of the rules that a Makefile can include.",
        ),
    ] = False,
) -> None:
    del version, makefile_path


def new_app() -> typer.Typer:
    """The root of the command line."""
    app = typer.Typer(
        name="edgecompile",
        cls=LazyGroup,
        help="A trained ONNX model in, a verified artifact for a named edge device out.",
        epilog="Exit codes: 0 done, 1 model rejected or budget missed, 2 usage or data invalid, "
        "3 toolchain missing or failed, 70 bug, 130 interrupted.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=markup_mode(),
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    return app


def run(session: Session, arguments: Sequence[str]) -> int:
    """Parse and run; exceptions are the caller's."""
    command = typer.main.get_command(new_app())
    answer = command.main(
        args=list(arguments), prog_name=cli.PROGRAM, standalone_mode=False, obj=session
    )
    if isinstance(answer, Reply):
        return session.deliver(answer)
    if answer == ExitCode.INTERRUPTED:
        return session.interrupted()
    return int(answer or 0)
