"""`Sink`: how the driver tells what it does while it does it. The command line implements it."""

from __future__ import annotations

from typing import Protocol

from edgecompile.diagnostics import Diagnostic


class Sink(Protocol):
    """Receives the events of a run, in order, from one thread."""

    def step_started(self, name: str) -> None:
        """A step begins; `name` is its label, such as `calibrate` or `emit openvino-ir`."""

    def progress(self, name: str, done: int, total: int) -> None:
        """`done` of `total` units (samples, as a rule) of the running step are finished."""

    def step_finished(self, name: str, *, seconds: float, cached: bool, summary: str) -> None:
        """A step ended: wall seconds, whether the cache gave its result, what it did in a line."""

    def diagnostic(self, diagnostic: Diagnostic) -> None:
        """Something to tell the user that does not stop the run."""


class NullSink:
    """A sink that keeps quiet, for callers that only want the result."""

    def step_started(self, name: str) -> None:
        """Do nothing."""

    def progress(self, name: str, done: int, total: int) -> None:
        """Do nothing."""

    def step_finished(self, name: str, *, seconds: float, cached: bool, summary: str) -> None:
        """Do nothing."""

    def diagnostic(self, diagnostic: Diagnostic) -> None:
        """Do nothing."""
