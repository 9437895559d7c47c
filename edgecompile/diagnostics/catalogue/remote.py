"""530 to 534: rules about building and proving on a device over SSH."""

from edgecompile.diagnostics.core import ExitCode, Rule

BAD_ADDRESS = Rule(
    code="EC-530",
    name="bad-builder-address",
    message="'{address}' does not name a device: {problem}",
    why="A device is reached by OpenSSH, under the name that 'ssh' knows it by.",
    fix=("write --builder ssh://USER@DEVICE or ssh://USER@DEVICE:PORT",),
    example="--builder jetson.local",
)

NO_SSH = Rule(
    code="EC-531",
    name="no-ssh-client",
    message="there is no ssh command here, so '{address}' cannot be reached",
    why="Keys, agents, jump hosts and the checking of host keys are OpenSSH's own.",
    fix=("install the OpenSSH client",),
    example="a slim container",
    exit_code=ExitCode.TOOLCHAIN,
)

UNREACHABLE = Rule(
    code="EC-532",
    name="device-unreachable",
    message="'{address}' could not be reached, or the connection was lost: {reason}",
    why="What was copied and built there stays until the next try, which goes on from it.",
    fix=(
        "see whether 'ssh {address}' works: an unknown host key is refused, not asked about, where "
        "there is no terminal",
        "run the same command again",
    ),
    example="a device that is off, or whose host key is not known",
    exit_code=ExitCode.TOOLCHAIN,
)

REMOTE_FAILED = Rule(
    code="EC-533",
    name="device-build-failed",
    message="'{address}' could not {what}: {reason}",
    why="The device has nothing of this build left: its log was brought home.",
    fix=("read the log: {log}", "run artifacts/device/prove.py on the device by hand"),
    example="a Jetson without TensorRT's Python package",
    exit_code=ExitCode.TOOLCHAIN,
)

NOTHING_TUNED = Rule(
    code="EC-534",
    name="nothing-tuned",
    message="there is nothing to tune for '{target}': {reason}",
    why="Tuning compares places of Q/DQ pairs, and keeps one whose outputs and budgets hold.",
    fix=("build without tuning: edgecompile build", "loosen the budget that is missed"),
    example="edgecompile tune model.onnx --target jetson-nano",
    exit_code=ExitCode.REJECTED,
)
