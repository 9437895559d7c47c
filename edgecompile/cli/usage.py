"""Parse errors as diagnostics, with the nearest names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from typer.exceptions import TyperException

from edgecompile.diagnostics import EdgecompileError
from edgecompile.diagnostics.catalogue import usage
from edgecompile.diagnostics.core import Rule
from edgecompile.diagnostics.nearest import did_you_mean

SHARED = ("--format", "--quiet", "-q", "--verbose", "-v", "--traceback")
"""Options that every command has, and the program itself has not."""


def nearest(name: str, names: Iterable[str], rule: Rule) -> tuple[str, ...]:
    """Hints: what was probably meant, then the rule's own."""
    return tuple(dict.fromkeys((did_you_mean(name, names, otherwise=rule.fix[0]), *rule.fix)))


def as_usage_error(error: BaseException) -> EdgecompileError | None:
    """`error` with one of our codes if the argument parser raised it, else None.

    The parser's exception classes are private to typer, so they are told apart by what they carry.
    """
    if not isinstance(error, TyperException):
        return None
    kind = type(error).__name__
    if kind == "NoArgsIsHelpError":
        path = getattr(getattr(error, "ctx", None), "command_path", "edgecompile")
        return usage.NO_COMMAND.error(hints=(f"run '{path} --help' for the list of commands",))
    if kind == "NoSuchOption":
        return _no_such_option(error)
    parameter = getattr(error, "param", None)
    if kind == "MissingParameter" and parameter is not None:
        is_option = parameter.param_type_name == "option"
        name = max(parameter.opts, key=len) if is_option else parameter.display_name_raw
        return usage.MISSING_ARGUMENT.error(kind=parameter.param_type_name, name=name)
    if parameter is not None:
        name = parameter.opts[-1] if parameter.opts else parameter.name
        return usage.BAD_VALUE.error(name=name, reason=_reason(error.message))
    return usage.BAD_USAGE.error(reason=_reason(error.format_message()))


def _no_such_option(error: TyperException) -> EdgecompileError:
    name = str(getattr(error, "option_name", ""))
    context = getattr(error, "ctx", None)
    options = [] if context is None else [o for p in context.command.params for o in p.opts]
    rule = usage.UNKNOWN_OPTION
    if name in SHARED and getattr(context, "parent", None) is None:
        return rule.error(name=name, hints=(f"give it after the command: ... COMMAND {name}",))
    return rule.error(name=name, hints=nearest(name, [o for o in options if o[:2] == "--"], rule))


def _reason(message: str) -> str:
    """The parser's sentence in the form of ours: no capital, no full stop."""
    text = re.sub(r"\s+", " ", message).strip().rstrip(".")
    text = re.sub(r"^Value error, ", "", text, flags=re.IGNORECASE)
    return text[:1].lower() + text[1:]
