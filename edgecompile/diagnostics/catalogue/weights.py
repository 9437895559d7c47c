"""48x and 49x: rules about compressing weights and casting to half precision."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

OPSET_TOO_LOW_FOR_BLOCKS = Rule(
    code="EC-480",
    name="opset-too-low-for-blocks",
    message="opset {opset} has no 4-bit types and no DequantizeLinear in blocks, '{step}' needs 21",
    why="The types int4 and uint4 and the attribute block_size came with opset 21.",
    fix=(
        "add a '- pass: convert_opset' step with 'at_least: 21' before it in the recipe",
        "or take 8 bits: --set quantize_weights.bits=8",
    ),
    example="edgecompile build model.onnx --target intel-nuc --recipe openvino-int4-weights",
)

OPSET_ABOVE_TARGET_FOR_BLOCKS = Rule(
    code="EC-481",
    name="target-opset-too-low-for-blocks",
    message="'{target}' imports opset {ceiling} at most, 4-bit weights in blocks need 21",
    why="The types int4 and uint4 and the attribute block_size came with opset 21.",
    fix=("take 8 bits: --set quantize_weights.bits=8",),
    example="edgecompile build model.onnx --target T --recipe openvino-int8-weights",
)

NO_WEIGHT_COMPRESSED = Rule(
    code="EC-482",
    name="no-weight-compressed",
    message="'{step}' compressed no weight of this model",
    why="The artifact would hold the float weights under the name of a compressed model.",
    fix=(
        "read the notes of the step: they say why each weight was left",
        "lower its bars: --set quantize_weights.min_elements=1",
    ),
    example="edgecompile build model.onnx --target intel-nuc --recipe openvino-int8-weights",
    exit_code=ExitCode.OK,
    severity=Severity.WARNING,
)

UNTYPED_FOR_FP16 = Rule(
    code="EC-485",
    name="untyped-for-fp16",
    message="the types of {count} values are unknown, '{step}' cannot tell where to cast: {names}",
    why="A graph with half-precision and single-precision parts needs a cast at every border.",
    fix=("add a '- pass: simplify' step before it: it infers types",),
    example="steps:\n  - pass: simplify\n  - pass: cast_fp16",
    exit_code=ExitCode.REJECTED,
)
