"""What edgecompile says when something is wrong: rules, diagnostics, exit codes."""

from edgecompile.diagnostics.core import (
    Diagnostic,
    EdgecompileError,
    ExitCode,
    Rule,
    Severity,
    Where,
)

__all__ = ["Diagnostic", "EdgecompileError", "ExitCode", "Rule", "Severity", "Where"]
