"""9xx: what is our fault, and interruptions."""

from edgecompile.diagnostics.core import ExitCode, Rule

INTERNAL_ERROR = Rule(
    code="EC-900",
    name="internal-error",
    message="internal error, {kind}: {text}",
    why="edgecompile met a case that its authors did not think of. This is a bug in edgecompile.",
    fix=(
        "run the same command with --traceback to see where it happened",
        "report it with the crash report, the model if you may share it, and the command",
    ),
    example="edgecompile build model.onnx --target intel-nuc --traceback",
    exit_code=ExitCode.BUG,
)

INTERRUPTED = Rule(
    code="EC-901",
    name="interrupted",
    message="interrupted; outputs that existed before are untouched",
    why="The run was stopped by Ctrl-C or by a request to terminate.",
    fix=("run the same command again: finished steps come from the cache",),
    example="edgecompile build model.onnx --target intel-nuc   (then Ctrl-C)",
    exit_code=ExitCode.INTERRUPTED,
)
