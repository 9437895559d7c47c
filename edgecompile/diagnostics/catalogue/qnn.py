"""620 to 635: rules about Qualcomm's compiler and what it makes."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

CHIP_REPLACED = Rule(
    code="EC-620",
    name="chip-replaced",
    message="'{target}' names the chip {soc_model} ({soc_type}), but {problem}",
    why="QNN's compiler writes a binary for any chip number and reports success. For a number that "
    "it does not know it takes default values, and no device loads what comes out.",
    fix=(
        "name a chip of the compiler's own list: docs/qualcomm.md",
        "for a chip without a Hexagon Tensor Processor, let the target ask for a DLC",
    ),
    example="soc_model: 21    # SM8250: built as architecture 68 with 16 MB",
)

PRECISION_REFUSED = Rule(
    code="EC-621",
    name="precision-refused",
    message="{chip} does not compute in {precision} ({nodes})",
    why="Which widths the processor takes is a property of the chip. What it does not take the "
    "compiler leaves to the CPU or refuses.",
    fix=(
        "see what the chip takes: edgecompile targets TARGET",
        "quantize the model: --recipe qnn-a8w8",
    ),
    example="QCS6490 does not compute in fp16 (12 nodes, the first is 'conv1')",
    exit_code=ExitCode.REJECTED,
)

INT4_PER_TENSOR = Rule(
    code="EC-622",
    name="int4-per-tensor",
    message="the INT4 weights of '{node}' have one scale for all output channels",
    why="The Hexagon Tensor Processor takes INT4 weights with a scale per output channel only; the "
    "compiler ends with an error about a node of another name.",
    fix=("quantize the weights per channel",),
    example="a DequantizeLinear of INT4 weights with a scale of one element",
    exit_code=ExitCode.REJECTED,
)

RANK_TOO_HIGH = Rule(
    code="EC-623",
    name="rank-too-high",
    message="'{tensor}' has {rank} dimensions, and the processor takes up to {max}",
    why="The node that reads or makes it runs on the CPU.",
    fix=("reshape where the model is made so that fewer dimensions do",),
    example="a window attention that transposes a tensor of six dimensions",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

LEFT_TO_CPU = Rule(
    code="EC-624",
    name="left-to-cpu",
    message="{op} runs on the CPU: {reason} ({nodes})",
    why="The compiler does not take the node. Every border between the accelerator and the CPU "
    "costs a copy, and the CPU is slower and draws more power.",
    fix=(
        "replace the operator where the model is made, or cut the graph before it",
        "make it an error: --require-npu",
    ),
    example="Erf runs on the CPU: the compiler has no operator Erf (node 'gelu/erf')",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

WRONG_CHIP = Rule(
    code="EC-625",
    name="wrong-chip",
    message="the compiler built for {built} instead of {wanted}",
    why="The compiler replaces what it does not know and reports success; the device would refuse "
    "the binary, or run it slowly.",
    fix=(
        "install the version that this release was tested with: edgecompile toolchain doctor",
        "report it with the version of onnxruntime-qnn",
    ),
    example="the compiler built for UNKNOWN_SDM v68 4 MB instead of SM8550 v73 8 MB",
    exit_code=ExitCode.TOOLCHAIN,
)

NOTHING_COMPILED = Rule(
    code="EC-626",
    name="nothing-compiled",
    message="the compiler takes no node of the model for {chip}: {reasons}",
    why="Without a single node on the processor there is nothing to compile.",
    fix=("hold the model against the device first: edgecompile check MODEL --target TARGET",),
    example="the compiler takes no node of the model for SM8550: NonZero 'nz': ...",
    exit_code=ExitCode.REJECTED,
)

DLC_PARTIAL = Rule(
    code="EC-627",
    name="dlc-partial",
    message="a DLC would hold only a part of the model: {reasons}",
    why="A DLC has no place for nodes that run elsewhere.",
    fix=(
        "where the device takes one, build a context binary: its wrapper runs the rest on the CPU",
        "replace the operators where the model is made, or cut the graph",
    ),
    example="a DLC would hold only a part of the model: NonZero 'nz': ...",
    exit_code=ExitCode.REJECTED,
)

VTCM_TOO_LARGE = Rule(
    code="EC-628",
    name="vtcm-too-large",
    message="vtcm_mb is {asked}, and {chip} has {has} MiB of that memory",
    why="The compiler takes any size without a word; the device cannot give more than it has.",
    fix=("leave vtcm_mb out: the chip's own size is taken",),
    example="emit:\n  qnn-context-binary:\n    vtcm_mb: 99",
)

SDK_ROOT_WRONG = Rule(
    code="EC-629",
    name="sdk-root-wrong",
    message="{variable} is set to what is no root of Qualcomm's SDK: {problem}",
    why="The SDK is used where a variable names it: without it, nothing but edgecompile reads the "
    "DLC, and qnn-net-run emulates none.",
    fix=(
        "name the folder that holds 'bin' and 'lib', as the SDK's own setup script does",
        "or unset the variable: nothing here needs the SDK",
    ),
    example="QAIRT_SDK_ROOT is set to what is no root of Qualcomm's SDK: it does not exist",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

FEW_SAMPLES = Rule(
    code="EC-632",
    name="few-samples",
    message="the emulator ran {ran} samples; the task metrics come from the quantized ONNX model",
    why="An emulator computes every sum that the chip does, hundreds of times slower. The "
    "quantized model computes the same integers.",
    fix=("run more: verify: {samples: N} in the recipe, or the kit on the device itself",),
    example="the emulator ran 4 samples",
    severity=Severity.NOTE,
    exit_code=ExitCode.OK,
)

NOT_TOGETHER = Rule(
    code="EC-630",
    name="not-together",
    message="'{first}' and '{second}' cannot be built into one artifact: {problem}",
    why="One file for several chips needs one model, quantized in one way, that all of them take.",
    fix=("build once for each target",),
    example="--target snapdragon-8-gen2,intel-nuc",
)


WEIGHTS_NOT_SHARED = Rule(
    code="EC-631",
    name="weights-not-shared",
    message="sharing saves nothing: {together} bytes together, {alone} apart",
    why="Only weights that are equal to the byte are stored once.",
    fix=("build the models from one checkpoint, with one recipe and one set of ranges",),
    example="two models with different encoders",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

LINK_UNFIT = Rule(
    code="EC-634",
    name="link-unfit",
    message="these builds cannot be linked: {problem}",
    why="One artifact for several models is compiled for one device, in one format and with one "
    "set of options.",
    fix=("build each model for the same target, with the same options under 'emit:'",),
    example="edgecompile link build/encoder-intel-nuc build/decoder-snapdragon-8-gen2 -o build/app",
)

SDK_READ = Rule(
    code="EC-633",
    name="read-by-the-sdk",
    message="Qualcomm's SDK {version} has read the DLC ({tool})",
    why="The SDK on this machine is used for what the wheel of onnxruntime-qnn lacks: a second "
    "reader of DLCs, and qnn-net-run, which emulates one.",
    fix=("nothing is wrong; without QAIRT_SDK_ROOT in the environment the SDK is not used",),
    example="Qualcomm's SDK 2.51.0.260929 has read the DLC (qairt-dlc-info)",
    severity=Severity.NOTE,
    exit_code=ExitCode.OK,
)
