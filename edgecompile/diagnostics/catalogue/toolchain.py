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
