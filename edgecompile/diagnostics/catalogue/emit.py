"""60x to 64x: rules about emitters, their artifacts, and the runtimes that run them here."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

OPERATOR_UNSUPPORTED = Rule(
    code="EC-600",
    name="operator-unsupported",
    message="{runtime} cannot import the operator '{op}' ({nodes})",
    why="The runtime's importer has no translation for this operator at this opset.",
    fix=(
        "replace the operator where the model is made, or cut the graph before it",
        "see what is supported: edgecompile targets TARGET",
    ),
    example="a model with the operator 'TfIdfVectorizer'",
    exit_code=ExitCode.REJECTED,
)

OPERATOR_LIMITED = Rule(
    code="EC-601",
    name="operator-limited",
    message="{runtime} supports '{op}' only in part: {limitation} ({nodes})",
    why="Some attributes or types of the operator are not translated; the comparison with the "
    "float model tells whether this model is concerned.",
    fix=("watch the fidelity in the report",),
    example="a model with 'Resize' and antialias=1",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

DOMAIN_UNSUPPORTED = Rule(
    code="EC-602",
    name="domain-unsupported",
    message="{runtime} does not know the operator domain '{domain}' ({nodes})",
    why="Operators of a custom domain need an extension library on the device.",
    fix=("export the model with standard ONNX operators",),
    example="a model with a node of the domain 'my.company'",
    exit_code=ExitCode.REJECTED,
)

ARTIFACT_DIFFERS = Rule(
    code="EC-603",
    name="artifact-differs",
    message="the artifact does not have the interface of the model: {reason}",
    why="A program that feeds the model by name, type and shape would not work with the artifact.",
    fix=(
        "compare both: edgecompile inspect MODEL; edgecompile inspect ARTIFACT",
        "report it with the model: the vendor's converter has changed the interface",
    ),
    example="the artifact does not have the interface of the model: no output 'logits'",
    exit_code=ExitCode.REJECTED,
)

METADATA_LOST = Rule(
    code="EC-604",
    name="metadata-lost",
    message="the artifact lost the metadata '{keys}'",
    why="Some models cannot be used without their metadata: a text recogniser keeps its alphabet "
    "there.",
    fix=("report it with the model: the vendor's converter dropped the entry",),
    example="the artifact lost the metadata 'character'",
    exit_code=ExitCode.REJECTED,
)

WEIGHTS_INFLATED = Rule(
    code="EC-605",
    name="weights-inflated",
    message="only {stored_bytes} of {expected_bytes} bytes of integer weights are stored as "
    "integers in the artifact",
    why="The converter has turned quantized weights back into floats: the file is up to four times "
    "as large, and the layers do not run in integers.",
    fix=("report it with the model: the quantized weights are in a form that is folded away",),
    example="only 0 of 4580000 bytes of integer weights are stored as integers in the artifact",
    exit_code=ExitCode.REJECTED,
)

FORMAT_UNKNOWN = Rule(
    code="EC-606",
    name="format-unknown",
    message="no emitter writes the format '{format}'",
    why="A target names an artifact format that no installed emitter makes.",
    fix=("list what can be built: edgecompile targets",),
    example="format: openvno-ir    # in a target file",
)

TYPE_UNSUPPORTED = Rule(
    code="EC-607",
    name="type-unsupported",
    message="{runtime} cannot take '{tensor}' of type {dtype}",
    why="The type of this input or output does not exist in the runtime.",
    fix=("convert the tensor inside or outside of the model",),
    example="a model with an input of type string",
    exit_code=ExitCode.REJECTED,
)

OPSET_UNSUPPORTED = Rule(
    code="EC-608",
    name="opset-unsupported",
    message="the model has opset {opset}; {runtime} takes {min} to {max}",
    why="The importer has no translations for operators of other opsets.",
    fix=("add the pass 'convert_opset' to the recipe",),
    example="a model of opset 24 for a target that takes 7 to 21",
    exit_code=ExitCode.REJECTED,
)

OPERATOR_FORM_UNSUPPORTED = Rule(
    code="EC-609",
    name="operator-form-unsupported",
    message="{runtime} has '{op}', but not in this form: {reason} ({nodes})",
    why="The operator exists there for other element types, or by another opset's definition.",
    fix=(
        "add the pass 'convert_opset' to the recipe when the opset is the reason",
        "change the element type where the model is made when that is the reason",
    ),
    example="a 'TopK' of int64 where only float is taken",
    exit_code=ExitCode.REJECTED,
)

SATURATION_UNKNOWN = Rule(
    code="EC-640",
    name="saturation-unknown",
    message="what 16-bit saturation costs on CPUs without VNNI was not measured: {reason}",
    why="The target's family includes CPUs whose integer kernels saturate. On this machine that is "
    "tried with kernels of an older instruction set, and the runtime failed with those.",
    fix=(
        "verify the artifact on such a CPU",
        "make weights that cannot overflow: --set quantize_static.overflow=avoid",
    ),
    example="OpenVINO ends with a fault when its kernels are capped below the CPU's own level",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

FORMAT_REPLACED = Rule(
    code="EC-641",
    name="format-replaced",
    message="'{format}' cannot be written here, so '{other}' is: {reason}",
    why="The target also takes the second format, but the last step is then left to the machine "
    "that holds the device.",
    fix=("see what the target needs: edgecompile toolchain doctor --target TARGET",),
    example="a build for a Neural Compute Stick without the toolchain 'myriad'",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

COMPILER_REFUSES = Rule(
    code="EC-642",
    name="compiler-refuses",
    message="{compiler} does not take the model: {reason}",
    why="The vendor's compiler was asked itself, without compiling.",
    fix=("mend what it names where the model is made",),
    example="a model whose shapes depend on its input",
    exit_code=ExitCode.REJECTED,
)

SCALE_FORM = Rule(
    code="EC-643",
    name="scale-form",
    message="'{node}' does not quantize as the device wants it: {reason}",
    why="The provider leaves such a node, and what hangs on it, to the CPU or computes it wrongly.",
    fix=(
        "quantize with the target's own recipe",
        "look at the form that the target wants: edgecompile targets TARGET",
    ),
    example="a scale of 0.1 for a Ryzen AI NPU that takes powers of two only",
    exit_code=ExitCode.REJECTED,
)

DIMENSION_FREE = Rule(
    code="EC-644",
    name="dimension-free",
    message="input '{input}' has the shape {shape}: the device plans anew for every other shape",
    why="With fixed shapes the provider compiles once and folds what depends on shapes; with free "
    "ones some operators leave the accelerator.",
    fix=(
        "fix the shape: --shape SYMBOL=NUMBER, or --shape INPUT=1x3x224x224",
        "or give the dimension a value for loading: emit, FORMAT, free_dimensions",
    ),
    example="an input of ['N', 3, 224, 224] for DirectML",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

TILES_PINNED = Rule(
    code="EC-645",
    name="tiles-pinned",
    message="the network is compiled for {tiles} tiles of the NPU",
    why="Chips of one platform differ in tiles (NPU 4000 ships with 5 or 6): a network compiled "
    "for more than a chip has does not load there.",
    fix=("leave the option 'tiles' out",),
    example="--set openvino-blob-npu.tiles=6",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

SYMBOL_UNBOUND = Rule(
    code="EC-646",
    name="symbol-unbound",
    message="the dimension '{symbol}' of input '{input}' has no value, and the compiler needs one",
    why="The compiler lays the network out for one value of every symbol.",
    fix=(
        "give it one: --shape SYMBOL=NUMBER, such as --shape L=128",
        "or leave it to the compiler: --set qaic-bundle.symbols='{SYMBOL: 128}'",
    ),
    example="an input of ['N', 'L'] for Cloud AI 100, with no value for 'L'",
    exit_code=ExitCode.REJECTED,
)
