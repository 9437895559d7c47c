"""Q/DQ styles of the kinds that targets declare, for tests: none is a device's own."""

from __future__ import annotations

from typing import Any

from edgecompile.targets.schema import Activations, OperatorRule, QdqStyle, Weights

CARRIERS = (
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape",
    "Resize", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
UNIT_OPERATORS = (
    "Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Relu", "Clip",
    "Sigmoid", "Tanh", "Softmax", "LayerNormalization", "InstanceNormalization", "Gelu",
    "HardSwish", "Elu",
    "AveragePool", "GlobalAveragePool", "ReduceMean", "Pow", "Sqrt", "Exp", "PRelu", "LeakyRelu",
)  # fmt: skip
WIDE = Activations(type="uint8", wide="uint16")
SOFTMAX_0_1 = OperatorRule(operators=("Softmax", "Sigmoid"), output_range=(0.0, 1.0))


def units(**style: Any) -> QdqStyle:
    """Pairs on inputs and outputs of everything, UINT8 activations, INT32 biases."""
    given = {
        "activations": WIDE,
        "bias": "int32",
        "outputs": True,
        "operators": UNIT_OPERATORS,
        "shared_scale": CARRIERS,
        "rules": (SOFTMAX_0_1,),
    }
    return QdqStyle.model_validate({**given, **style})


def symmetric_inputs(**style: Any) -> QdqStyle:
    """Pairs at inputs, signed with zero point 0, float biases, residual sums in the kernel."""
    given = {
        "activations": Activations(type="int8", symmetric=True),
        "weights": Weights(),
        "operators": ("Conv", "ConvTranspose", "MatMul", "Gemm"),
        "carriers": ("Add", "AveragePool"),
        "shared_scale": ("MaxPool", "Reshape", "Transpose", "Flatten"),
        "fused_activations": ("Relu",),
        "fused_residual": True,
    }
    return QdqStyle.model_validate({**given, **style})
