"""20x to 22x: rules about targets."""

from edgecompile.diagnostics.core import Rule

UNKNOWN_TARGET = Rule(
    code="EC-201",
    name="unknown-target",
    message="there is no target '{name}'",
    why="A build is made for one named device, whose facts decide every later step.",
    fix=("list the targets with 'edgecompile targets'",),
    example="edgecompile build model.onnx --target intel-nuc",
)

PLANNED_TARGET = Rule(
    code="EC-202",
    name="target-not-served",
    message="the target '{name}' ({id}) is known, but this version cannot build for it",
    why="Its name is reserved so that no other device is built for by mistake.",
    fix=(
        "list the targets that this version serves with 'edgecompile targets'",
        "a newer version of edgecompile may serve it",
    ),
    example="edgecompile targets",
)

BAD_TARGET_FILE = Rule(
    code="EC-203",
    name="bad-target-file",
    message="the target file is not valid: {problem}",
    why="A wrong fact about a device would give an artifact that the device refuses or runs badly.",
    fix=("compare the file with docs/add-a-target.md",),
    example="schema: edgecompile/target@1",
)

TARGET_NAME_TWICE = Rule(
    code="EC-204",
    name="target-name-twice",
    message="the name '{name}' belongs to both '{first}' and '{second}'",
    why="A target's id and aliases must choose exactly one device.",
    fix=("rename the id or alias in the target file that was added last",),
    example="aliases: [my-board-v2]",
)

BAD_TARGET_PLUGIN = Rule(
    code="EC-205",
    name="bad-target-plugin",
    message="the entry point '{name}' of '{group}' cannot be used: {problem}",
    why="Third-party targets and recipes come from packages that hold YAML files.",
    fix=("let the entry point name an importable package with .yaml files in it",),
    example='[project.entry-points."edgecompile.targets"]\nmine = "my_package.targets"',
)

NO_NPU = Rule(
    code="EC-206",
    name="no-npu",
    message="'{target}' has no NPU, so nothing can be required of it",
    why="--require-npu holds a build to running every node on the NPU.",
    fix=("leave --require-npu out", "list the targets: edgecompile targets"),
    example="edgecompile build model.onnx --target intel-nuc --require-npu",
)

FORMAT_NOT_TAKEN = Rule(
    code="EC-207",
    name="not-an-artifact",
    message="'{target}' does not take the format '{format}'",
    why="A device runs only the formats that its runtime reads.",
    fix=("see what the device takes: edgecompile targets TARGET",),
    example="edgecompile build model.onnx --target intel-nuc --artifact qnn-dlc",
)
