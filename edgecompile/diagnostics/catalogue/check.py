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
    fix=(
        "give every open dimension a value: --shape SYMBOL=NUMBER, such as --shape L=128",
        "or an input its whole shape: --shape INPUT=1x3x224x224",
    ),
    example="an input of [N, 3, 224, 224] for a target whose compiler needs [1, 3, 224, 224]",
    exit_code=ExitCode.REJECTED,
)

OPERATOR_ELSEWHERE = Rule(
    code="EC-618",
    name="operator-elsewhere",
    message="{runtime} does not run '{op}', so {elsewhere} does: {reason} ({nodes})",
    why="Each change between the accelerator and the rest copies tensors and waits; a few such "
    "operators in the middle of a model can cost more than all of it.",
    fix=(
        "replace the operator where the model is made, or cut the graph before or after it",
        "see what is supported: edgecompile targets TARGET",
    ),
    example="a model with 'Loop' for DirectML, which has no kernel for it",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

OPERATOR_TOO_NEW = Rule(
    code="EC-619",
    name="operator-too-new",
    message="{runtime} does not run this form of '{op}', so {elsewhere} does: {reason} ({nodes})",
    why="A kernel serves the definitions of an operator that it was written for. When a newer "
    "opset defines the operator again, even without a change that matters here, the node leaves "
    "the accelerator, and nothing says so.",
    fix=("convert the model to an older opset: the pass 'convert_opset'",),
    example="'Conv' of opset 22 for DirectML, whose kernels end at opset 21",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)
