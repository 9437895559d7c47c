"""The output sinks: live on a terminal, plain in CI and pipes, silent under `--format json`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from edgecompile.cli.streams import is_rich, printable
from edgecompile.cli.units import seconds_text
from edgecompile.diagnostics import Diagnostic

if TYPE_CHECKING:
    from edgecompile.cli.session import Session


class CliSink:
    """A `driver.sink.Sink` that keeps diagnostics for the end and shows no progress."""

    def __init__(self) -> None:
        """Start with nothing to tell."""
        self.diagnostics: list[Diagnostic] = []

    def step_started(self, name: str) -> None:
        """Show nothing."""

    def progress(self, name: str, done: int, total: int) -> None:
        """Show nothing."""

    def step_finished(self, name: str, *, seconds: float, cached: bool, summary: str) -> None:
        """Show nothing."""

    def diagnostic(self, diagnostic: Diagnostic) -> None:
        """Keep it for the end of the run; the same one is told once."""
        if diagnostic not in self.diagnostics:
            self.diagnostics.append(diagnostic)

    def close(self) -> None:
        """Stop showing progress."""


class PlainSink(CliSink):
    """One line when a step is done."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        super().__init__()
        self._stream = stream

    def step_finished(self, name: str, *, seconds: float, cached: bool, summary: str) -> None:
        """`name  1.2 s  summary`, the time being `cached` when the cache gave the result."""
        taken = "cached" if cached else seconds_text(seconds)
        text = f"{printable(name):<28} {taken:>8}  {printable(summary)}"
        self._stream.write(text.rstrip() + "\n")
        self._stream.flush()


def new_sink(session: Session) -> CliSink:
    """The sink that suits the session's settings and what standard error can show."""

    if not session.talks:
        return CliSink()
    if is_rich(sys.stderr):
        from edgecompile.cli.rich_sink import RichSink

        return RichSink(sys.stderr)
    return PlainSink(sys.stderr)
