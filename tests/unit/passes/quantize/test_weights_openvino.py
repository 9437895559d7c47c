"""What OpenVINO makes of compressed weights: small on disk, and decompressed on the fly."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest

from edgecompile.ir import save
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.quantize_weights import QuantizeWeights
from edgecompile.targets.catalogue import load_target
from tests.support.models import Builder, feeds, run

CONTEXT = Context(target=load_target("intel-nuc"))


def perceptron(opset=21):
    b = Builder(opset=opset)
    x = b.input("x", ["N", 256])
    x = b.node("MatMul", [x, b.random(256, 512, scale=0.06)])
    y = b.node("MatMul", [b.node("Relu", [x]), b.random(512, 256, scale=0.04)])
    return b.build({y: ["N", 256]}, ir_version=10)


def table():
    b = Builder(opset=21)
    ids = b.input("ids", ["N", "L"], np.int64)
    y = b.node("Gather", [b.random(1000, 64), ids])
    return b.build({y: ["N", "L", 64]}, ir_version=10)


def converted(model, directory):
    save(model, directory / "m.onnx")
    ov.save_model(ov.Core().read_model(directory / "m.onnx"), directory / "m.xml")
    return directory / "m.xml"


def layers(compiled):
    return {
        (
            op.get_rt_info()["layerType"].astype(str),
            op.get_rt_info()["runtimePrecision"].astype(str),
        )
        for op in compiled.get_runtime_model().get_ops()
    }


@pytest.mark.parametrize(
    ("options", "bits", "precision"),
    [
        ({"bits": 4, "group_size": 32}, 4 + 16 / 32 + 4 / 32, "u4"),
        ({"bits": 4, "group_size": 128, "symmetric": True}, 4 + 16 / 128, "i4"),
        ({"bits": 8}, 8.2, "u8"),
        ({"bits": 8, "symmetric": True}, 8.2, "i8"),
    ],
)
def test_matrices_stay_small_in_the_ir_and_run_compressed(tmp_path, options, bits, precision):
    model = perceptron()
    after = QuantizeWeights(**options).run(model, CONTEXT).model
    path = converted(after, tmp_path)
    elements = 2 * 256 * 512
    assert path.with_suffix(".bin").stat().st_size < elements * bits / 8 + 2048
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    compiled = ov.Core().compile_model(path, "CPU", exact)
    assert ("FullyConnected", precision) in layers(compiled)
    inputs = feeds(model, batch=4)
    (reference,) = run(after, inputs)
    actual = compiled(inputs)[0]
    # OpenVINO keeps scales in half precision: 11 bits
    assert np.abs(actual - reference).max() < 2e-3 * np.abs(reference).max()


def test_a_table_of_bytes_is_looked_up_as_bytes(tmp_path):
    model = table()
    after = QuantizeWeights(bits=4).run(model, CONTEXT).model
    path = converted(after, tmp_path)
    assert path.with_suffix(".bin").stat().st_size < 1000 * 64 * 1.1
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert ("Gather", "u8") in layers(compiled)
