"""ONNX files for ONNX Runtime's providers: what is in them, where it runs, how they are loaded."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgecompile.emitters.onnx_directml import OnnxDirectMl
from edgecompile.emitters.onnx_vitisai import OnnxVitisAi, scale_problems
from edgecompile.emitters.onnx_winml import OnnxWinMl
from edgecompile.ir import load, to_bytes
from edgecompile.ir.facts import all_nodes, constant_array, op_census, opset
from edgecompile.ir.shapes import infer
from edgecompile.passes.quantize.round_bf16 import RoundBf16
from edgecompile.targets.catalogue import load_target
from tests.support import models
from tests.support.builds import run_build
from tests.support.models import Builder
from tests.support.qdq import qdq_conv

DIRECTML = load_target("windows-directml")


def conv(opset: int = 17, batch: int | str = 1) -> models.Model:
    b = Builder(opset=opset)
    y = b.node("HardSwish", [b.conv(b.input("x", [batch, 3, 8, 8]), 3, 4)])
    return b.build({y: [batch, 4, 8, 8]}, ir_version=10)


def test_nodes_without_a_kernel_are_counted_and_named(tmp_path):
    artifact = OnnxDirectMl().emit(conv(), DIRECTML, tmp_path, None)
    assert artifact.files == ("artifacts/model.onnx", "artifacts/session.json")
    found = artifact.coverage
    assert (found.nodes, found.accelerated, found.unit) == (2, 1, "gpu")
    assert [f.op for f in found.fallback] == ["HardSwish"]
    assert [d.code for d in artifact.remarks] == ["EC-618"]


def test_a_conv_of_too_new_an_opset_stays_on_the_device_after_a_build(tmp_path):
    path = tmp_path / "new.onnx"
    path.write_bytes(to_bytes(conv(22)))
    result, sink = run_build(tmp_path, model=path, target="windows-directml", calibration=None)
    made = load(result.directory / "model.onnx")
    assert opset(made) == 21
    assert "HardSwish" not in op_census(made)
    coverage = result.manifest.coverage
    assert coverage.accelerated == coverage.nodes
    assert not [d for d in sink.diagnostics if d.code in {"EC-618", "EC-619"}]


def test_free_dimensions_are_told_until_they_get_a_value():
    free = conv(batch="N")
    codes = [d.code for d in OnnxDirectMl().supports(free, DIRECTML)]
    assert "EC-644" in codes
    codes = [d.code for d in OnnxDirectMl(free_dimensions={"N": 1}).supports(free, DIRECTML)]
    assert "EC-644" not in codes


def test_the_file_says_how_to_load_it(tmp_path):
    OnnxDirectMl(free_dimensions={"N": 2}).emit(conv(batch="N"), DIRECTML, tmp_path, None)
    session = json.loads((tmp_path / "artifacts/session.json").read_text())
    assert session["provider"] == "DmlExecutionProvider"
    assert session["session_options"] == {
        "enable_mem_pattern": False,
        "execution_mode": "ORT_SEQUENTIAL",
    }
    assert session["free_dimensions"] == {"N": 2}


def test_int4_weights_go_into_matmul_nbits(tmp_path):
    b = Builder(opset=17)
    x = b.node("MatMul", [b.input("x", [1, 4, 64]), b.random(64, 512, scale=0.1)])
    x = b.node("MatMul", [x, b.random(512, 64, scale=0.1)])
    path = tmp_path / "mlp.onnx"
    path.write_bytes(to_bytes(b.build({x: [1, 4, 64]})))
    result, _ = run_build(
        tmp_path, model=path, target="windows-directml", recipe="ort-int4-weights", calibration=None
    )
    census = op_census(load(result.directory / "model.onnx"))
    assert census["com.microsoft::MatMulNBits"] == 2
    assert result.manifest.coverage.accelerated == result.manifest.coverage.nodes


@pytest.fixture(scope="module")
def xint8(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xint8")
    return run_build(folder, target="ryzen-ai-phoenix")[0]


def test_every_scale_is_a_power_of_two_and_every_zero_point_zero(xint8):
    model, pairs = load(xint8.directory / "artifacts/model.onnx"), 0
    for node in all_nodes(model):
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            pairs += 1
            scale, point = constant_array(node.inputs[1]), constant_array(node.inputs[2])
            assert scale.size == 1
            assert np.frexp(scale)[0] == 0.5
            assert not point.any()
            assert point.dtype == np.int8
    assert pairs > 30
    assert list(scale_problems(model, load_target("ryzen-ai-phoenix").quantization)) == []


def test_the_overlay_and_target_are_those_of_the_chip(xint8):
    phoenix = json.loads((xint8.directory / "artifacts/session.json").read_text())
    assert phoenix["provider_options"]["target"] == "X1"
    assert phoenix["provider_options"]["xclbin"] == "phoenix/4x4.xclbin"
    strix = load_target("ryzen-ai-strix").onnxruntime
    assert strix.options["target"] == "X2"
    assert "xclbin" not in strix.options


def test_other_scales_are_refused_for_xint8():
    target = load_target("ryzen-ai-phoenix")
    found = [d for d in OnnxVitisAi().supports(qdq_conv(), target) if d.code == "EC-643"]
    assert found
    assert all(d.severity.value == "error" for d in found)


def test_the_column_of_the_table_follows_from_the_types_in_the_model(tmp_path):
    b = Builder(opset=17)
    y = b.node("Relu", [b.conv(b.input("x", [1, 3, 8, 8]), 3, 4)])
    model, target = b.build({y: [1, 4, 8, 8]}, ir_version=10), load_target("ryzen-ai-strix")
    assert OnnxVitisAi().supports(model, target) == []
    rounded = RoundBf16().run(infer(model), models.context()).model
    (found,) = OnnxVitisAi().supports(rounded, target)
    assert "none for BF16" in found.message
    artifact = OnnxVitisAi().emit(rounded, target, tmp_path, None)
    written = load(tmp_path / "artifacts/model.onnx")
    assert [node.op_type for node in written.graph.graph] == ["Conv", "Relu"]
    assert artifact.coverage.precision == {"bf16": 1, "fp32": 1}


def test_activations_of_16_bits_are_held_against_their_own_column():
    b = Builder(opset=21)
    scale, zero = b.constant(np.float32(0.1)), b.constant(np.int16(0))
    x = b.node("QuantizeLinear", [b.input("x", [1, 8]), scale, zero])
    y = b.node("HardSwish", [b.node("DequantizeLinear", [x, scale, zero])])
    model, target = b.build({y: [1, 8]}, ir_version=10), load_target("ryzen-ai-strix")
    found = [d.message for d in OnnxVitisAi().supports(infer(model), target)]
    assert any("'HardSwish'" in message and "none for A16W8" in message for message in found)


def test_the_device_script_runs_and_tells_where_each_node_ran(tmp_path):
    """With ONNX Runtime's own CPU provider in the place of the device's."""
    OnnxDirectMl().emit(conv(), DIRECTML, tmp_path, None)
    kit = OnnxDirectMl().kit(None, DIRECTML)
    assert {"runner.py", "prove.ps1"} <= kit.files.keys()
    code = compile(kit.files["runner.py"], "runner.py", "exec")
    scope: dict = {}
    exec(code, scope)
    options = {**kit.options, "provider": "CPUExecutionProvider"}
    loaded = scope["load"](str(tmp_path / "artifacts/model.onnx"), {"options": options})
    feeds = models.feeds(conv(), 1)
    (want,) = models.run(conv(), feeds)
    (got,) = loaded.run(feeds).values()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert loaded.facts["nodes"]["CPUExecutionProvider"] >= 1
    missing = {**kit.options, "provider": "NoSuchProvider", "catalogued": False}
    with pytest.raises(RuntimeError, match="install onnxruntime-directml"):
        scope["load"](str(tmp_path / "artifacts/model.onnx"), {"options": missing})


def test_floats_in_a_model_for_an_npu_without_them_run_on_the_cpu(tmp_path):
    phoenix = load_target("ryzen-ai-phoenix")
    b = Builder(opset=17)
    y = b.node("Relu", [b.conv(b.input("x", [1, 3, 8, 8]), 3, 4)])
    artifact = OnnxVitisAi().emit(
        b.build({y: [1, 4, 8, 8]}, ir_version=10), phoenix, tmp_path, None
    )
    assert artifact.coverage.accelerated == 0
    assert {f.op for f in artifact.coverage.fallback} == {"Conv", "Relu"}
    assert {d.code for d in artifact.remarks} == {"EC-618"}
    assert "of which the accelerator has none" in artifact.remarks[0].message


@pytest.mark.parametrize(
    ("target", "runtime"),
    [
        ("windows-ml-qnn", "the QNN provider"),
        ("windows-ml-tensorrt-rtx", "the TensorRT-RTX provider"),
    ],
)
def test_every_variant_of_windows_ml_has_a_table(target, runtime):
    b = Builder(opset=17)
    y = b.node("Unique", [b.input("x", [8])])
    found = OnnxWinMl().supports(b.build({y: ["N"]}, ir_version=10), load_target(target))
    assert [d.message.split(" does")[0] for d in found if d.code == "EC-618"] == [runtime]
