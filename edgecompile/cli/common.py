"""What every command has in common: its options for output, and how its reply is delivered."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from edgecompile.cli.reply import Reply
from edgecompile.cli.session import Format, Session
from edgecompile.cli.usage import nearest
from edgecompile.diagnostics.catalogue.usage import UNKNOWN_COMMAND

PANEL = "Output"


def tidy(params: list[Any]) -> list[Any]:
    """Flags that are shown without a type, and are False when left out.

    Typer's None would be taken through pydantic, whose import would slow `--help` down.
    """
    for param in params:
        if param.type_descriptor.annotation is bool:
            param.default = bool(param.default)
            param.metavar = ""
    return params


class Command(TyperCommand):
    """A command with tidy options."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, `--help` included."""
        return tidy(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands that offers the nearest names for one that it does not have."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, `--help` included."""
        return tidy(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The named command and its arguments. Raises EC-260 for a name that there is not."""
        name, names = args[0], self.list_commands(ctx)
        if name not in names and not ctx.resilient_parsing and not name.startswith("-"):
            raise UNKNOWN_COMMAND.error(name=name, hints=nearest(name, names, UNKNOWN_COMMAND))
        return super().resolve_command(ctx, args)


FormatOption = Annotated[
    Format,
    typer.Option("--format", help="One JSON document instead of text.", rich_help_panel=PANEL),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only errors and the result.", rich_help_panel=PANEL)
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also notes and tool output.", rich_help_panel=PANEL)
]
TracebackOption = Annotated[
    bool,
    typer.Option("--traceback", help="Show where a bug happened.", rich_help_panel=PANEL),
]


def _with_output(
    ctx: typer.Context,
    format: FormatOption = Format.HUMAN,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    traceback: TracebackOption = False,
) -> Session:
    session = ctx.obj if isinstance(ctx.obj, Session) else Session()
    session.command = "-".join(ctx.command_path.split()[1:]) or session.command
    session.format = format
    session.verbosity = int(verbose) - int(quiet)
    session.traceback = traceback
    return session


def replies(function: Callable[..., Reply]) -> Callable[..., Reply]:
    """Make a command of `function`: typer sees its parameters and the shared options.

    A first parameter named `session` is ours to give, not an option. A parameter whose type is a
    dataclass stands for the fields of it: options that commands share.
    """
    shared = inspect.signature(_with_output, eval_str=True).parameters
    own = dict(inspect.signature(function, eval_str=True).parameters)
    talks = own.pop("session", None) is not None
    groups: dict[str, Any] = {
        name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)
    }
    fields = {
        name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()
    }

    @functools.wraps(function)
    def run(**values: Any) -> Reply:
        settings = {name: values.pop(name) for name in shared}
        session = _with_output(**settings)
        for name, group in groups.items():
            values[name] = group(**{field: values.pop(field) for field in fields[name]})
        return function(session, **values) if talks else function(**values)

    spread = [p for name, own_p in own.items() for p in fields.get(name, {name: own_p}).values()]
    parameters = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*spread, *shared.values())
    ]
    signature = inspect.Signature(parameters)
    run.__dict__["__signature__"] = signature
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


class App(typer.Typer):
    """Makes commands of our class."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Like typer's."""
        return super().command(name, **{"cls": Command, **options})


def new_app(help_text: str | None = None) -> typer.Typer:
    """A typer application for one command, or for a group of them when `help_text` is given."""
    options: dict[str, Any] = {}
    if help_text is not None:
        options = {"help": help_text, "cls": Group, "no_args_is_help": True}
    return App(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )
