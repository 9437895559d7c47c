"""44x: rules about calibration and quantization passes."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

NO_QDQ_STYLE = Rule(
    code="EC-440",
    name="target-not-quantizable",
    message="target '{target}' declares no Q/DQ style, so '{step}' cannot quantize for it",
    why="Where Q/DQ pairs go and what they hold follows from the target's facts.",
    fix=("use a float or weight-only recipe for this target", "see: edgecompile recipes"),
    example="edgecompile build model.onnx --target T --recipe openvino-fp16",
)

NO_RANGES = Rule(
    code="EC-441",
    name="ranges-missing",
    message="'{step}' needs calibrated ranges, and no earlier step made any",
    why="Static quantization fixes the scale of every activation before the model runs.",
    fix=("add a '- pass: calibrate' step before it in the recipe",),
    example="steps:\n  - pass: calibrate\n  - pass: quantize_static",
)

OPSET_TOO_LOW = Rule(
    code="EC-442",
    name="opset-too-low-for-quantization",
    message="opset {opset} is too low for '{step}', which needs {needed} or higher",
    why="Q/DQ operators take a scale per channel since opset 13, and 16-bit integers since 21.",
    fix=("add a '- pass: convert_opset' step before it in the recipe, with 'at_least' if need be",),
    example="steps:\n  - pass: convert_opset\n  - pass: quantize_static",
)

ALREADY_QUANTIZED = Rule(
    code="EC-443",
    name="already-quantized",
    message="the model already holds {count} QuantizeLinear or DequantizeLinear nodes",
    why="Quantizing twice adds a second rounding error and hides the scales of the first.",
    fix=(
        "give the float model",
        "or drop calibrate and quantize_static from the recipe to build the model as it is",
    ),
    example="edgecompile inspect model.onnx",
)

UNKNOWN_NODE = Rule(
    code="EC-444",
    name="keep-float-unknown-node",
    message="keep_float or precision names the node '{node}', which is not in the model here",
    why="A misspelt name would silently leave the layer quantized.",
    fix=("see the names with: edgecompile build ... --dump-ir",),
    example="--set 'quantize_static.keep_float=[/head/Conv]'",
)

NOTHING_QUANTIZED = Rule(
    code="EC-445",
    name="nothing-quantized",
    message="'{step}' found no operator to quantize",
    why="The artifact would be the float model under an INT8 name.",
    fix=("read the notes of the step: they say why each operator stays float",),
    example="edgecompile check model.onnx --target intel-nuc",
    severity=Severity.WARNING,
)

PRECISION_BUDGET_UNREACHABLE = Rule(
    code="EC-446",
    name="precision-budget-unreachable",
    message="{layers} layers in float{limit} do not reach {budget}: the best is {best}",
    why="'keep_precision' raises the layers that cost most until the budget holds; here it does "
    "not, even with all that it may raise. Figures are of calibration samples, in exact "
    "arithmetic.",
    fix=(
        "allow more with --set keep_precision.max_float_share=1, or a larger 'max_layers'",
        "or take a recipe in float: edgecompile recipes",
        "or ask for less: see what each layer costs with 'edgecompile analyze'",
    ),
    example="--set 'keep_precision.budget={metric: cosine, at_least: 0.98}'",
    exit_code=ExitCode.REJECTED,
)

NOTHING_TO_ANALYZE = Rule(
    code="EC-447",
    name="nothing-to-analyze",
    message="recipe '{recipe}' leaves no layer of '{model}' quantized in ONNX",
    why="'analyze' compares each quantized layer with the float one; vendor passes such as "
    "nncf_quantize quantize in a format of their own.",
    fix=("name a recipe with quantize_static or quantize_weights: edgecompile recipes",),
    example="edgecompile analyze model.onnx --target intel-nuc --recipe openvino-int8",
)

INTEGERS_DO_NOT_PAY = Rule(
    code="EC-457",
    name="integers-do-not-pay",
    message="conversions to integers cost about {ratio:.2g} times what integers save on {target}",
    why="By the rates that the target's facts state, rounding the inputs of {islands} parts of the "
    "graph that compute in integers, with float in between, takes longer than their "
    "multiply-accumulates save. It is an estimate: where the artifact runs here, its latency is "
    "measured besides (EC-654).",
    fix=(
        "name a float recipe: edgecompile recipes",
        "see which operators part the integers, and why: coverage in the report",
        "build both, and measure them on the device",
    ),
    example="edgecompile build model.onnx --target intel-nuc --recipe openvino-fp16",
    severity=Severity.WARNING,
)

ALL_RAISED = Rule(
    code="EC-456",
    name="everything-raised",
    message="'{step}' took all layers back to float: none holds the budget in integers",
    why="The artifact is the float model in all but name. Recurrent models end so, whose state "
    "keeps every error, and models that the samples at hand do not calibrate.",
    fix=(
        "accept it, and name a float recipe: edgecompile recipes",
        "see what each layer costs with 'edgecompile analyze', and give more typical samples",
        "ask for less with --set 'keep_precision.budget={metric: correlation, at_least: 0.97}'",
    ),
    example="edgecompile analyze model.onnx --target intel-nuc --calibration images/",
    severity=Severity.WARNING,
)
