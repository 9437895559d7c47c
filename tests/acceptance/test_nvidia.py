"""The shipped digits model for NVIDIA's devices: real plans of TensorRT-RTX, and Jetson bundles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecompile.artifacts.manifest import Manifest
from edgecompile.diagnostics import EdgecompileError
from edgecompile.emitters.tensorrt_bundle import TensorRtBundle
from edgecompile.emitters.tensorrt_rtx import TensorRtRtxEngine
from edgecompile.ir import load
from edgecompile.targets.catalogue import load_target
from edgecompile.vendor.tensorrt.plan import read_plan
from tests.support.builds import DIGITS_DATA, run_build
from tests.support.tensorrt import needs_rtx


def built(directory: Path, target: str, **options) -> Manifest:
    evaluation = str(DIGITS_DATA)
    run_build(directory, target=target, eval=evaluation, **options)
    return Manifest.load(directory / "out" / "manifest.json")


@needs_rtx
def test_a_plan_for_three_generations_runs_the_digits_in_int8(tmp_path):
    manifest = built(tmp_path, "rtx-pc")
    (artifact,) = manifest.artifacts
    assert (artifact.format, artifact.status) == ("tensorrt-rtx-engine", "checked")
    assert artifact.executable
    assert artifact.reproducible
    plan = read_plan(tmp_path / "out" / artifact.path)
    assert plan.gpus == ("sm86", "sm89", "sm120")
    assert [layer.inputs for layer in plan.layers] == [("int8", "int8")] * 8
    assert {layer.kind for layer in plan.layers} == {"corrltn", "fully_connected"}
    assert manifest.coverage is not None
    assert manifest.coverage.precision == {"int8": 8}
    assert manifest.coverage.fallback == ()
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["integer_macs"] == 1.0
    assert not any(d.code == "EC-684" for d in manifest.diagnostics)
    # another folder, other processes: the same bytes
    model, target = load(tmp_path / "out/model.onnx"), load_target("rtx-pc")
    again = TensorRtRtxEngine(rebuild=False).emit(model, target, tmp_path / "again", None)
    assert again.sha256 == artifact.sha256


@pytest.mark.parametrize("target", ["jetson-orin", "jetson-xavier-nx"])
def test_a_bundle_passes_its_own_lint_and_keeps_the_accuracy(tmp_path, target):
    manifest = built(tmp_path, target)
    (artifact,) = manifest.artifacts
    assert (artifact.format, artifact.status) == ("tensorrt-bundle", "needs-device-build")
    model = load(tmp_path / "out" / artifact.path)
    assert TensorRtBundle().supports(model, load_target(target)) == []
    top1 = manifest.metrics["top1"]
    assert top1.quantized >= 0.99 * top1.float
    expected = json.loads((tmp_path / "out/artifacts/expected.json").read_text())
    assert list(expected.values()) == ["int8"] * 8
    assert manifest.kit is not None
    assert {"artifacts/device/prove.py", "artifacts/device/runner.py"} <= set(manifest.kit.files)


def test_a_jetson_nano_gets_half_precision_at_opset_13(tmp_path):
    manifest = built(tmp_path, "jetson-nano", calibration=None)
    model = load(tmp_path / "out" / manifest.artifacts[0].path)
    assert model.graph.graph.opset_imports[""] == 13
    expected = json.loads((tmp_path / "out/artifacts/expected.json").read_text())
    assert set(expected.values()) == {"half"}
    assert manifest.metrics["top1"].quantized >= 0.99 * manifest.metrics["top1"].float


@needs_rtx
@pytest.mark.parametrize(
    ("recipe", "kind", "gpus"),
    [
        ("tensorrt-fp8", "fp8_e4m3", ("sm89", "sm120")),
        ("tensorrt-bf16", "bf16", ("sm86", "sm89", "sm120")),
        ("tensorrt-fp16", "half", ("sm86", "sm89", "sm120")),
    ],
)
def test_other_precisions_are_planned_as_the_recipe_has_them(tmp_path, recipe, kind, gpus):
    manifest = built(tmp_path, "rtx-pc", recipe=recipe)
    plan = read_plan(tmp_path / "out" / manifest.artifacts[0].path)
    assert plan.gpus == gpus
    assert {kinds for layer in plan.layers for kinds in layer.inputs} == {kind}
    assert manifest.metrics["top1"].quantized >= 0.99 * manifest.metrics["top1"].float
    assert not any(d.code == "EC-684" for d in manifest.diagnostics)


@needs_rtx
def test_fp8_for_a_gpu_that_has_none_is_refused_before_the_build(tmp_path):
    options = {"recipe": "tensorrt-fp8", "overrides": ("tensorrt-rtx-engine.capabilities=['8.6']",)}
    with pytest.raises(EdgecompileError, match="EC-697"):
        built(tmp_path, "rtx-pc", **options)
