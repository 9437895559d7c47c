"""`Session`: how this run talks, from the first argument to the exit code."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

from edgecompile.cli.page import Page, PlainPage
from edgecompile.cli.reply import Reply, document, to_text
from edgecompile.cli.streams import discard, is_rich
from edgecompile.diagnostics import Diagnostic, EdgecompileError, Severity

if TYPE_CHECKING:
    from edgecompile.cli.sink import CliSink


class Format(StrEnum):
    """How the result is written to standard output."""

    HUMAN = "human"
    JSON = "json"


@dataclass
class Session:
    """Output settings of one run. Known before the arguments are parsed, so that usage errors obey
    `--format json` too.
    """

    format: Format = Format.HUMAN
    verbosity: int = 0
    """-1 with `--quiet`, 1 with `--verbose`."""
    traceback: bool = False
    command: str = "usage"
    """Names the JSON document: `edgecompile/<command>@1`."""
    _sink: CliSink | None = None

    @classmethod
    def sniff(cls, arguments: Sequence[str]) -> Session:
        """Settings as far as they show without knowing the commands' options."""
        pairs = zip(arguments, [*arguments, ""][1:], strict=True)
        json = any(a == "--format=json" or (a, b) == ("--format", "json") for a, b in pairs)
        return cls(
            format=Format.JSON if json else Format.HUMAN,
            traceback="--traceback" in arguments,
        )

    @property
    def talks(self) -> bool:
        """Whether people want to read along on standard error."""
        return self.format is Format.HUMAN and self.verbosity >= 0

    @property
    def sink(self) -> CliSink:
        """Where progress and diagnostics go while the command runs."""
        from edgecompile.cli.sink import new_sink

        if self._sink is None:
            self._sink = new_sink(self)
        return self._sink

    @functools.cached_property
    def out(self) -> Page:
        """Standard output for people, as rich as it can show."""
        return _page(sys.stdout)

    @functools.cached_property
    def err(self) -> Page:
        """Standard error, as rich as it can show."""
        return _page(sys.stderr)

    def deliver(self, reply: Reply) -> int:
        """Write the result to standard output, everything else to standard error.

        Raises `BrokenPipeError` when nobody reads a result that is good; a bad one keeps its code.
        """
        try:
            self._deliver(reply)
        except BrokenPipeError:
            if not reply.exit_code:
                raise
            discard(sys.stdout)
        return reply.exit_code

    def _deliver(self, reply: Reply) -> None:
        diagnostics = list(dict.fromkeys([*self._close_sink(), *reply.diagnostics]))
        if self.format is Format.JSON:
            self._print_json(reply.result, reply.exit_code, diagnostics)
            return
        if not reply.summary_last:
            self._summarise(reply)
        self._print_diagnostics([] if reply.diagnostics_rendered else diagnostics)
        reply.render(self.out)
        sys.stdout.flush()
        if reply.summary_last:
            self._summarise(reply)

    def _summarise(self, reply: Reply) -> None:
        if self.verbosity >= 0:
            reply.summary(self.err)
            sys.stderr.flush()

    def fail(self, error: EdgecompileError) -> int:
        """Write every problem of `error`, and give its exit code."""
        diagnostics = [*self._close_sink(), *error.diagnostics]
        if self.format is Format.JSON:
            try:
                self._print_json(None, error.exit_code, diagnostics)
            except BrokenPipeError:
                discard(sys.stdout)
            return error.exit_code
        self._print_diagnostics(diagnostics)
        if error.details and self.verbosity > 0:
            self.err.line(error.details)
        return error.exit_code

    def interrupted(self) -> int:
        """Say that the run was stopped."""
        from edgecompile.diagnostics.catalogue.bug import INTERRUPTED

        return self.fail(INTERRUPTED.error())

    def _print_json(
        self, result: object, exit_code: int, diagnostics: Sequence[Diagnostic]
    ) -> None:
        sys.stdout.write(to_text(document(self.command, result, exit_code, diagnostics)) + "\n")
        sys.stdout.flush()

    def _close_sink(self) -> list[Diagnostic]:
        """End live progress; what the run had to tell on its way."""
        if self._sink is None:
            return []
        self._sink.close()
        return self._sink.diagnostics

    def _print_diagnostics(self, diagnostics: Sequence[Diagnostic]) -> None:
        from edgecompile.cli.render.diagnostics import render_diagnostics

        shown = [d for d in diagnostics if self.shows(d)]
        if shown:
            self.err.gap()
            render_diagnostics(self.err, shown)

    def shows(self, diagnostic: Diagnostic) -> bool:
        """Errors always, warnings unless quiet, notes only when verbose."""
        levels = {Severity.ERROR: -1, Severity.WARNING: 0, Severity.NOTE: 1}
        return self.verbosity >= levels[diagnostic.severity]


def _page(stream: TextIO) -> Page:
    if not is_rich(stream):
        return PlainPage(stream)
    from edgecompile.cli.rich_page import RichPage, new_console

    return RichPage(new_console(stream))
