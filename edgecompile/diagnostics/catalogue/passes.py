"""4xx: rules about passes and the pipeline."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

PASS_NOTE = Rule(
    code="EC-400",
    name="pass-note",
    message="{message}",
    why="A pass tells what it did, or why it did not fire at a place.",
    fix=(),
    severity=Severity.NOTE,
    exit_code=ExitCode.OK,
)
