"""The arithmetic of scale and zero point, against ONNX Runtime's own operators."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from edgecompile.passes.quantize.affine import (
    channel_parameters,
    dequantize,
    integer_type,
    quantize,
    tensor_parameters,
)


def run_ort_pair(array, parameters):
    kind = getattr(TensorProto, parameters.type.name.upper())
    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=parameters.axis or 0),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=parameters.axis or 0),
    ]
    inputs = [
        info("x", TensorProto.FLOAT, array.shape),
        info("s", TensorProto.FLOAT, parameters.scale.shape),
        info("z", kind, parameters.zero_point.shape),
    ]
    outputs = [info("q", kind, array.shape), info("y", TensorProto.FLOAT, array.shape)]
    graph = helper.make_graph(nodes, "pair", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": array, "s": parameters.scale, "z": parameters.zero_point})


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_tensor_arithmetic_is_bit_equal_to_onnx_runtime(name, symmetric):
    array = np.random.default_rng(0).normal(0.3, 2.0, (64, 33)).astype(np.float32)
    parameters = tensor_parameters(-3.1, 5.7, integer_type(name), symmetric=symmetric)
    integers, values = run_ort_pair(array, parameters)
    assert np.array_equal(quantize(array, parameters), integers)
    assert np.array_equal(dequantize(integers, parameters), values)


@pytest.mark.parametrize("axis", [0, 1])
def test_channel_arithmetic_is_bit_equal_to_onnx_runtime(axis):
    array = np.random.default_rng(1).normal(0, 1, (8, 12)).astype(np.float32)
    reach = np.abs(array).max(axis=1 - axis)
    parameters = channel_parameters(reach, integer_type("int8", narrow=True), axis=axis)
    integers, values = run_ort_pair(array, parameters)
    assert np.array_equal(quantize(array, parameters), integers)
    assert np.array_equal(dequantize(integers, parameters), values)


def test_zero_is_exact_and_the_range_holds_it():
    for low, high in [(0.5, 2.0), (-2.0, -0.5), (-1.0, 3.0)]:
        for name in ("int8", "uint8"):
            for symmetric in (True, False):
                parameters = tensor_parameters(low, high, integer_type(name), symmetric=symmetric)
                zero = np.zeros(1, np.float32)
                assert dequantize(quantize(zero, parameters), parameters)[0] == 0.0


def test_symmetric_types_have_the_zero_point_in_the_middle():
    assert tensor_parameters(0, 1, integer_type("int8"), symmetric=True).zero_point == 0
    assert tensor_parameters(0, 1, integer_type("uint8"), symmetric=True).zero_point == 128


def test_power_of_two_scales_only_widen_the_range():
    plain = tensor_parameters(-1.3, 4.9, integer_type("int8"), symmetric=True)
    power = tensor_parameters(-1.3, 4.9, integer_type("int8"), symmetric=True, power_of_two=True)
    assert np.log2(power.scale) == np.rint(np.log2(power.scale))
    assert plain.scale <= power.scale < 2 * plain.scale


@pytest.mark.parametrize("low_high", [(0.0, 0.0), (1e-44, 1e-44), (-1e-45, 0.0)])
def test_a_range_of_no_width_gets_a_usable_scale(low_high):
    parameters = tensor_parameters(*low_high, integer_type("uint8"), symmetric=False)
    assert parameters.scale == 1.0
    assert np.isfinite(dequantize(quantize(np.zeros(3, np.float32), parameters), parameters)).all()


def test_a_channel_of_zeros_gets_scale_one():
    parameters = channel_parameters(np.array([0.0, 2.0]), integer_type("int8"), axis=0)
    assert parameters.scale[0] == 1.0


@pytest.mark.parametrize("name", ["float32", "int7", "uint", "int"])
def test_other_names_are_no_integer_types(name):
    with pytest.raises(ValueError, match="not an integer type"):
        integer_type(name)
