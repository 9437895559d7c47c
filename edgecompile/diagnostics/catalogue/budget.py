"""65x: rules about verification, its figures, and the budgets that they must meet."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

BUDGET_MISSED = Rule(
    code="EC-650",
    name="budget-missed",
    message="{metric} is {actual}, the budget asks for {required} ({stage})",
    why="A budget is the promise that the artifact is good enough; the build fails without it.",
    fix=(
        "calibrate with more or more typical samples: --calibration PATH",
        "leave the layers that cost most in float: --set quantize_static.keep_float=[NODE]",
        "accept it: --budget METRIC>=VALUE",
    ),
    example="cosine is 0.981, the budget asks for cosine>=0.99 (artifact)",
    exit_code=ExitCode.REJECTED,
)

BUDGET_UNMEASURED = Rule(
    code="EC-651",
    name="budget-unmeasured",
    message="the budget '{required}' cannot be checked: {reason}",
    why="A figure that was not measured does not meet a budget.",
    fix=(
        "for a task metric give labelled data: --eval DATASET",
        "figures that are always there: cosine, sqnr_db, max_abs",
    ),
    example="--budget top1>=0.95    # with data that has no labels",
    exit_code=ExitCode.REJECTED,
)

NOT_FINITE = Rule(
    code="EC-652",
    name="artifact-not-finite",
    message="output '{output}' of the {stage} is NaN or infinite in {count} of {samples} samples, "
    "where the float model gives numbers",
    why="A scale of zero, an overflow in half precision or a broken converter; no figure of an "
    "average would show it.",
    fix=(
        "keep normalisations and Softmax in float",
        "calibrate with data in the range that the model was trained for",
    ),
    example="a model whose LayerNorm overflows in FP16",
    exit_code=ExitCode.REJECTED,
)

COLLAPSED = Rule(
    code="EC-653",
    name="artifact-collapsed",
    message="output '{output}' of the {stage} no longer follows the float model: "
    "cosine {cosine:.4f}, SQNR {sqnr_db:.1f} dB{expected}",
    why="Vendor tools have been seen to write a broken artifact and report success. Nothing that "
    "computes something else than the model is handed out, whatever the budgets say.",
    fix=(
        "try the built-in quantizer: --recipe openvino-int8",
        "leave out options such as smooth_quant_alpha, one at a time",
    ),
    example="NNCF weight compression with scale_estimation: cosine 0.0188",
    exit_code=ExitCode.REJECTED,
)

SLOWER = Rule(
    code="EC-654",
    name="slower-than-float",
    message="the artifact takes {artifact_ms:.3g} ms per inference and the float model "
    "{float_ms:.3g} ms, measured on this machine",
    why="Conversions between integer and float regions can cost more than integers save. The "
    "build machine is not the device: measure there before deciding.",
    fix=(
        "see which layers stay in float and why: report.html",
        "try a recipe with float activations: --recipe openvino-fp16",
    ),
    example="a small transformer with a Q/DQ pair around every operator",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

SATURATION_COSTS = Rule(
    code="EC-655",
    name="saturation-costs",
    message="on CPUs without VNNI the artifact loses {loss_db:.1f} dB of SQNR to 16-bit "
    "saturation ({saturating_db:.1f} instead of {exact_db:.1f} dB at '{output}')",
    why="Such CPUs add pairs of u8 x s8 products in 16 bits; large weights overflow there. The "
    "target's family includes such CPUs.",
    fix=(
        "make weights that cannot overflow: --set quantize_static.overflow=avoid, or "
        "--set nncf_quantize.overflow_fix=enable",
    ),
    example="a depthwise network with full 8-bit weights for target 'intel-nuc'",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

BUILD_CPU_SATURATES = Rule(
    code="EC-656",
    name="build-cpu-saturates",
    message="this machine's integer kernels saturate and the target's do not: figures are judged "
    "in exact arithmetic",
    why="CPUs with AVX2 but no VNNI add pairs of u8 x s8 products in 16 bits. That says nothing "
    "about a target with VNNI, a GPU or an NPU.",
    fix=(),
    example="a build for 'core-ultra-gpu' on an old laptop",
    severity=Severity.NOTE,
    exit_code=ExitCode.OK,
)

REFERENCE_NAN = Rule(
    code="EC-657",
    name="reference-nan",
    message="output '{output}' of the float model is NaN in {count} of {samples} samples",
    why="There is nothing to hold the artifact against.",
    fix=("run the float model on this data and mend whichever is wrong",),
    example="images divided by a standard deviation of zero",
    exit_code=ExitCode.REJECTED,
)

NO_RUNTIME = Rule(
    code="EC-658",
    name="no-runtime",
    message="artifacts of the format '{format}' cannot be run here",
    why="No installed runtime loads this format, so its outputs were not compared.",
    fix=("prove it on the device with the golden inputs and outputs of the build",),
    example="a MYRIAD blob on a machine without a stick",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

FLOAT_UNTIMED = Rule(
    code="EC-661",
    name="float-model-untimed",
    message="the float model does not run in the artifact's runtime, so times were not compared: "
    "{reason}",
    why="Both are timed in the same runtime. What passes have rewritten can run where the model as "
    "it came does not; outputs were compared with those of ONNX Runtime.",
    fix=("time both on the device, in a runtime that takes them",),
    example="a Squeeze without axes on a dynamic shape, which OpenVINO's CPU plugin refuses",
    severity=Severity.NOTE,
    exit_code=ExitCode.OK,
)

LABELS_UNFIT = Rule(
    code="EC-659",
    name="labels-unfit",
    message="the labels cannot be held against output '{output}': {reason}",
    why="Accuracy is measured by the largest score of an output, whose index is the class.",
    fix=("name the output with the class scores under 'task' in dataset.yaml",),
    example="label 1000 for a model with 1000 classes (0 to 999)",
)
