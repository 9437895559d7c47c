"""680 to 699: rules about TensorRT and TensorRT-RTX: what they refuse, and what they run in float
without a word."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

_QDQ = "TensorRT builds such a layer without a word, in floating point: slower and larger."
_FIX = (
    "let the recipe quantize for this target: edgecompile recipes tensorrt-int8",
    "read the rules: docs/nvidia.md",
)

PARSER_REFUSED = Rule(
    code="EC-680",
    name="tensorrt-parser-refused",
    message="the ONNX parser of {library} refuses {what}: {reason}",
    why="The parser has no translation for the node in this form.",
    fix=(
        "ask which operators and forms the release takes: edgecompile check MODEL --target TARGET",
        "replace the node where the model is made",
    ),
    example="a model with the operator QLinearConv",
    exit_code=ExitCode.REJECTED,
)

BUILD_FAILED = Rule(
    code="EC-681",
    name="tensorrt-build-failed",
    message="{library} built no engine: {reason}",
    why="The builder found no implementation for some part of the network, or ran out of memory.",
    fix=(
        "run again with --verbose: the end of the builder's log is shown",
        "keep the node that it names in float: --set quantize_static.keep_float=[NODE]",
    ),
    example="an INT8 network for compute capability 7.5 in TensorRT-RTX",
    exit_code=ExitCode.TOOLCHAIN,
)

CAPABILITY_REFUSED = Rule(
    code="EC-682",
    name="tensorrt-capability-refused",
    message="{library} does not compile for compute capability {capability}; it takes {known}",
    why="The library carries code generators for some generations of GPUs only.",
    fix=(
        "build for that GPU on a machine that has it",
        "choose others: --set tensorrt-rtx-engine.capabilities=[8.6, 12.0]",
    ),
    example="tensorrt-rtx-engine for compute capability 8.7",
    exit_code=ExitCode.REJECTED,
)

SHAPE_OPEN = Rule(
    code="EC-683",
    name="tensorrt-shape-open",
    message="input '{input}' has the shape {shape}, and no range is given for its open dimensions",
    why="An engine is tuned for a range of shapes: the smallest, the one that counts, the largest.",
    fix=(
        "fix the shape: --shape SYMBOL=NUMBER, or --shape INPUT=1x3x224x224",
        "give its smallest, best and largest: --set 'FORMAT.shapes={NAME: [MIN, BEST, MAX]}'",
    ),
    example="shapes: {tokens: [[1, 16], [1, 128], [1, 512]]}",
    exit_code=ExitCode.REJECTED,
)

FLOAT_PLANNED = Rule(
    code="EC-684",
    name="tensorrt-float-planned",
    message="{count} of {promised} layers that the recipe made {kind} are planned in another type: "
    "{nodes}",
    why="The plan tells the types that every kernel reads. The library decides them, and it falls "
    "back to float where it has no integer kernel for the layer.",
    fix=(
        "say so in the recipe, which saves the rounding: --set quantize_static.keep_float=[NODE]",
        "look at the layers: the fallback list of the report",
    ),
    example="a convolution whose weights have their scales along axis 1",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

NO_INTEGER_PLANNED = Rule(
    code="EC-685",
    name="tensorrt-no-integer-planned",
    message="none of {promised} layers that the recipe made {kind} is planned in {kind}",
    why="The artifact would be a wider model with the rounding of a narrow one.",
    fix=("build without quantization: --recipe tensorrt-fp16", *_FIX),
    example="an INT8 model for compute capability 7.5 in TensorRT-RTX",
    exit_code=ExitCode.REJECTED,
)

PLAN_SILENT = Rule(
    code="EC-686",
    name="tensorrt-plan-silent",
    message="the plan does not tell the types of its layers, so INT8 is not proven: {reason}",
    why="The types are read from a part of the plan that the vendor does not document; another "
    "version may not write it.",
    fix=("install the version that was tested: pip install 'edgecompile[tensorrt-rtx]'",),
    example="a plan of a newer version of TensorRT-RTX",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

ENGINE_UNKNOWN = Rule(
    code="EC-687",
    name="tensorrt-engine-unknown",
    message="'{path}' is not loaded: {reason}",
    why="An engine is executable code. Only one whose SHA-256 is that of what was built here, or "
    "of what a build's manifest names, is given to the library.",
    fix=("build it again: edgecompile build MODEL --target TARGET",),
    example="an engine that somebody has replaced in the build directory",
    exit_code=ExitCode.REJECTED,
)

NO_GPU = Rule(
    code="EC-688",
    name="tensorrt-no-gpu",
    message="an engine cannot be built or run here: {reason}",
    why="An engine needs a GPU of the kind that it was made for, and its driver.",
    fix=("build and prove it on the device: --builder ssh://USER@DEVICE",),
    example="running a TensorRT engine on a machine without an NVIDIA driver",
    exit_code=ExitCode.TOOLCHAIN,
)

QDQ_SCALE = Rule(
    code="EC-690",
    name="tensorrt-qdq-scale",
    message="the scale of activation '{tensor}' has the shape {shape}, not that of a scalar",
    why=f"Activations take one scale, as a scalar; a list of one is no scalar. {_QDQ}",
    fix=_FIX,
    example="QuantizeLinear with a scale of shape [1]",
    exit_code=ExitCode.REJECTED,
)

QDQ_ZERO_POINT = Rule(
    code="EC-691",
    name="tensorrt-qdq-zero-point",
    message="'{tensor}' has a zero point other than 0",
    why="TensorRT quantizes symmetrically.",
    fix=_FIX,
    example="an unsigned activation with zero point 128",
    exit_code=ExitCode.REJECTED,
)

QDQ_TYPE = Rule(
    code="EC-692",
    name="tensorrt-qdq-type",
    message="'{tensor}' is quantized to {type}; {runtime} takes {known}",
    why="TensorRT has kernels for signed 8-bit integers and, from some generations on, FP8 and "
    "4-bit weights. Unsigned values above 127 are clipped without a word.",
    fix=_FIX,
    example="an activation of type uint8",
    exit_code=ExitCode.REJECTED,
)

QDQ_WEIGHT_AXIS = Rule(
    code="EC-693",
    name="tensorrt-qdq-weight-axis",
    message="weight '{tensor}' of {op} '{node}' has its scales along axis {axis}, not {wanted}",
    why=f"Weights take one scale, or one per output channel. {_QDQ}",
    fix=_FIX,
    example="a convolution with a scale per input channel",
    exit_code=ExitCode.REJECTED,
)

QDQ_BIAS = Rule(
    code="EC-694",
    name="tensorrt-qdq-bias",
    message="the bias of {op} '{node}' is behind a Q/DQ pair",
    why="The parser refuses 32-bit integers behind DequantizeLinear: biases are added in float.",
    fix=_FIX,
    example="an INT32 bias, the default of ONNX Runtime's quantizer",
    exit_code=ExitCode.REJECTED,
)

QDQ_ONE_SIDED = Rule(
    code="EC-695",
    name="tensorrt-qdq-one-sided",
    message="only {side} of {op} '{node}' has a Q/DQ pair",
    why=f"An integer kernel needs both its inputs in integers. {_QDQ}",
    fix=("quantize both, or neither", *_FIX),
    example="a convolution with quantized weights and float activations, in 8 bits",
    exit_code=ExitCode.REJECTED,
)

PRECISION_ABSENT = Rule(
    code="EC-697",
    name="tensorrt-precision-absent",
    message="'{tensor}' is {precision}, which needs {needed}; '{target}' has {have}",
    why="Older GPUs have no arithmetic for this type, and older releases no parser for it.",
    fix=("take another recipe: edgecompile recipes", "name a newer release of the software"),
    example="BF16 for a T4, FP8 for an A100, INT8 for a Jetson Nano",
    exit_code=ExitCode.REJECTED,
)

INT4_BLOCK = Rule(
    code="EC-698",
    name="tensorrt-int4-block",
    message="4-bit weight '{tensor}' {problem}",
    why="TensorRT takes 4-bit weights in blocks of 16, 32, 64, 96 or 128 along the inputs, "
    "without zero points. Other blocks are restored to float when the engine is built.",
    fix=("--set quantize_weights.group_size=32 --set quantize_weights.symmetric=true",),
    example="blocks of 256",
    exit_code=ExitCode.REJECTED,
)

DLA_UNFIT = Rule(
    code="EC-699",
    name="tensorrt-dla-unfit",
    message="the DLA cannot take this model: {problem}",
    why="The DLA computes in FP16 and INT8, on fixed shapes up to a limit. What it cannot take "
    "runs on the GPU; this problem would send all of it there, or fail on the device.",
    fix=("leave the GPU to it: --set tensorrt-bundle.dla_core=null", *_FIX),
    example="a model with a batch of 5000",
    exit_code=ExitCode.REJECTED,
)

DLA_LEAVES = Rule(
    code="EC-696",
    name="tensorrt-dla-leaves",
    message="the DLA leaves '{op}' to the GPU: {reason} ({nodes})",
    why="The DLA has a fixed set of layers with limits of their own. TensorRT runs the others on "
    "the GPU, and each change between the two copies tensors and waits.",
    fix=(
        "replace the layer where the model is made: docs.nvidia.com, 'DLA Supported Layers'",
        "leave all of the model to the GPU: --set tensorrt-bundle.dla_core=null",
    ),
    example="a global average pool, or a convolution with a stride of 16",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

DLA_PIECES = Rule(
    code="EC-689",
    name="tensorrt-dla-pieces",
    message="the layers for the DLA fall into {pieces} pieces, and a core holds {most}",
    why="What the GPU runs in between cuts the network: every piece is a network of its own on the "
    "DLA, and a core loads so many at a time.",
    fix=(
        "read which layers cut it: the warnings EC-696",
        "leave all of the model to the GPU: --set tensorrt-bundle.dla_core=null",
    ),
    example="a network with HardSwish behind each of 40 convolutions",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)
