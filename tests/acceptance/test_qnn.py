"""`edgecompile build` for Qualcomm's NPUs, from the shipped model to the emulator's outputs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from edgecompile.artifacts.kit import DeviceKit
from edgecompile.artifacts.manifest import Manifest
from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.driver.check import check
from edgecompile.ir import save
from tests.support.builds import DIGITS_DATA, REPORTS, digests, run_build
from tests.support.models import Builder

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime_qnn") is None, reason="needs onnxruntime-qnn"
)
TARGET = "snapdragon-8-gen2"
CALIBRATION = str(DIGITS_DATA / "calibration.npz")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The shipped model, compiled for SM8550 and run in the emulator."""
    directory = tmp_path_factory.mktemp("qnn")
    result, _ = run_build(directory, target=TARGET, eval=str(DIGITS_DATA))
    assert result.exit_code is ExitCode.OK
    return directory


def test_the_shipped_model_is_simulated(built: Path) -> None:
    manifest = Manifest.load(built / "out" / "manifest.json")
    (artifact,) = manifest.artifacts
    assert (artifact.format, artifact.status) == ("qnn-context-binary", "simulated")
    assert artifact.reproducible
    assert "SM8550" in artifact.notes[0]
    assert manifest.fidelity is not None
    assert set(manifest.fidelity.stages) == {"quantized_onnx", "artifact"}
    assert "emulator" in manifest.fidelity.stages["artifact"].runtime
    (output,) = manifest.fidelity.stages["artifact"].outputs.values()
    assert output.cosine > 0.999
    assert manifest.metrics["top1"].quantized >= 0.99 * manifest.metrics["top1"].float


def test_all_of_it_runs_on_the_npu(built: Path) -> None:
    manifest = Manifest.load(built / "out" / "manifest.json")
    assert manifest.coverage is not None
    assert manifest.coverage.unit == "npu"
    assert manifest.coverage.accelerated == manifest.coverage.nodes
    assert manifest.coverage.accelerated_macs == 1.0
    assert set(manifest.coverage.precision) == {"int16"}
    report = json.loads((built / "out" / "report.json").read_text())
    assert report["latency"] is None
    assert "the emulator ran 4 samples" in " ".join(d["message"] for d in report["diagnostics"])


def test_the_kit_goes_with_it(built: Path) -> None:
    kit = DeviceKit.load(built / "out" / "artifacts" / "device" / "kit.json")
    assert kit.options["provider"]["soc_model"] == "43"
    assert kit.golden.samples == 4


def test_equal_builds_give_equal_files(built: Path, tmp_path: Path) -> None:
    run_build(tmp_path, target=TARGET, eval=str(DIGITS_DATA))
    again = digests(tmp_path / "out", without=REPORTS)
    assert again == digests(built / "out", without=REPORTS)


def test_a_dlc_is_written_when_asked_for(tmp_path: Path) -> None:
    result, _ = run_build(tmp_path, target=TARGET, artifacts=("qnn-dlc",))
    (artifact,) = result.manifest.artifacts
    assert (artifact.format, artifact.status) == ("qnn-dlc", "checked")
    assert not artifact.reproducible
    assert artifact.path == "artifacts/model.dlc"
    changes = {"target": TARGET, "artifacts": ("qnn-dlc",), "no_cache": True, "locked": True}
    again, _ = run_build(tmp_path, **changes)
    assert again.manifest.artifacts[0].content_sha256 == artifact.content_sha256
    text = (tmp_path / "out" / "manifest.json").read_text()
    other = text.replace(str(artifact.content_sha256), "0" * 64)
    (tmp_path / "out" / "manifest.json").write_text(other)
    with pytest.raises(EdgecompileError) as caught:
        run_build(tmp_path, **changes)
    assert [d.code for d in caught.value.diagnostics] == ["EC-721"]


@pytest.mark.parametrize("recipe", ["qnn-a8w8", "qnn-a16w4", "qnn-fp16"])
def test_other_recipes_run_whole_on_the_npu_and_are_near(recipe: str, tmp_path: Path) -> None:
    result, _ = run_build(tmp_path, target=TARGET, recipe=recipe, require_npu=True)
    assert result.exit_code is ExitCode.OK
    fidelity = result.manifest.fidelity
    assert fidelity is not None
    (before,) = fidelity.stages["quantized_onnx"].outputs.values()
    (after,) = fidelity.stages["artifact"].outputs.values()
    assert after.cosine > (0.9 if recipe == "qnn-a16w4" else 0.999)
    assert after.sqnr_db > before.sqnr_db - 3


def test_layers_of_8_and_of_16_bits_run_side_by_side(tmp_path: Path) -> None:
    wide = "precision={/0/Conv: int16, /8/Gemm: int16}"
    changes = {"overrides": (f"calibrate.{wide}", f"quantize_static.{wide}"), "require_npu": True}
    result, _ = run_build(tmp_path, target=TARGET, recipe="qnn-a8w8", **changes)
    assert result.exit_code is ExitCode.OK
    assert result.manifest.coverage is not None
    assert set(result.manifest.coverage.precision) == {"int8", "int16"}
    assert result.manifest.fidelity is not None
    (output,) = result.manifest.fidelity.stages["artifact"].outputs.values()
    assert output.cosine > 0.999


