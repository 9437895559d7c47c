"""Models as exporters wrote them years ago, opsets 7 to 11: converted, quantized, nothing lost."""

import dataclasses

import numpy as np
import pytest
from onnx import helper

from edgecompile.calibration.session import run_session
from edgecompile.ir.facts import op_census, opset
from edgecompile.passes.graph.convert_opset import ConvertOpset
from edgecompile.passes.graph.simplify import Simplify
from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.gauge import Gauge
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from tests.support.data import npz_for
from tests.support.models import Builder, apply, assert_same, context, from_proto

METADATA = {"alphabet": "a\nb", "stride": "32"}


def old(version):
    """What changed its form between opsets 7 and 13, as an exporter of its time wrote it."""
    b = Builder(3, opset=version)
    x = b.input("x", ["N", 3, 12, 12])
    if version < 11:
        x = b.node("Pad", [x], mode="constant", pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.0)
    else:
        x = b.node(
            "Pad", [x, b.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), b.constant(np.float32(0))]
        )
    x = b.node("Relu", [b.batch_norm(b.conv(x, 3, 8, pads=[0, 0, 0, 0]), 8)])
    x = b.node("Dropout", [x], ratio=0.5) if version > 7 else b.node("Dropout", [x])
    if version < 9:
        x = b.node("Upsample", [x], mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])
    elif version == 9:
        scales = b.constant(np.array([1, 1, 2, 2], np.float32))
        x = b.node("Upsample", [x, scales], mode="nearest")
    if version < 10:
        x = b.node("Slice", [x], axes=[2, 3], starts=[1, 1], ends=[11, 11])
    else:
        ends = [b.constant(np.array(numbers)) for numbers in ([1, 1], [11, 11], [2, 3])]
        x = b.node("Slice", [x, *ends])
    x = b.conv(x, 8, 8)
    x = (
        b.node("Clip", [x], min=0.0, max=6.0)
        if version < 11
        else b.node("Clip", [x, b.constant(np.float32(0)), b.constant(np.float32(6))])
    )
    pooled = b.node("Squeeze", [b.node("GlobalAveragePool", [x])], axes=[2, 3])
    scores = b.node("Softmax", [b.gemm(pooled, 8, 5)], axis=1)
    proto = b.proto({scores: ["N", 5]}, metadata=METADATA)
    if version < 9:  # before IR version 4 every initializer was a graph input as well
        proto.ir_version = 3
        known = {value.name for value in proto.graph.input}
        proto.graph.input.extend(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            for tensor in proto.graph.initializer
            if tensor.name not in known
        )
    return from_proto(proto)


@pytest.mark.parametrize("version", [7, 8, 9, 10, 11])
def test_an_old_model_is_converted_and_quantized_per_channel(version, tmp_path):
    model = old(version)
    assert opset(model) == version
    slim = apply(Simplify(), model).model
    modern = apply(ConvertOpset(at_least=20), slim).model
    assert opset(modern) == 20
    assert_same(model, modern)
    data = npz_for(modern, tmp_path / "data.npz", samples=6)
    where = dataclasses.replace(context(), data=data, reference=modern)
    ranges = Calibrate(method="minmax").run(modern, where).ranges
    step = QuantizeStatic(overflow="ignore")
    quantized = step.run(modern, dataclasses.replace(where, ranges=ranges)).model
    assert quantized.graph.metadata_props == METADATA
    census = op_census(quantized)
    assert census["QuantizeLinear"] >= 3
    convolutions = [node for node in quantized.graph.graph if node.op_type == "Conv"]
    axes = [node.inputs[1].producer().attributes.get_int("axis") for node in convolutions]
    assert axes == [0, 0]
    session = run_session(quantized, exact=True)
    figures = Gauge(modern, list(data), None).figures(lambda s: session.run(s.feeds))
    assert figures.of("sqnr_db") > 25
