"""5xx: rules about vendor toolchains and the guarded processes that they run in."""

from edgecompile.diagnostics.core import ExitCode, Rule

TOOLCHAIN_MISSING = Rule(
    code="EC-500",
    name="toolchain-missing",
    message="the toolchain '{extra}' is not installed (missing: {missing})",
    why="Vendor packages are large and clash with each other, so none is in the core install.",
    fix=(
        "type: pip install 'edgecompile[EXTRA]'",
        "see what else is missing: edgecompile toolchain doctor",
    ),
    example="edgecompile build model.onnx --target intel-nuc    # without OpenVINO",
    exit_code=ExitCode.TOOLCHAIN,
)

TOOLCHAIN_BROKEN = Rule(
    code="EC-501",
    name="toolchain-broken",
    message="the toolchain '{extra}' is installed but '{module}' cannot be imported: {reason}",
    why="A shared library is missing, or another package has replaced a version that it needs.",
    fix=(
        "check the environment: pip check",
        "reinstall: pip install --force-reinstall 'edgecompile[EXTRA]'",
    ),
    example="import openvino    # ImportError: libtbb.so.12: cannot open shared object file",
    exit_code=ExitCode.TOOLCHAIN,
)

TOOLCHAIN_UNKNOWN = Rule(
    code="EC-502",
    name="toolchain-unknown",
    message="there is no toolchain '{extra}'",
    why="A pass or emitter asks for an optional extra that this version does not have.",
    fix=("list them: edgecompile toolchain doctor",),
    example='extra: ClassVar[str] = "openvno"    # in a pass of another package',
    exit_code=ExitCode.TOOLCHAIN,
)

TOOL_FAILED = Rule(
    code="EC-510",
    name="tool-failed",
    message="{tool} failed: {reason}",
    why="The vendor's own code refused the model or stopped with an exception.",
    fix=(
        "read the end of its log: repeat the command with --verbose",
        "ask what the target refuses: edgecompile check MODEL --target TARGET",
    ),
    example="openvino failed: Check 'weights_rank >= 3' failed at node 'conv1'",
    exit_code=ExitCode.TOOLCHAIN,
)

TOOL_CRASHED = Rule(
    code="EC-511",
    name="tool-crashed",
    message="{tool} crashed ({how})",
    why="The vendor's process ended without an answer; nothing that it wrote was used.",
    fix=(
        "read the end of its log: repeat the command with --verbose",
        "if it was killed by the system, free memory or give it a larger machine",
    ),
    example="openvino crashed (signal SIGSEGV)",
    exit_code=ExitCode.TOOLCHAIN,
)

TOOL_TIMEOUT = Rule(
    code="EC-512",
    name="tool-timeout",
    message="{tool} did not answer within {timeout_s:g} s and was stopped",
    why="A vendor tool that hangs would block the build for ever.",
    fix=(
        "try again on an idle machine",
        "try a smaller input shape: freeze dynamic dimensions with the pass 'freeze_shapes'",
    ),
    example="openvino did not answer within 1800 s and was stopped",
    exit_code=ExitCode.TOOLCHAIN,
)

TOOL_MEMORY = Rule(
    code="EC-513",
    name="tool-memory",
    message="{tool} used more than {limit_mib} MiB of memory and was stopped",
    why="A vendor tool without a limit can take the whole machine down.",
    fix=("build on a machine with more memory", "use fewer calibration samples"),
    example="openvino used more than 12288 MiB of memory and was stopped",
    exit_code=ExitCode.TOOLCHAIN,
)

TOOL_NONSENSE = Rule(
    code="EC-514",
    name="tool-nonsense",
    message="{tool} gave no usable result: {reason}",
    why="The tool ended as if it had succeeded, but its answer or its files are not complete.",
    fix=(
        "check that the disk is not full",
        "read the end of its log: repeat the command with --verbose",
    ),
    example="openvino gave no usable result: 'model.bin' is missing",
    exit_code=ExitCode.TOOLCHAIN,
)

ISOLATED_MISSING = Rule(
    code="EC-520",
    name="isolated-toolchain-missing",
    message="the isolated toolchain '{name}' is not installed{state}",
    why="Its packages clash with the core's, so they live in an environment of their own.",
    fix=(
        "type: edgecompile toolchain install NAME",
        "see where it is looked for: edgecompile toolchain doctor",
    ),
    example="edgecompile build model.onnx --target intel-nuc --recipe openvino-int8-onc",
    exit_code=ExitCode.TOOLCHAIN,
)

ISOLATED_UNKNOWN = Rule(
    code="EC-521",
    name="isolated-toolchain-unknown",
    message="there is no isolated toolchain '{name}'",
    why="Only toolchains with a file of pinned versions can be installed and removed.",
    fix=("list them: edgecompile toolchain list",),
    example="edgecompile toolchain install aimmet",
)

BAD_TOOLCHAIN_FILE = Rule(
    code="EC-522",
    name="bad-toolchain-file",
    message="not a toolchain file: {problem}",
    why="A toolchain names exact versions and nothing else, so that it is the same everywhere.",
    fix=(
        "write each requirement as name==version, without an address, an extra or a marker",
        "compare with the files that ship with edgecompile",
    ),
    example="requirements: [numpy>=1.26]",
    exit_code=ExitCode.TOOLCHAIN,
)

NO_INTERPRETER = Rule(
    code="EC-523",
    name="no-interpreter",
    message="the toolchain '{name}' needs Python {wanted}, and {found}",
    why="Its pinned packages exist for these versions of Python only.",
    fix=(
        "install such a Python so that python3.X is on PATH",
        "name one: edgecompile toolchain install NAME --python /path/to/python3.X",
    ),
    example="edgecompile toolchain install neural-compressor    # with Python 3.14 only",
    exit_code=ExitCode.TOOLCHAIN,
)

WRONG_PLATFORM = Rule(
    code="EC-524",
    name="wrong-platform",
    message="the toolchain '{name}' exists for {wanted} only, and this is {platform}",
    why="Its packages have no builds for this system.",
    fix=("use the built-in passes, or build on such a system",),
    example="edgecompile toolchain install aimet    # on Windows",
    exit_code=ExitCode.TOOLCHAIN,
)

INSTALL_FAILED = Rule(
    code="EC-525",
    name="toolchain-install-failed",
    message="the toolchain '{name}' could not be installed: {stage} failed: {reason}",
    why="Nothing is kept of an install that did not pass all its checks.",
    fix=(
        "read the end of the log: repeat the command with --verbose",
        "check that pip reaches its package index and that the disk is not full",
    ),
    example="pip failed: No matching distribution found for onnx==1.23.2",
    exit_code=ExitCode.TOOLCHAIN,
)

NPU_COMPILER_MISSING = Rule(
    code="EC-527",
    name="npu-compiler-missing",
    message="the installed OpenVINO has no NPU compiler",
    why="The compiler is in OpenVINO's wheel for Windows and not in that for Linux.",
    fix=("build on Windows, or let the device compile the IR: it is in the device kit",),
    example="edgecompile build model.onnx --target lunar-lake-npu    # on Linux",
    exit_code=ExitCode.TOOLCHAIN,
)
