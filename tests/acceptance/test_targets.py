"""Every device that is served gives an artifact of the shipped digits, at the status it names."""

from __future__ import annotations

import json

import pytest

from edgecompile.artifacts.kit import FOLDER, DeviceKit
from edgecompile.ir import load
from edgecompile.ir.facts import opset
from edgecompile.ir.save import save
from edgecompile.targets.catalogue import all_targets
from tests.support.builds import run_build
from tests.support.models import Builder

LOSSY_DB = {
    "rb5": 15.0,
    "rb6": 15.0,
    "ryzen-ai-phoenix": 5.0,
    "ryzen-ai-strix": 18.0,
    "windows-ml-vitisai": 18.0,
}
"""dB of SQNR where the device's rules cost much; 25 elsewhere. The digits have depthwise layers
whose channels differ by a factor of 500: with one scale per tensor there is no more to be had."""


@pytest.mark.parametrize("name", sorted(all_targets()))
def test_the_digits_build(name, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(tmp_path / "none"))
    target = all_targets()[name]
    result, _ = run_build(tmp_path, target=name)
    assert result.exit_code == 0
    manifest = result.manifest
    artifact = manifest.artifacts[0]
    rule = next(rule for rule in target.artifacts if rule.format == artifact.format)
    assert artifact.status == rule.status
    assert all((result.directory / file).stat().st_size for file in artifact.files)
    stage = manifest.fidelity.stages["quantized_onnx"].outputs["logits"]
    assert stage.sqnr_db > LOSSY_DB.get(name, 25.0)
    assert opset(load(result.directory / "model.onnx")) <= target.opset.max
    if artifact.status != "verified":
        kit = DeviceKit.load(result.directory / FOLDER / "kit.json")
        assert (kit.target, kit.artifact.sha256) == (name, artifact.sha256)
        assert (result.directory / FOLDER / "runner.py").is_file()
    assert json.loads((result.directory / "manifest.json").read_text())["target"]["id"] == name


def test_what_intels_npu_does_not_compile_is_told_and_refused_on_request(tmp_path):
    b = Builder()
    x = b.input("x", [1, 3, 8, 8])
    rare = b.node("Unique", [x], sorted=1)
    save(b.build({b.conv(x, 3, 4): [1, 4, 8, 8], rare: ["n"]}), tmp_path / "m.onnx")
    asked = {"model": tmp_path / "m.onnx", "target": "core-ultra-mtl-npu", "calibration": None}
    told, _ = run_build(tmp_path, recipe="openvino-fp16", **asked)
    assert told.exit_code == 0
    assert "device HETERO:NPU,GPU,CPU" in told.manifest.artifacts[0].notes
    (warning,) = [d for d in told.manifest.diagnostics if d.code == "EC-618"]
    assert "'Unique'" in warning.message
    strict, _ = run_build(tmp_path, recipe="openvino-fp16", require_npu=True, **asked)
    assert strict.exit_code == 1
