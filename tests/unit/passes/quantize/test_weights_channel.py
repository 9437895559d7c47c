"""`quantize_weights` with `group_size: channel`: INT4 with one scale for each output."""

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import all_nodes, constant_array
from edgecompile.passes.quantize.quantize_weights import QuantizeWeights
from edgecompile.recipes import load_recipe
from edgecompile.targets.catalogue import load_target
from tests.support.models import Builder, apply, context


def perceptron():
    b = Builder(opset=21)
    x = b.input("x", [1, 96])
    x = b.node("MatMul", [x, b.random(96, 40, scale=0.06)])
    y = b.node("MatMul", [b.node("Relu", [x]), b.random(40, 50, scale=0.04)])
    return b.build({y: [1, 50]}, ir_version=10)


def test_all_weights_of_an_output_share_a_scale_and_no_zero_point() -> None:
    options = {"bits": 4, "group_size": "channel", "float_share": 0.0}
    after = apply(QuantizeWeights(**options), perceptron(), context()).model
    restored = [n for n in all_nodes(after) if n.op_type == "DequantizeLinear"]
    assert len(restored) == 2
    for node, outputs in zip(restored, (40, 50), strict=True):
        assert node.inputs[0].const_value.dtype == ir.DataType.INT4
        scale = constant_array(node.inputs[1])
        assert scale is not None and scale.shape == (outputs,)
        zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1)
        assert not np.any(zero)


def test_intels_npu_has_a_recipe_of_it() -> None:
    recipe = load_recipe("openvino-npu-int4", load_target("core-ultra"))
    (weights,) = [s.operation for s in recipe.steps if s.operation.id == "quantize_weights"]
    assert (weights.bits, weights.group_size, weights.symmetric) == (4, "channel", True)
