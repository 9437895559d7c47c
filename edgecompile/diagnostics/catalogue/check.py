"""61x to 62x: what `check` finds in a model before any work is done."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

CONTROL_FLOW = Rule(
    code="EC-616",
    name="control-flow",
    message="'{name}' is control flow ({op}): what is inside stays in float",
    why="Ranges are not measured inside of branches and loops, so nothing there is quantized.",
    fix=("export the model without control flow where that is possible",),
    example="a model with an `If` on the sampling rate",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

DYNAMIC_SHAPE = Rule(
    code="EC-617",
    name="dynamic-shape",
    message="input '{input}' has the shape {shape}, and '{target}' takes only fixed shapes",
    why="The target's compiler lays out memory for one shape.",
    fix=("fix the shape in the recipe: the pass 'freeze_shapes'",),
    example="an input of [N, 3, 224, 224] for a target whose compiler needs [1, 3, 224, 224]",
    exit_code=ExitCode.REJECTED,
)
