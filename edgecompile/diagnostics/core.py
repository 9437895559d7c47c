"""A `Rule` documents one kind of problem; a `Diagnostic` is one occurrence of it.

Everything that can be said about a problem in general (why it matters, how to fix it, an example)
lives on the rule, so `edgecompile explain EC-203` and the reference pages need no second source.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any


class ExitCode(IntEnum):
    """Process exit codes; see DESIGN section 4."""

    OK = 0
    REJECTED = 1
    """Model rejected, budget missed, or verification failed."""
    USAGE = 2
    """Usage, recipe, target or data is invalid."""
    TOOLCHAIN = 3
    """A toolchain is missing, or a vendor tool failed."""
    BUG = 70
    INTERRUPTED = 130


class Severity(StrEnum):
    """How much a diagnostic matters. Only `ERROR` changes the exit code."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True)
class Where:
    """The place a diagnostic points at. `line` and `column` count from 1."""

    file: str | None = None
    line: int | None = None
    column: int | None = None
    node: str | None = None
    tensor: str | None = None
    step: str | None = None

    def __str__(self) -> str:
        """`file:line:column, node 'x', tensor 'y'`, leaving out what is not known."""
        parts: list[str] = []
        if self.file is not None:
            place = [self.file, *(str(n) for n in (self.line, self.column) if n is not None)]
            parts.append(":".join(place))
        for label, value in (("step", self.step), ("node", self.node), ("tensor", self.tensor)):
            if value is not None:
                parts.append(f"{label} '{value}'")
        return ", ".join(parts)


NOWHERE = Where()


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """One problem: a code, what happened, where, and what to do about it."""

    code: str
    severity: Severity
    message: str
    where: Where = NOWHERE
    why: str = ""
    hints: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The form used in manifests, reports and `--format json`."""
        where = {k: v for k, v in vars(self.where).items() if v is not None}
        return {
            "code": self.code,
            "severity": self.severity.value,
            "message": self.message,
            "where": where,
            "why": self.why,
            "hints": list(self.hints),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Diagnostic:
        """The inverse of `to_json`, for results that come from a cache or another process."""
        return cls(
            code=document["code"],
            severity=Severity(document["severity"]),
            message=document["message"],
            where=Where(**document["where"]),
            why=document["why"],
            hints=tuple(document["hints"]),
        )


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of problem, as `edgecompile explain` documents it.

    `message` is a `str.format` template; the fields it names are what the raising code must give.
    """

    code: str
    name: str
    message: str
    why: str
    fix: tuple[str, ...]
    example: str = ""
    exit_code: ExitCode = ExitCode.USAGE
    severity: Severity = Severity.ERROR

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that `message` needs."""
        return tuple(f for _, f, _, _ in string.Formatter().parse(self.message) if f)

    def at(
        self,
        where: Where = NOWHERE,
        *,
        hints: tuple[str, ...] | None = None,
        severity: Severity | None = None,
        **values: Any,
    ) -> Diagnostic:
        """This rule's diagnostic for one occurrence. `hints` default to the rule's `fix`."""
        return Diagnostic(
            code=self.code,
            severity=severity or self.severity,
            message=self.message.format(**values),
            where=where,
            why=self.why,
            hints=self.fix if hints is None else hints,
        )

    def error(
        self, where: Where = NOWHERE, *, hints: tuple[str, ...] | None = None, **values: Any
    ) -> EdgecompileError:
        """An exception that carries one diagnostic of this rule and its exit code."""
        return EdgecompileError(
            (self.at(where, hints=hints, severity=None, **values),), self.exit_code
        )


@dataclass
class EdgecompileError(Exception):
    """A failure that a user can cause or mend; carries all the problems found, not the first."""

    diagnostics: tuple[Diagnostic, ...]
    exit_code: ExitCode = ExitCode.USAGE
    details: str = field(default="")
    """Raw vendor output or similar, shown only with `--verbose` and written to the report."""

    def __str__(self) -> str:
        """All messages on one line each, with their codes."""
        return "\n".join(f"{d.code}: {d.message}" for d in self.diagnostics)
