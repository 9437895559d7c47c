"""67x: rules about proofs that come back from a device."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

NO_KIT = Rule(
    code="EC-670",
    name="no-device-kit",
    message="{directory} holds no build that a device must prove",
    why="Only a build whose artifact could not be run in the device's own runtime has a device "
    "kit; the others were proven when they were built.",
    fix=("give the directory that 'edgecompile build' has made",),
    example="edgecompile prove build/model-intel-nuc",
)

REPORT_MISSING = Rule(
    code="EC-671",
    name="device-report-missing",
    message="there is no {file}",
    why="The device writes its report and its outputs into the folder 'artifacts/device'; both "
    "must come back.",
    fix=(
        "on the device: python3 device/prove.py; then copy device-report.json and "
        "device-outputs.npz back, or name the report with --report",
    ),
    example="edgecompile prove build/model-jetson-orin",
)

REPORT_FOREIGN = Rule(
    code="EC-672",
    name="device-report-foreign",
    message="the report is not about this build: {reason}",
    why="A proof holds for the bytes that ran. A report of another artifact, of other golden data, "
    "or with other outputs than those beside it, proves nothing about this one.",
    fix=("copy the folder 'artifacts' of this build to the device, and run device/prove.py again",),
    example="the report is not about this build: the kit is another one",
    exit_code=ExitCode.REJECTED,
)

DEVICE_DIFFERS = Rule(
    code="EC-673",
    name="device-differs",
    message="on the device, output '{output}' has cosine {cosine:.6f} with the float model; at "
    "least {limit:.6f} was expected",
    why="The device may be twice as far from the float model as exact arithmetic is. Farther means "
    "that its kernels compute something else, or that it runs another model.",
    fix=(
        "compare the outputs in device-outputs.npz with golden.npz",
        "build with 16-bit or float activations where the difference begins: edgecompile analyze",
    ),
    example="on the device, output 'logits' has cosine 0.41 with the float model",
    exit_code=ExitCode.REJECTED,
)

DEVICE_SLOWER = Rule(
    code="EC-674",
    name="device-slower",
    message="on the device the artifact takes {own:.3g} ms and the same network in {other} "
    "{time:.3g} ms",
    why="Integers gain little where a model is small, or where layers in float lie between the "
    "others: every change is a conversion.",
    fix=(
        "build in half precision: --recipe tensorrt-fp16",
        "let the device choose where pairs stand: edgecompile tune",
    ),
    example="a small network in INT8 whose FP16 engine is faster",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)

DEVICE_FLOATS = Rule(
    code="EC-675",
    name="device-floats",
    message="on the device {count} of {promised} layers do not multiply in the type that the "
    "build expects: {nodes}",
    why="TensorRT chooses the type of every kernel, and falls back to float without a word. These "
    "types are those that it told of the engine.",
    fix=(
        "look at layers.json beside the report, and keep such layers in float: "
        "--set quantize_static.keep_float=[NODE]",
        "let the device choose where pairs stand: edgecompile tune",
    ),
    example="a transposed convolution that runs in half precision",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)
