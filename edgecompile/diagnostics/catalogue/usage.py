"""26x to 29x: commands and options that do not fit."""

from edgecompile.diagnostics.core import Rule

UNKNOWN_COMMAND = Rule(
    code="EC-260",
    name="unknown-command",
    message="there is no command '{name}'",
    why="The first argument that is not an option names the command to run.",
    fix=("run 'edgecompile --help' for the list of commands",),
    example="edgecompile biuld model.onnx",
)

UNKNOWN_OPTION = Rule(
    code="EC-261",
    name="unknown-command-option",
    message="there is no option '{name}'",
    why="An option that is not understood is refused: ignoring it would build something else.",
    fix=("add --help to the command for the list of its options",),
    example="edgecompile build model.onnx --tagret intel-nuc",
)

MISSING_ARGUMENT = Rule(
    code="EC-262",
    name="missing-argument",
    message="{kind} '{name}' is missing",
    why="The command cannot guess it.",
    fix=("add --help to the command to see what it takes",),
    example="edgecompile build model.onnx   (no --target)",
)

BAD_VALUE = Rule(
    code="EC-263",
    name="bad-value",
    message="'{name}' does not take this value: {reason}",
    why="The value has the wrong type, or is not one of the choices.",
    fix=("add --help to the command to see what the option takes",),
    example="edgecompile build model.onnx --target intel-nuc --threads many",
)

BAD_USAGE = Rule(
    code="EC-264",
    name="bad-usage",
    message="{reason}",
    why="The arguments do not fit the command.",
    fix=("add --help to the command to see what it takes",),
    example="edgecompile check a.onnx b.onnx --target intel-nuc",
)

NO_COMMAND = Rule(
    code="EC-265",
    name="no-command",
    message="no command was given",
    why="edgecompile does nothing by itself.",
    fix=("run 'edgecompile --help' for the list of commands",),
    example="edgecompile",
)

UNKNOWN_CODE = Rule(
    code="EC-266",
    name="unknown-code",
    message="there is no diagnostic code '{name}'",
    why="Codes look like EC-203; 'edgecompile explain' lists them all.",
    fix=("run 'edgecompile explain' for the list",),
    example="edgecompile explain EC-999",
)

UNKNOWN_PASS = Rule(
    code="EC-267",
    name="unknown-pass-name",
    message="there is no pass '{name}'",
    why="Passes are the steps of a recipe; 'edgecompile passes' lists them all.",
    fix=("run 'edgecompile passes' for the list",),
    example="edgecompile passes quantise_static",
)
