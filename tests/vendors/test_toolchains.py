"""The real vendors: installs each toolchain from pip's index and builds the digits with it.

Gigabytes and minutes, so `make test-vendors` runs it and `make test` does not.
"""

from __future__ import annotations

import json

import pytest

from tests.support.cli import ROOT, run_process

DATA = ROOT / "calibration_data/digits"
MODEL = ROOT / "examples/digits/model.onnx"
FLOORS = {
    # target, recipe, dB of SQNR below what was measured: 37.4, 27.8 and 15.8
    "neural-compressor": ("intel-nuc", "openvino-int8-onc", 34.0),
    "aimet": ("intel-nuc", "openvino-int8-aimet", 25.0),
    "quark": ("ryzen-ai-strix", "vitisai-quark", 14.0),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FLOORS)
def test_a_toolchain_installs_and_builds(tmp_path, name):
    target, recipe, floor_db = FLOORS[name]
    installed = run_process("toolchain", "install", name, timeout_s=3000)
    assert installed.code == 0, installed.err
    out = tmp_path / "out"
    built = run_process(
        *("build", MODEL, "--target", target, "--recipe", recipe, "--calibration", DATA),
        *("--eval", DATA, "-o", out, "--no-cache"),
        timeout_s=900,
    )
    assert built.code == 0, built.err
    manifest = json.loads((out / "manifest.json").read_text())
    logits = manifest["fidelity"]["stages"]["quantized_onnx"]["outputs"]["logits"]
    assert logits["sqnr_db"] > floor_db
    top1 = manifest["metrics"]["top1"]
    assert top1["quantized"] > top1["float"] - 0.01
    assert manifest["coverage"]["precision"]["int8"] >= 8
    again = tmp_path / "again"
    rebuilt = run_process(
        *("build", MODEL, "--target", target, "--recipe", recipe, "--calibration", DATA),
        *("--eval", DATA, "-o", again, "--no-cache"),
        timeout_s=900,
    )
    assert rebuilt.code == 0, rebuilt.err
    assert (out / "model.onnx").read_bytes() == (again / "model.onnx").read_bytes()


def test_the_doctor_finds_them_answering():
    ran = run_process("toolchain", "doctor", "--format", "json", timeout_s=900)
    answers = {tool["name"]: tool["answer"] for tool in ran.document["result"] if tool["isolated"]}
    assert {name: answers[name] for name in FLOORS} == dict.fromkeys(FLOORS, "yes")