def test_layers_that_cost_most_get_16_bits_and_stay_on_the_npu(tmp_path: Path) -> None:
    budget = "keep_precision.budget={metric: sqnr_db, at_least: 38}"
    changes = {"overrides": (budget, "keep_precision.fallback=int16"), "require_npu": True}
    changes["calibration"] = CALIBRATION
    result, _ = run_build(tmp_path, target=TARGET, recipe="qnn-a8w8", **changes)
    assert result.exit_code is ExitCode.OK
    assert result.manifest.coverage is not None
    assert result.manifest.coverage.accelerated == result.manifest.coverage.nodes
    assert set(result.manifest.coverage.precision) == {"int8", "int16"}
    assert result.manifest.fidelity is not None
    stages = result.manifest.fidelity.stages
    for stage in ("quantized_onnx", "artifact"):
        (output,) = stages[stage].outputs.values()
        assert output.sqnr_db is not None
        # the budget holds on calibration samples; these are others
        assert output.sqnr_db > 38 - 3


@pytest.mark.parametrize("target", ["rb3-gen2", "snapdragon-8-gen1"])
def test_chips_of_other_generations_take_their_default_recipe(target: str, tmp_path: Path) -> None:
    result, _ = run_build(tmp_path, target=target, require_npu=True, calibration=CALIBRATION)
    assert result.exit_code is ExitCode.OK
    assert result.manifest.artifacts[0].status == "simulated"


def test_a_board_without_the_processor_gets_a_quantized_dlc(tmp_path: Path) -> None:
    result, _ = run_build(tmp_path, target="rb5")
    (artifact,) = result.manifest.artifacts
    assert (artifact.format, artifact.status) == ("qnn-dlc", "checked")
    assert "for SNPE on the DSP" in artifact.notes[0]
    result, _ = run_build(tmp_path, target="rb5", require_npu=True)
    assert result.exit_code is ExitCode.OK
    with pytest.raises(EdgecompileError) as caught:
        run_build(tmp_path, target="rb5", artifacts=("qnn-context-binary",))
    assert caught.value.diagnostics[0].code == "EC-207"
    with pytest.raises(EdgecompileError) as caught:
        run_build(tmp_path, target="rb5", recipe="qnn-fp16")
    assert caught.value.diagnostics[0].code == "EC-236"


def cut_off(tmp_path: Path) -> Path:
    """A model with an operator in the middle that the processor does not have."""
    b = Builder()
    x = b.node("Relu", [b.conv(b.input("x", [1, 3, 8, 8]), 3, 4)])
    y = b.conv(b.node("Erf", [x]), 4, 4)
    save(b.build({y: [1, 4, 8, 8]}), tmp_path / "cut.onnx")
    return tmp_path / "cut.onnx"


def test_a_node_on_the_cpu_is_a_warning_and_an_error_on_request(tmp_path: Path) -> None:
    model = cut_off(tmp_path)
    asked = {"model": model, "target": TARGET, "calibration": None, "recipe": "qnn-fp16"}
    result, _ = run_build(tmp_path, **asked)
    assert result.exit_code is ExitCode.OK
    (warning,) = [d for d in result.manifest.diagnostics if d.code == "EC-624"]
    assert (warning.severity, warning.where) == ("warning", {"node": "erf_2"})
    assert result.manifest.coverage is not None
    assert [f.op for f in result.manifest.coverage.fallback] == ["Erf"]
    strict, _ = run_build(tmp_path, require_npu=True, **asked)
    assert strict.exit_code is ExitCode.REJECTED
    assert strict.directory.name == "out.failed"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"target": "intel-nuc", "require_npu": True}, "EC-206"),
        ({"artifacts": ("qnn-dcl",)}, "EC-207"),
        ({"overrides": ("qnn-context-binary.vtcm_mb=9",)}, "EC-628"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(changes, code, tmp_path: Path) -> None:
    with pytest.raises(EdgecompileError) as caught:
        run_build(tmp_path, **{"target": TARGET, **changes})
    assert caught.value.diagnostics[0].code == code
    assert caught.value.exit_code is ExitCode.USAGE
    assert not (tmp_path / "out").exists()


def test_a_symbolic_batch_is_mended_by_the_recipe_and_another_dimension_is_not(tmp_path) -> None:
    def written(name: str, height: int | str) -> Path:
        b = Builder()
        x = b.input("x", ["N", 3, height, 8])
        save(b.build({b.conv(x, 3, 4): ["N", 4, height, 8]}), tmp_path / name)
        return tmp_path / name

    assert check(written("batch.onnx", 8), TARGET) == []  # freeze_shapes is in the recipe
    free = written("free.onnx", "H")
    assert [d.code for d in check(free, TARGET)] == ["EC-617"]
    with pytest.raises(EdgecompileError) as caught:
        run_build(tmp_path, model=free, target=TARGET, recipe="qnn-fp16", calibration=None)
    assert [d.code for d in caught.value.diagnostics] == ["EC-617"]
