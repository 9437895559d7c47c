"""EC-420 to EC-439: rules about the graph and fusion passes."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

OPSET_BLOCKED = Rule(
    code="EC-420",
    name="opset-conversion-blocked",
    message="operator '{op}' cannot be converted from opset {opset} to {wanted}: {problem}",
    why=(
        "The model's opset must lie in the range that the target imports, and ONNX has no "
        "conversion for this operator at that step."
    ),
    fix=(
        "export the model again with a newer opset (PyTorch: torch.onnx.export(..., "
        "opset_version=17))",
        "or ask for another opset: --set convert_opset.target=N",
    ),
    example="--set convert_opset.target=13",
    exit_code=ExitCode.REJECTED,
)

OPSET_OUT_OF_RANGE = Rule(
    code="EC-421",
    name="opset-out-of-range",
    message="opset {wanted} is asked for, but the target imports opsets {low} to {high}",
    why="An importer refuses, or silently misreads, a model of an opset that it does not know.",
    fix=("ask for an opset in that range: --set convert_opset.target=N",),
    example="--set convert_opset.target=17",
)

OPSET_UNKNOWN = Rule(
    code="EC-422",
    name="opset-unknown",
    message="opset {opset} is newer than the newest that the installed onnx knows ({known})",
    why="Operators of an unknown opset cannot be read with certainty.",
    fix=(
        "install a newer onnx: pip install -U onnx",
        "or export the model with an older opset",
    ),
    example="torch.onnx.export(model, inputs, 'model.onnx', opset_version=17)",
    exit_code=ExitCode.REJECTED,
)

INPUT_UNKNOWN = Rule(
    code="EC-423",
    name="freeze-unknown-name",
    message="freeze_shapes names the {kind} '{name}', which the model does not have",
    why="A dimension that is left dynamic by a typing error would surface only on the device.",
    fix=("take one of the names that `edgecompile inspect MODEL` lists",),
    example="freeze_shapes: {dims: {N: 1}, inputs: {image: [1, 3, 224, 224]}}",
)

SHAPE_CONFLICT = Rule(
    code="EC-424",
    name="freeze-shape-conflict",
    message="input '{name}' is {declared}, and freeze_shapes asks for {wanted}: {problem}",
    why="A fixed dimension of the model, or one symbol for two dimensions, allows one value only.",
    fix=(
        "give a shape that agrees with the model's own (`edgecompile inspect MODEL`)",
        "give each symbol one value",
    ),
    example="freeze_shapes: {inputs: {image: [1, 3, 224, 224]}}",
)

SHAPE_NOT_STATIC = Rule(
    code="EC-425",
    name="freeze-shape-open",
    message="the target needs static shapes, but input '{name}' keeps {shape}",
    why="This target plans memory before the first inference, so no dimension may stay open.",
    fix=(
        "name its value: --shape SYMBOL=NUMBER, such as --shape L=128",
        "or give the whole shape: --shape INPUT=1x3x224x224",
    ),
    example="freeze_shapes: {dims: {N: 1, L: 128}}",
)

LIBRARY_GAVE_UP = Rule(
    code="EC-426",
    name="graph-library-gave-up",
    message="{library} could not work on this model: {problem}",
    why="A clean-up library does not know every model; the model is left as it was.",
    fix=("nothing has to be done; leave the pass out of the recipe to silence this",),
    severity=Severity.NOTE,
    exit_code=ExitCode.OK,
)
