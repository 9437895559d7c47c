"""The way of a proof: a kit from the build, a run on the device, a merge into the manifest.

The device is this machine: OpenVINO's CPU plugin stands where the kit of a GPU target would name
the GPU. All else is what a user's device runs.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgecompile.artifacts.kit import prove_script
from edgecompile.driver.prove import prove
from edgecompile.emitters.base import KITS, KitScripts, kit_files
from edgecompile.emitters.openvino import OpenVinoIr
from edgecompile.store.files import sha256_of_file
from tests.support.builds import REPORTS, digests, run_build
from tests.support.cli import run

TARGET = "core-ultra-gpu"
DEVICE = "artifacts/device"


def _on_the_cpu(self, artifact, target):
    return KitScripts(files=kit_files("openvino"), options={"device": "CPU"})


def _run_on_the_device(build: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"{DEVICE}/prove.py", "--runs", "3"],
        cwd=build,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A build with a kit, and the report of the device in it."""
    directory = tmp_path_factory.mktemp("prove")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenVinoIr, "kit", _on_the_cpu)
        result, _ = run_build(directory, target=TARGET)
    done = _run_on_the_device(result.directory)
    assert done.returncode == 0, done.stderr
    assert "ok         logits: cosine 0.99" in done.stdout
    return result.directory


@pytest.fixture
def copy(built, tmp_path):
    """A build of one test's own."""
    return Path(shutil.copytree(built, tmp_path / "build"))


def _sign(build: Path, **changes) -> None:
    path = build / DEVICE / "device-report.json"
    report = json.loads(path.read_text())
    report["outputs_sha256"] = sha256_of_file(build / DEVICE / "device-outputs.npz")
    path.write_text(json.dumps({**report, **changes}))


def test_an_artifact_that_is_slower_than_float_is_told(copy, capsys):
    _sign(copy, facts={"times_ms": {"artifact": 2.0, "fp16": 1.0, "fp32": 4.0, "odd": "x"}})
    ran = run(capsys, "prove", copy, "--format", "json")
    assert ran.code == 0
    assert ran.document["result"]["times_ms"] == {"artifact": 2.0, "fp16": 1.0, "fp32": 4.0}
    (told,) = [d for d in ran.document["diagnostics"] if d["code"] == "EC-674"]
    assert "FP16" in told["message"]
    (artifact,) = json.loads((copy / "manifest.json").read_text())["artifacts"]
    assert artifact["device"]["times_ms"]["fp32"] == 4.0


def test_layers_that_run_in_float_there_are_told(copy, capsys):
    _sign(copy, facts={"layer_types": {"a": ["Half"], "b": ["Int8"]}, "not_as_expected": ["a"]})
    ran = run(capsys, "prove", copy, "--format", "json")
    assert ran.code == 0
    (told,) = [d for d in ran.document["diagnostics"] if d["code"] == "EC-675"]
    assert "1 of 2" in told["message"]


def test_a_proof_makes_the_artifact_verified(copy, capsys):
    before = json.loads((copy / "manifest.json").read_text())
    assert before["artifacts"][0]["status"] == "checked"
    ran = run(capsys, "prove", copy, "--format", "json")
    assert ran.code == 0
    assert ran.document["schema"] == "edgecompile/prove@1"
    assert ran.document["result"]["proven"] is True
    after = json.loads((copy / "manifest.json").read_text())
    artifact = after["artifacts"][0]
    assert artifact["status"] == "verified"
    assert artifact["device"]["runtime"].startswith("openvino ")
    assert artifact["device"]["samples"] == before["kit"]["samples"] == 4
    stage = after["fidelity"]["stages"]["device"]
    assert stage["arithmetic"] == "runtime"
    assert stage["outputs"]["logits"]["cosine"] > 0.999
    assert "device" in (copy / "report.html").read_text()
    assert run(capsys, "prove", copy).code == 0


def test_the_build_can_be_made_again_over_a_proven_one(copy):
    prove(copy)
    from edgecompile.driver.workspace import foreign_files

    assert foreign_files(copy) == []


def test_outputs_that_are_too_far_prove_nothing(copy, capsys):
    path = copy / DEVICE / "device-outputs.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{name: -value for name, value in arrays.items()})
    _sign(copy, passed=True)
    ran = run(capsys, "prove", copy, "--format", "json")
    assert ran.code == 1
    assert [d["code"] for d in ran.document["diagnostics"]] == ["EC-673"]
    assert json.loads((copy / "manifest.json").read_text())["artifacts"][0]["status"] == "checked"


@pytest.mark.parametrize("part", ["kit", "outputs", "artifact", "golden"])
def test_a_report_of_something_else_is_refused(copy, capsys, part):
    if part == "outputs":
        (copy / DEVICE / "device-outputs.npz").write_bytes(b"PK")
    elif part == "kit":
        _sign(copy, kit_sha256="0" * 64)
    elif part == "golden":
        (copy / DEVICE / "golden.npz").write_bytes(b"PK")
    else:
        _sign(copy, artifact={"path": "model.xml", "sha256": "0" * 64})
    ran = run(capsys, "prove", copy, "--format", "json")
    assert ran.code == 1
    assert [d["code"] for d in ran.document["diagnostics"]] == ["EC-672"]


def test_outputs_that_are_no_arrays_are_refused(copy, capsys):
    (copy / DEVICE / "device-outputs.npz").write_bytes(b"PK\x03\x04 not a zip")
    _sign(copy)
    ran = run(capsys, "prove", copy, "--format", "json")
    assert ran.code == 1
    assert [d["code"] for d in ran.document["diagnostics"]] == ["EC-672"]


def test_a_report_that_is_not_there_yet(copy, capsys):
    (copy / DEVICE / "device-report.json").unlink()
    ran = run(capsys, "prove", copy, "--format", "json")
    assert ran.code == 2
    assert [d["code"] for d in ran.document["diagnostics"]] == ["EC-671"]


def test_a_build_that_needs_no_proof(tmp_path, capsys):
    result, _ = run_build(tmp_path)
    ran = run(capsys, "prove", result.directory, "--format", "json")
    assert ran.code == 2
    assert [d["code"] for d in ran.document["diagnostics"]] == ["EC-670"]


def test_the_device_refuses_files_that_have_changed(copy):
    (copy / "artifacts" / "model.bin").write_bytes(b"other")
    done = subprocess.run(
        [sys.executable, f"{DEVICE}/prove.py"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "not those that were built" in done.stderr


def test_without_data_the_golden_inputs_are_random_and_the_bytes_repeat(tmp_path):
    found = []
    for name in ("one", "two"):
        result, _ = run_build(
            tmp_path / name, target=TARGET, recipe="openvino-fp16", calibration=None
        )
        kit = json.loads((result.directory / DEVICE / "kit.json").read_text())
        assert kit["golden"]["random"] is True
        found.append(digests(result.directory, without=REPORTS))
    assert found[0] == found[1]


def test_what_runs_on_devices_keeps_to_the_syntax_of_python_3_6():
    texts = [prove_script()]
    texts += [f.read_text() for folder in KITS.iterdir() for f in folder.iterdir()
              if f.name.endswith(".py")]  # fmt: skip
    assert len(texts) > 1
    for text in texts:
        ast.parse(text, feature_version=(3, 6))
