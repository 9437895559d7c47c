"""210 to 212: rules about releases of a device's software."""

from edgecompile.diagnostics.core import Rule

NO_SUCH_STACK = Rule(
    code="EC-210",
    name="no-such-stack",
    message="'{target}' does not run {stack}, so there is no {stack} {release} for it",
    why="Which operators and precisions a device takes depends on the release of its software.",
    fix=("see what a target runs: edgecompile targets TARGET",),
    example="edgecompile build model.onnx --target intel-nuc --jetpack 6.2",
)

NO_SUCH_RELEASE = Rule(
    code="EC-211",
    name="no-such-release",
    message="'{target}' takes {stack} {known}, not {release}",
    why="Which operators and precisions a device takes depends on the release of its software.",
    fix=("name one of those", "ask the device: cat /etc/nv_tegra_release"),
    example="edgecompile build model.onnx --target jetson-nano --jetpack 6.2",
)

RELEASE_UNKNOWN = Rule(
    code="EC-212",
    name="release-unknown",
    message="too little is known of {stack} {release} to build for it: {note}",
    why="A guess about the opsets that a device takes would fail there, after the work is done.",
    fix=("name a neighbouring release: what it takes, this one mostly takes too",),
    example="edgecompile build model.onnx --target jetson-orin --jetpack 5.0.2",
)
